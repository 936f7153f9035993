"""The queue of signals, in a Python of its own: pytest keeps its handlers."""

import subprocess
import sys

PRELUDE = """
import os, select, signal
from appserve.master.signals import HANDLED, SignalQueue
queue = SignalQueue()
queue.install()
"""


def run(source: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_signals_come_in_order_and_once():
    source = """
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM):
    os.kill(os.getpid(), number)
print([number.name for number in queue.take()], queue.take())
"""
    assert run(source) == ["['SIGHUP', 'SIGTERM', 'SIGTERM'] []"]


def test_a_signal_wakes_a_waiting_loop():
    source = """
poll = select.poll()
poll.register(queue.fileno(), select.POLLIN)
print(poll.poll(0))
os.kill(os.getpid(), signal.SIGHUP)
print(len(poll.poll(60_000)))
queue.take()
print(poll.poll(0))
"""
    assert run(source) == ["[]", "1", "[]"]


def test_a_storm_that_fills_the_socket_loses_no_term():
    source = """
for _ in range(5000):
    os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGTERM)
taken = queue.take()
print(len(taken), taken[-1].name)
"""
    assert run(source) == ["5001 SIGTERM"]


def test_a_signal_that_was_blocked_at_start_is_received():
    source = """
signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
queue.install()
os.kill(os.getpid(), signal.SIGTERM)
print([number.name for number in queue.take()])
"""
    assert run(source) == ["['SIGTERM']"]

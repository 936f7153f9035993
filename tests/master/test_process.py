"""Forks, in a Python of their own: what a child has, and how it ends."""

import subprocess
import sys

import pytest

PRELUDE = """
import os, signal, sys, time
from appserve.master.events import Exit
from appserve.master.process import Child, fork, reap

def wait_for(*children):
    ended = {}
    while len(ended) < len(children):
        ended.update(reap())
        time.sleep(0.001)
    return [ended[child.pid] for child in children]

"""


def run(source: str) -> list[str]:
    """What a script prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + source], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_exits_with_the_code_of_its_function():
    assert run("print(wait_for(fork(lambda: 7, ()))[0])") == ["exit code 7"]


def test_a_child_that_raises_says_so_and_exits_with_71():
    source = "print(wait_for(fork(lambda: 1 // 0, ()))[0].code)"

    assert run(source) == ["71"]


def test_a_death_by_a_signal_is_described_by_its_name():
    assert run("print(wait_for(fork(lambda: os.kill(os.getpid(), 9) or 0, ()))[0])") == ["SIGKILL"]


def test_all_deaths_are_reaped_at_once():
    source = """
children = [fork(lambda: 0, ()) for _ in range(20)]
while any(open(f"/proc/{child.pid}/stat").read().rpartition(")")[2].split()[0] != "Z" for child in children):
    time.sleep(0.001)
print(len(reap()), len(reap()))
"""
    assert run(source) == ["20 0"]


def test_a_child_has_only_the_descriptors_that_it_should():
    source = """
kept, lost = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
def look():
    print(sorted(fd for fd in map(int, os.listdir("/proc/self/fd")) if os.path.exists(f"/proc/self/fd/{fd}"))
          == [0, 1, 2, kept])
    return 0
wait_for(fork(look, [kept]))
"""
    assert run(source) == ["True"]


def test_a_child_has_default_signals_and_none_blocked():
    source = """
import collections
reader, writer = os.pipe()
os.set_blocking(writer, False)
heard = collections.deque()
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
    signal.signal(number, lambda *what: heard.append(what))
signal.set_wakeup_fd(writer)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
def look():
    print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    print({number for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
           if signal.getsignal(number) is not signal.SIG_DFL}
          == {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGRTMIN + 5})
    print(signal.set_wakeup_fd(-1))
    return 0
wait_for(fork(look, ()))
print(signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR1})
"""
    assert run(source) == ["set()", "True", "-1", "True"]


def test_a_signal_to_a_child_does_not_reach_its_parent():
    source = """
reader, writer = os.pipe()
os.set_blocking(reader, False)
os.set_blocking(writer, False)
signal.signal(signal.SIGTERM, lambda *what: None)
signal.set_wakeup_fd(writer)
for _ in range(20):
    child = fork(lambda: time.sleep(60) or 0, ())
    child.signal(signal.SIGTERM)
    print(wait_for(child)[0])
try:
    print(os.read(reader, 100))
except BlockingIOError:
    print("nothing")
"""
    assert run(source) == ["SIGTERM"] * 20 + ["nothing"]


@pytest.mark.parametrize("forget", ["", "os.close(child.pidfd); child.pidfd = -1"])
def test_a_signal_to_a_process_that_has_ended_is_none(forget: str) -> None:
    source = f"""
child = fork(lambda: 0, ())
wait_for(child)
{forget or "pass"}
child.signal(signal.SIGTERM)
child.close()
child.close()
print("fine")
"""
    assert run(source) == ["fine"]


def test_a_child_leaves_as_python_would():
    """What was registered with atexit runs, idle pools do not hold it up, what was printed is not lost."""
    source = """
def live():
    import atexit, concurrent.futures
    pool = concurrent.futures.ThreadPoolExecutor()
    pool.submit(int).result()
    atexit.register(lambda: print("atexit"))
    sys.stdout.write("printed ")
    return 3
sys.stdout.flush()
print(wait_for(fork(live, ()))[0])
"""
    assert run(source) == ["printed atexit", "exit code 3"]


def test_a_child_does_not_unwind_the_frames_of_its_parent():
    source = """
try:
    wait_for(fork(lambda: sys.exit(5), ()))
finally:
    print("once", flush=True)
"""
    assert run(source) == ["once"]


def test_processes_that_init_left_to_us_are_reaped():
    source = """
import ctypes
if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0:  # PR_SET_CHILD_SUBREAPER
    print("2")
    sys.exit()
def leave_a_child():
    if os.fork() == 0:
        os._exit(3)
    os._exit(0)
fork(leave_a_child, ())
ended = []
while len(ended) < 2:
    ended += reap()
    time.sleep(0.001)
print(len(ended))
"""
    assert run(source) == ["2"]


def test_a_fork_that_the_system_refuses_is_an_error_that_leaves_signals_as_they_were():
    source = """
def refuse():
    raise BlockingIOError(11, "Resource temporarily unavailable")
os.fork = refuse
try:
    fork(lambda: 0, ())
except OSError as error:
    print(error.strerror, signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
    assert run(source) == ["Resource temporarily unavailable set()"]


def test_what_the_parent_was_about_to_print_is_printed_once():
    source = """
sys.stdout = open(1, "w", closefd=False)  # buffered, whatever the environment says
sys.stdout.write("about to be printed, ")
print(*(how.code for how in wait_for(fork(lambda: 3, ()), fork(lambda: 4, ()))), flush=True)
"""
    assert run(source) == ["about to be printed, 3 4"]


def test_what_the_parent_has_registered_for_its_exit_is_not_run_by_a_child():
    """It may remove the parent's files: a program that serves from within has such functions."""
    source = """
import atexit, tempfile
folder = tempfile.TemporaryDirectory()
atexit.register(lambda: print("the parent's", os.getpid() == parent, flush=True))
parent = os.getpid()
print(wait_for(fork(lambda: 3, ()))[0], flush=True)
print(os.path.exists(folder.name), flush=True)
"""
    assert run(source) == ["exit code 3", "True", "the parent's True"]

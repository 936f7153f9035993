"""Signals that arrive together do not end a process that has a black box."""

import faulthandler
import os
import signal
from collections.abc import Callable

import pytest

from appserve.system.signal_stack import enlarge_signal_stack

TOGETHER = [number for number in range(35, 60) if number in signal.valid_signals()]


def exit_status(run: Callable[[], None]) -> int:
    """How a forked child ends that calls `run`; 0 if it returns."""
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(0)
    return os.waitpid(pid, 0)[1]


@pytest.mark.skipif(not TOGETHER, reason="this system has no real-time signals")
def test_many_signals_at_once_do_not_overflow_the_signal_stack():
    def survive() -> None:
        writer = os.pipe()[1]
        faulthandler.enable(file=writer)
        stack = enlarge_signal_stack()
        if stack is None:
            return
        for number in TOGETHER:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_BLOCK, TOGETHER)
        for number in TOGETHER:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOGETHER)

    assert exit_status(survive) == 0

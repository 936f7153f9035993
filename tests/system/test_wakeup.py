import os
import select
import signal
from collections.abc import Callable

from appserve.system.descriptors import open_descriptors
from appserve.system.this_process import Wakeup
from tests.system.child import in_child


def with_wakeup(work: Callable[[Wakeup], object]) -> str:
    """In a child, because a process has one wakeup descriptor and one set of handlers."""

    def child() -> object:
        wakeup = Wakeup()
        wakeup.arm()
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda number, frame: None)
        return work(wakeup)

    return in_child(child)


def test_signals_are_read_in_order() -> None:
    def work(wakeup: Wakeup) -> list[int]:
        for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(os.getpid(), number)
        return list(wakeup.read())

    assert with_wakeup(work) == str(
        [int(number) for number in (signal.SIGUSR2, signal.SIGUSR1, signal.SIGUSR2)]
    )


def test_a_signal_makes_it_readable_until_it_is_read() -> None:
    def work(wakeup: Wakeup) -> list[bool]:
        def readable() -> bool:
            return bool(select.select([wakeup], [], [], 0)[0])

        before = readable()
        os.kill(os.getpid(), signal.SIGUSR1)
        during = readable()
        wakeup.read()
        return [before, during, readable(), wakeup.read() == b""]

    assert with_wakeup(work) == "[False, True, False, True]"


def test_more_signals_than_the_buffer_takes_are_no_error() -> None:
    def work(wakeup: Wakeup) -> bool:
        for _ in range(5_000):
            os.kill(os.getpid(), signal.SIGUSR1)
        return set(wakeup.read()) == {signal.SIGUSR1}

    assert with_wakeup(work) == "True"


def test_a_disarmed_wakeup_hears_nothing() -> None:
    def work(wakeup: Wakeup) -> bytes:
        wakeup.disarm()
        os.kill(os.getpid(), signal.SIGUSR1)
        return wakeup.read()

    assert with_wakeup(work) == "b''"


def test_it_is_woken_without_a_signal_and_never_blocks() -> None:
    wakeup = Wakeup()
    assert wakeup.read() == b""
    wakeup.wake()
    assert wakeup.read() == b"\0"
    for _ in range(100_000):  # more than the socket holds
        wakeup.wake()
    assert select.select([wakeup.fileno()], [], [], 0)[0]
    wakeup.close()


def test_it_is_closed_with_both_descriptors() -> None:
    before = open_descriptors()
    wakeup = Wakeup()
    assert len(open_descriptors() or ()) == len(before or ()) + 2
    wakeup.close()
    assert open_descriptors() == before
    wakeup.wake()  # as a signal's handler may, at any time

import contextlib
import faulthandler
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from appserve.system import blackbox
from tests.system.child import in_child

needs_memfd = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memfd")


@pytest.fixture(
    params=[pytest.param(False, marks=needs_memfd, id="memfd"), pytest.param(True, id="portable")]
)
def box(request: pytest.FixtureRequest) -> Iterator[int]:
    fd = blackbox.make_box("test", portable=request.param)
    yield fd
    os.close(fd)


_ARMED = """
import os, sys, threading, time, faulthandler
from appserve.system import blackbox
blackbox.arm({fd})
def report():
    print("ready", flush=True)
{work}
"""


class Victim:
    """A program that arms its box, says that it is ready, and then does `work`."""

    def __init__(self, fd: int, work: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ARMED.format(fd=fd, work=work)],
            pass_fds=[fd],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"
        self._box = fd

    def dump(self, expected: str) -> str:
        """The stacks after a DUMP_SIGNAL, once `expected` is in them."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.process.send_signal(blackbox.DUMP_SIGNAL)
            for _ in range(100):
                if expected in blackbox.read(self._box):
                    return blackbox.read(self._box)
                time.sleep(0.005)
        raise AssertionError(f"no {expected!r} in {blackbox.read(self._box)!r}")

    def end(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return self.process.wait()


@pytest.fixture
def start(box: int) -> Iterator[Callable[[str], Victim]]:
    started: list[Victim] = []

    def start_one(work: str) -> Victim:
        started.append(Victim(box, work))
        return started[-1]

    yield start_one
    for victim in started:
        victim.end()
        assert victim.process.stdout is not None
        victim.process.stdout.close()


def test_a_process_that_sleeps_shows_its_stacks_and_sleeps_on(start: Callable[[str], Victim]) -> None:
    victim = start("def guilty():\n    report()\n    while True: time.sleep(600)\nguilty()")
    assert re.search(
        r'^Current thread .*:\n(  File "<string>", line \d+ in \S+\n)+$', victim.dump("in guilty")
    )
    assert victim.process.poll() is None
    assert victim.end() == -signal.SIGKILL


def test_a_process_stuck_in_c_code_with_the_gil_shows_its_stacks(start: Callable[[str], Victim]) -> None:
    work = """
import re
def guilty():
    report()
    re.match(r"(a*)*b", "a" * 64)   # exponential, and without a byte code in between
guilty()
"""
    assert "in guilty" in start(work).dump("in guilty")


def test_all_threads_are_shown(start: Callable[[str], Victim]) -> None:
    work = """
def other():
    inside.set(); time.sleep(600)
inside = threading.Event()
threading.Thread(target=other, daemon=True).start()
inside.wait()
def main():
    report(); time.sleep(600)
main()
"""
    stacks = start(work).dump("in main")
    assert "in other" in stacks
    assert stacks.count("hread 0x") == 2


def test_a_blocked_signal_handler_of_python_does_not_matter(start: Callable[[str], Victim]) -> None:
    work = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
def guilty():
    report(); time.sleep(600)
guilty()
"""
    assert start(work).dump("in guilty")


def test_a_segmentation_fault_leaves_a_trace_that_is_read_after_the_death(
    box: int, start: Callable[[str], Victim]
) -> None:
    victim = start("def guilty():\n    report(); faulthandler._sigsegv()\nguilty()")
    assert victim.process.wait(60) == -signal.SIGSEGV
    stacks = blackbox.read(box)
    assert stacks.startswith("Fatal Python error: Segmentation fault")
    assert "in guilty" in stacks
    assert "\0" not in stacks


def test_a_process_that_was_killed_leaves_what_it_dumped_before(
    box: int, start: Callable[[str], Victim]
) -> None:
    victim = start("def guilty():\n    report(); time.sleep(600)\nguilty()")
    victim.dump("in guilty")
    victim.end()
    assert "in guilty" in blackbox.read(box)


def test_a_second_dump_follows_the_first(box: int, start: Callable[[str], Victim]) -> None:
    victim = start("def guilty():\n    report(); time.sleep(600)\nguilty()")
    first = victim.dump("in guilty")
    victim.process.send_signal(blackbox.DUMP_SIGNAL)
    deadline = time.monotonic() + 60
    while blackbox.read(box).count("in guilty") <= first.count("in guilty"):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert blackbox.read(box).startswith(first.rstrip("\n"))


@needs_memfd
def test_what_a_process_writes_into_its_box_is_bounded() -> None:
    fd = blackbox.make_box("test")
    with os.fdopen(os.dup(fd), "wb", buffering=0) as file, pytest.raises(PermissionError):
        for _ in range(blackbox.SIZE):
            file.write(b"x" * 1000)
    assert blackbox.read(fd) == "x" * blackbox.SIZE
    os.close(fd)


def test_a_box_is_empty_for_its_next_worker(box: int) -> None:
    assert blackbox.read(box) == ""
    os.write(box, b"the stacks of the worker before")
    blackbox.clear(box)
    assert blackbox.read(box) == ""
    os.write(box, b"mine")
    assert blackbox.read(box) == "mine"

    def arm_and_look() -> str:
        blackbox.arm(box)
        found = blackbox.read(box)
        faulthandler.disable()
        faulthandler.unregister(blackbox.DUMP_SIGNAL)
        return found

    assert in_child(arm_and_look) == ""


def test_reading_does_not_move_the_writer(box: int) -> None:
    os.write(box, b"one ")
    assert blackbox.read(box) == "one "
    os.write(box, b"two")
    assert blackbox.read(box) == "one two"


def test_bytes_that_are_no_text_are_shown_escaped(box: int) -> None:
    os.write(box, b"a\xffb")
    assert blackbox.read(box) == "a\\xffb"

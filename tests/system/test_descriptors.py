import os
import resource
import subprocess
import sys

import pytest

from appserve.system import descriptors
from appserve.system.descriptors import close_all_but, open_descriptors, open_standard_streams
from tests.system.child import in_child


def held() -> set[int]:
    """What this process holds, found the slow way."""
    found = set()
    for fd in range(1024):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.add(fd)
    return found


@pytest.mark.parametrize("portable", [False, True])
def test_only_what_is_on_the_list_stays_open(portable: bool) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            kept = os.open(os.devnull, os.O_RDONLY)
            for fd in (50, 51, 900, 901, 1023):
                os.dup2(kept, fd)
            close_all_but({0, 1, 2, writer, 900, 1_000_000}, portable)
            os.write(writer, repr(held() == {0, 1, 2, writer, 900}).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "True"
    os.waitpid(pid, 0)


def test_without_a_listing_the_numbers_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_listing(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", no_listing)
    assert open_descriptors() is None


def test_the_listing_names_what_is_open_and_not_itself() -> None:
    fd = os.open(os.devnull, os.O_RDONLY)
    assert open_descriptors() == sorted(held())
    assert fd in (open_descriptors() or [])
    os.close(fd)
    assert fd not in (open_descriptors() or [])


@pytest.mark.parametrize("limit", [-1, 2**30])
def test_a_limit_of_a_billion_takes_no_hours(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, limit))
    assert descriptors._highest() == 65536


def test_closed_standard_streams_become_the_null_device() -> None:
    program = """
import os, sys
from appserve.system.descriptors import open_standard_streams
open_standard_streams()
open_standard_streams()
null = os.stat(os.devnull)
shown = [os.fstat(fd).st_rdev == null.st_rdev and os.get_inheritable(fd) for fd in (0, 1)]
os.write(2, repr((shown, os.open(os.devnull, os.O_RDONLY) > 2)).encode())
"""
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" <&- >&-', sys.executable, program],
        stderr=subprocess.PIPE,
        check=True,
    )
    assert done.stderr == b"([True, True], True)"


def test_open_standard_streams_are_left_alone() -> None:
    def child() -> bool:
        before = [os.fstat(fd) for fd in (0, 1, 2)]
        open_standard_streams()
        return before == [os.fstat(fd) for fd in (0, 1, 2)]

    assert in_child(child) == "True"

"""What an error of accept() means, and how often it is logged."""

import errno
import os
import socket
from pathlib import Path

import pytest

from appserve.connection.accepting import (
    EXHAUSTED,
    FAILURES_PER_SECOND,
    LOG_AGAIN,
    OF_ONE_CONNECTION,
    AcceptErrors,
    is_queue_empty,
)
from appserve.net.listeners import bind_all
from appserve.observe.log import Level, Log


class Case:
    """AcceptErrors with a log and a clock of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "log"
        self.now = 500.0
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT)
        self.errors = AcceptErrors(Log(fd, Level.DEBUG), lambda: self.now)

    def must_pause(self, code: int) -> bool:
        return self.errors.must_pause(OSError(code, os.strerror(code)))

    @property
    def log(self) -> str:
        return self._path.read_text()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize("code", sorted(OF_ONE_CONNECTION), ids=errno.errorcode.get)
def test_an_error_of_one_connection_pauses_nothing(case: Case, code: int) -> None:
    assert not case.must_pause(code)
    assert "cannot accept connections" not in case.log


@pytest.mark.parametrize("code", sorted(EXHAUSTED), ids=errno.errorcode.get)
def test_exhaustion_pauses_and_is_logged(case: Case, code: int) -> None:
    assert case.must_pause(code)
    assert f"ERROR    cannot accept connections: {os.strerror(code)}" in case.log


@pytest.mark.parametrize("code", [errno.EBADF, errno.EINVAL, errno.ENOTSOCK])
def test_what_should_not_happen_pauses_too(case: Case, code: int) -> None:
    assert case.must_pause(code)
    assert f"cannot accept connections: {os.strerror(code)}\n" in case.log


def test_the_limit_of_open_files_is_named(case: Case) -> None:
    case.must_pause(errno.EMFILE)

    assert "Too many open files (see the limit of open files)\n" in case.log


def test_a_firewall_is_named(case: Case) -> None:
    case.must_pause(errno.EPERM)

    expected = "a connection cannot be accepted: Operation not permitted (a firewall or a security module"
    assert f"ERROR    {expected} forbids it)\n" in case.log


def test_a_client_that_left_is_nothing_to_log(case: Case) -> None:
    case.must_pause(errno.ECONNABORTED)

    assert case.log == ""


def test_each_error_is_logged_once_a_minute(case: Case) -> None:
    for _ in range(3):
        case.must_pause(errno.EMFILE)
        case.must_pause(errno.EPERM)
    assert len(case.log.splitlines()) == 2
    case.now += LOG_AGAIN
    case.must_pause(errno.EMFILE)

    assert len(case.log.splitlines()) == 3


def test_a_connection_that_always_fails_pauses_the_listeners(case: Case) -> None:
    """A security module refuses before the connection is taken out of the queue."""
    assert not any(case.must_pause(errno.EPERM) for _ in range(FAILURES_PER_SECOND))
    assert case.must_pause(errno.EPERM)
    case.now += 1.0
    assert not case.must_pause(errno.EPERM)


def test_a_queue_is_empty_when_no_listener_has_a_connection() -> None:
    listeners = bind_all(["127.0.0.1:0", "127.0.0.1:0"])
    for listener in listeners:
        listener.listen(10)
    assert is_queue_empty(listeners)
    with socket.create_connection(listeners[1].socket.getsockname()):
        assert not is_queue_empty(listeners)
        listeners[1].socket.accept()[0].close()
        assert is_queue_empty(listeners)
    for listener in listeners:
        listener.close(unlink=True)

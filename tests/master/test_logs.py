"""What the logs may be written to, and how they move."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appserve.config.settings import Settings
from appserve.errors import ConfigError
from appserve.master.logs import Logs, close_log, open_logs
from appserve.workers.channel import LogFiles


@pytest.fixture
def open_with(tmp_path: Path) -> Iterator[Callable[..., Logs]]:
    """Opens the logs of some settings; the error log is the file `error.log` by default."""
    opened: list[Logs] = []

    def start(**values: str) -> Logs:
        settings = Settings(**{"error_logfile": str(tmp_path / "error.log"), **values})  # type: ignore[arg-type]
        opened.append(open_logs(settings))
        return opened[-1]

    yield start
    for logs in opened:
        logs.keep(())
        if logs.log.given > 2:
            os.close(logs.log.given)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        open_logs(Settings(access_logfile=str(path)))
    (problem,) = caught.value.problems
    return problem


def test_a_symbolic_link_is_named_for_what_it_is(tmp_path: Path) -> None:
    link = tmp_path / "access.log"
    link.symlink_to(tmp_path / "elsewhere.log")

    reason = "it is a symbolic link (name the file it leads to)"
    assert refusal(link) == f"cannot open the access log {link}: {reason}"
    assert not (tmp_path / "elsewhere.log").exists()


def test_a_named_pipe_without_a_reader_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "access.log"
    os.mkfifo(pipe)

    reason = "it is a named pipe without a reader (start the reader first), or a socket"
    assert refusal(pipe) == f"cannot open the access log {pipe}: {reason}"


def test_a_named_pipe_that_is_read_can_be_the_access_log(
    tmp_path: Path, open_with: Callable[..., Logs]
) -> None:
    pipe = tmp_path / "access.log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    access = open_with().access(str(pipe))
    assert access is not None

    access.record("192.0.2.7", "GET / HTTP/1.1", 200, 2, 0.0, "", "")
    access.flush()
    assert os.read(reader, 4096).startswith(b"192.0.2.7 ")
    os.close(reader)


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith(": Is a directory")
    assert refusal(tmp_path / "gone" / "log").endswith(": No such file or directory")


def test_a_file_that_was_renamed_is_opened_anew(tmp_path: Path, open_with: Callable[..., Logs]) -> None:
    path = tmp_path / "access.log"
    logs = open_with(access_logfile=str(path))
    access = logs.access(str(path))
    assert access is not None
    path.rename(tmp_path / "access.log.1")

    assert logs.reopen() == [str(path), str(tmp_path / "error.log")]

    assert access is logs.access(str(path))
    assert os.path.samestat(os.fstat(access.given), path.stat())


def test_standard_streams_are_not_opened_anew(open_with: Callable[..., Logs]) -> None:
    logs = open_with(error_logfile="-")

    assert logs.reopen() == []
    assert logs.files_for("-") == (LogFiles(access=False, error=False), [])


def test_a_worker_is_sent_the_files_of_its_own_access_log(
    tmp_path: Path, open_with: Callable[..., Logs]
) -> None:
    one, other = str(tmp_path / "one.log"), str(tmp_path / "other.log")
    logs = open_with(access_logfile=one)
    logs.prepare(Settings(access_logfile=other, error_logfile=str(tmp_path / "error.log")))

    for path in (one, other):
        message, (access, error) = logs.files_for(path)
        assert message == LogFiles(access=True, error=True)
        assert os.path.samestat(os.fstat(access), os.stat(path))
        assert error == logs.log.given
    assert logs.files_for("none") == (LogFiles(access=False, error=True), [logs.log.given])


def test_the_error_log_moves_when_its_generation_is_in_charge(
    tmp_path: Path, open_with: Callable[..., Logs]
) -> None:
    logs = open_with()
    second = tmp_path / "second.log"
    fd = logs.prepare(Settings(error_logfile=str(second)))
    logs.log.info("before")
    assert second.read_text() == ""

    assert logs.move(str(second), fd)
    logs.log.info("after")

    assert "after" in second.read_text()
    assert "after" not in (tmp_path / "error.log").read_text()
    assert logs.prepare(Settings(error_logfile=str(second))) is None


def test_an_error_log_that_moves_to_standard_error_is_sent_as_well(open_with: Callable[..., Logs]) -> None:
    logs = open_with()
    assert logs.move("-", logs.prepare(Settings(error_logfile="-")))

    assert logs.files_for("none", moved=True) == (LogFiles(access=False, error=True), [2])


def test_an_access_log_that_no_generation_uses_is_closed(
    tmp_path: Path, open_with: Callable[..., Logs]
) -> None:
    one, other = str(tmp_path / "one.log"), str(tmp_path / "other.log")
    logs = open_with(access_logfile=one)
    access = logs.access(one)
    assert access is not None
    logs.prepare(Settings(access_logfile=other, error_logfile=str(tmp_path / "error.log")))

    logs.keep({other})

    with pytest.raises(OSError):
        os.fstat(access.given)


def test_nothing_is_left_of_a_generation_that_was_given_up(
    tmp_path: Path, open_with: Callable[..., Logs]
) -> None:
    logs = open_with()
    before = os.listdir("/dev/fd")
    fd = logs.prepare(Settings(access_logfile=str(tmp_path / "a"), error_logfile=str(tmp_path / "b")))

    close_log(fd)
    logs.keep({"-"})

    assert os.listdir("/dev/fd") == before

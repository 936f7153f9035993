"""What the access log may be written to."""

import os
from pathlib import Path

import pytest

from appserve.errors import ConfigError
from appserve.master.logs import open_access_log


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        open_access_log(str(path))
    (problem,) = caught.value.problems
    return problem


def test_a_symbolic_link_is_named_for_what_it_is(tmp_path: Path) -> None:
    link = tmp_path / "access.log"
    link.symlink_to(tmp_path / "elsewhere.log")

    reason = "it is a symbolic link (name the file it leads to)"
    assert refusal(link) == f"cannot open the access log {link}: {reason}"
    assert not (tmp_path / "elsewhere.log").exists()


def test_a_named_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "access.log"
    os.mkfifo(pipe)

    reason = "it is a named pipe that nobody reads (start its reader first), or a socket"
    assert refusal(pipe) == f"cannot open the access log {pipe}: {reason}"


def test_a_named_pipe_that_is_read_can_be_the_access_log(tmp_path: Path) -> None:
    pipe = tmp_path / "access.log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    access = open_access_log(str(pipe))
    assert access is not None

    access.record("192.0.2.7", "GET / HTTP/1.1", 200, 2, 0.0, "", "")
    access.flush()
    assert os.read(reader, 4096).startswith(b"192.0.2.7 ")
    os.close(reader)
    os.close(access.fileno())


def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith(": Is a directory")
    assert refusal(tmp_path / "gone" / "log").endswith(": No such file or directory")

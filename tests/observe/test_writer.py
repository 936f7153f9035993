import errno
import fcntl
import os
import pty
import resource
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appserve.observe import writer as module
from appserve.observe.writer import PIPE_BUF, Writer
from tests.system.child import in_child


def notice(count: int) -> bytes:
    return b"%d lost\n" % count


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Pipe:
    """A pipe of two pages, and what came out of it."""

    def __init__(self, opened: ExitStack) -> None:
        self.reader, self.writer = os.pipe()
        opened.callback(self.close)
        os.set_blocking(self.reader, False)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 8192)

    def read(self) -> bytes:
        found = b""
        while True:
            try:
                piece = os.read(self.reader, 65536)
            except BlockingIOError:
                return found
            if not piece:
                return found
            found += piece

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)
        self.reader = self.writer = -1

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1


def drained(writer: Writer, read: Callable[[], bytes]) -> bytes:
    """All that comes, from a reader that reads and a writer that flushes, in turn."""
    found = b""
    for _ in range(1000):
        flushed = writer.flush()
        piece = read()
        found += piece
        if flushed and not piece:
            return found
    raise AssertionError("no end")


@pytest.fixture(params=["best", "reopened", "polled"])
def on_a_pipe(
    request: pytest.FixtureRequest, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> tuple[Pipe, Writer]:
    """Every way to write to a pipe. They differ by system, and all must keep the same promises."""
    pipe = Pipe(opened)
    if request.param == "reopened":
        monkeypatch.setattr(module, "_NOWAIT", 0)
    writer = Writer(pipe.writer, notice, backlog=16384, portable=request.param == "polled")
    opened.callback(writer.close)
    assert {"best": "_write_nowait", "reopened": "write", "polled": "_write_polled"}[
        request.param
    ] == writer._put.__name__
    return pipe, writer


def test_lines_arrive_as_they_were_written(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    writer.write(b"one\ntwo\n")
    writer.write(b"")
    writer.write(b"three\n")
    assert pipe.read() == b"one\ntwo\nthree\n"
    assert writer.pending == writer.dropped == 0


def test_a_reader_that_stands_still_does_not_stop_the_writer_nor_lose_what_fits(
    on_a_pipe: tuple[Pipe, Writer],
) -> None:
    pipe, writer = on_a_pipe
    lines = [b"%04d %s\n" % (number, b"x" * 94) for number in range(150)]
    for line in lines:
        writer.write(line)
    assert 0 < writer.pending <= 16384
    assert not writer.flush()
    assert drained(writer, pipe.read) == b"".join(lines)
    assert writer.pending == 0


def test_lost_lines_are_counted_and_reported_in_one_line_when_the_reader_reads_again(
    on_a_pipe: tuple[Pipe, Writer],
) -> None:
    pipe, writer = on_a_pipe
    lines = [b"%04d %s\n" % (number, b"x" * 94) for number in range(1000)]
    for line in lines:
        writer.write(line)
    found = drained(writer, pipe.read).splitlines(keepends=True)
    kept, reported = found[:-1], found[-1]
    assert kept == lines[: len(kept)]
    assert reported == b"%d lost\n" % (1000 - len(kept))
    writer.write(b"and on it goes\n")
    assert pipe.read() == b"and on it goes\n"
    assert writer.dropped == 0


def test_the_notice_stands_where_the_gap_is(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    for _ in range(300):
        writer.write(b"x" * 99 + b"\n")
    assert writer.dropped
    found = b""
    while b"after" not in found:
        writer.flush()
        found += pipe.read()
        writer.write(b"after\n")
    [gap] = [line for line in found.splitlines() if line.endswith(b"lost")]
    assert found.index(gap) > found.rindex(b"xxx")
    assert found.index(gap) < found.index(b"after")


def test_one_gap_has_one_notice_while_the_reader_is_slow(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    found = b""
    for number in range(2000):
        writer.write(b"%04d %s\n" % (number, b"x" * 94))
        if number % 50 == 0:
            found += pipe.read()
    found += drained(writer, pipe.read)
    lines = found.splitlines()
    notices = [int(line.split()[0]) for line in lines if line.endswith(b"lost")]
    assert len(lines) - len(notices) + sum(notices) == 2000
    assert len(notices) < 40


def test_a_batch_leaves_in_whole_lines_of_at_most_pipe_buf_bytes(
    on_a_pipe: tuple[Pipe, Writer], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, writer = on_a_pipe
    written: list[bytes] = []
    real = writer._put

    def put(fd: int, data: bytes) -> int:
        count = real(fd, data)
        written.append(data[:count])
        return count

    writer._put = put
    lines = b"".join(b"%d %s\n" % (number, b"y" * (number % 777)) for number in range(40))
    writer.write(lines)
    assert drained(writer, pipe.read) == lines
    assert all(piece.endswith(b"\n") and len(piece) <= PIPE_BUF for piece in written)
    assert len(written) <= len(lines) // (PIPE_BUF - 778) + 1


def test_a_line_that_is_longer_than_a_whole_write_is_cut_and_marked(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    writer.write(b"before\n" + b"z" * 10_000 + b"\nafter\n" + b"z" * PIPE_BUF)
    before, long, after, last = drained(writer, pipe.read).splitlines(keepends=True)
    assert (before, after) == (b"before\n", b"after\n")
    for cut in (long, last):
        assert len(cut) == PIPE_BUF
        assert cut.endswith(b"z [cut]\n")


def test_a_line_of_exactly_one_write_is_not_cut(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    line = b"z" * (PIPE_BUF - 1) + b"\n"
    writer.write(line + line)
    assert drained(writer, pipe.read) == line + line


def test_the_descriptor_stays_blocking_for_every_process_that_shares_it(
    on_a_pipe: tuple[Pipe, Writer],
) -> None:
    pipe, writer = on_a_pipe
    for _ in range(100):
        writer.write(b"x" * 999 + b"\n")
    assert os.get_blocking(pipe.writer)


def test_a_reader_that_is_gone_is_no_error(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    for _ in range(30):
        writer.write(b"x" * 999 + b"\n")
    pipe.close_reader()
    writer.write(b"one\n")
    assert writer.flush()
    assert (writer.pending, writer.dropped > 0) == (0, True)


def test_a_descriptor_that_was_closed_is_no_error(opened: ExitStack) -> None:
    pipe = Pipe(opened)
    writer = Writer(pipe.writer, notice)
    pipe.close()
    writer.write(b"one\n")
    assert writer.flush()
    never = Writer(987_654, notice)
    never.write(b"one\n")
    assert never.flush()
    assert never.drain(0)


def test_a_forked_child_does_not_write_what_its_parent_owes(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    for _ in range(15):
        writer.write(b"p" * 999 + b"\n")
    owed = writer.pending
    assert owed

    def child() -> tuple[bool, int, int]:
        writer.flush()
        inherited = writer.pending
        writer.write(b"c" * 999 + b"\n")
        return writer.drain(0), inherited, writer.pending

    assert in_child(child) == "(False, 0, 1000)"
    assert writer.pending == owed
    assert drained(writer, pipe.read) == b"".join(b"p" * 999 + b"\n" for _ in range(15))


def test_the_last_lines_wait_for_a_slow_reader_within_a_limit(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    writer.write(b"x" * 999 + b"\n")
    assert writer.drain(60)
    for _ in range(12):
        writer.write(b"x" * 999 + b"\n")
    assert not writer.drain(0.01)
    pid = os.fork()
    if pid == 0:  # the reader
        try:
            os.close(pipe.writer)
            writer.close()
            os.set_blocking(pipe.reader, True)
            while os.read(pipe.reader, 65536):
                pass
        finally:
            os._exit(0)
    assert writer.drain(60)
    writer.close()
    os.close(pipe.writer)
    pipe.writer = -1
    os.waitpid(pid, 0)


def test_a_closed_writer_takes_and_forgets(on_a_pipe: tuple[Pipe, Writer]) -> None:
    pipe, writer = on_a_pipe
    writer.close()
    writer.write(b"one\n")
    assert writer.flush()
    assert pipe.read() == b""
    os.fstat(pipe.writer)  # ours to close, not the writer's


def test_a_fifo_is_written_through_an_opening_of_our_own(opened: ExitStack, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    given = os.open(tmp_path / "fifo", os.O_WRONLY)
    for fd in (reader, given):
        opened.callback(os.close, fd)
    fcntl.fcntl(given, fcntl.F_SETPIPE_SZ, 4096)
    writer = Writer(given, notice)
    opened.callback(writer.close)
    for _ in range(10):
        writer.write(b"x" * 999 + b"\n")
    assert writer.pending
    assert os.get_blocking(given)
    found = b""
    while not writer.flush():
        found += os.read(reader, 65536)
    found += os.read(reader, 65536)
    assert found == (b"x" * 999 + b"\n") * 10


def test_a_child_that_closed_our_opening_writes_to_the_descriptor_given(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NOWAIT", 0)
    pipe = Pipe(opened)
    writer = Writer(pipe.writer, notice)
    assert writer.fileno() != pipe.writer

    def child() -> None:
        # The number is given to something else, which must not get the log.
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer.fileno())
        writer.write(b"child\n")

    assert in_child(child) == "None"
    assert pipe.read() == b"child\n"


def test_a_terminal_that_is_stopped_does_not_stop_the_writer(opened: ExitStack) -> None:
    master, slave = pty.openpty()
    for fd in (master, slave):
        opened.callback(os.close, fd)
    for portable in (False, True):
        writer = Writer(slave, notice, backlog=100_000, portable=portable)
        for _ in range(90):  # the other side is not read, as after Ctrl-S
            writer.write(b"x" * 999 + b"\n")
        assert writer.pending
        assert os.get_blocking(slave)
        found = b""
        while not writer.flush():
            found += os.read(master, 65536)
        os.set_blocking(master, False)
        while len(found) < 90 * 1001:
            found += os.read(master, 65536)
        os.set_blocking(master, True)
        assert found == (b"x" * 999 + b"\r\n") * 90
        writer.close()


def test_a_socket_that_takes_a_part_gets_the_rest_later(opened: ExitStack) -> None:
    """Standard output of a systemd unit is a stream socket to the journal."""
    ours, other = socket.socketpair()
    opened.enter_context(ours)
    opened.enter_context(other)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 5000)
    writer = Writer(ours.fileno(), notice, backlog=1_000_000)
    lines = [b"%05d %s\n" % (number, b"s" * 493) for number in range(400)]
    for line in lines:
        writer.write(line)
    assert writer.pending
    assert ours.getblocking()
    other.setblocking(False)

    def read() -> bytes:
        try:
            return other.recv(65536)
        except BlockingIOError:
            return b""

    assert drained(writer, read) == b"".join(lines)


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    writer = Writer(fd, notice)
    writer.write(b"new\n" * 5000)
    assert writer.pending == 0
    os.close(fd)
    assert path.read_bytes() == b"old\n" + b"new\n" * 5000


def test_a_full_disk_loses_lines_and_the_count_is_written_when_there_is_room(tmp_path: Path) -> None:
    """The device /dev/full gives ENOSPC, as a full disk does."""
    writer = Writer(os.open("/dev/full", os.O_WRONLY), notice, backlog=1000)
    for _ in range(100):
        writer.write(b"x" * 99 + b"\n")
    assert not writer.drain(0.01)
    assert writer.dropped == 90
    room = os.open(tmp_path / "room", os.O_WRONLY | os.O_CREAT)
    os.dup2(room, writer.fileno())
    assert writer.flush()
    lines = (tmp_path / "room").read_bytes().splitlines()
    assert (len(lines), lines[-1]) == (11, b"90 lost")
    os.close(room)
    os.close(writer.fileno())


def test_a_file_that_may_not_grow_is_no_error(tmp_path: Path) -> None:
    def child() -> object:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        writer = Writer(os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT), notice)
        for _ in range(30):
            writer.write(b"x" * 99 + b"\n")
        return writer.pending, writer.dropped

    assert in_child(child) == "(0, 20)"
    assert (tmp_path / "log").stat().st_size == 1000


def test_a_kind_of_file_that_knows_no_nonblocking_write_is_found_out_by_the_first(
    opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = Pipe(opened)

    def refused(fd: int, data: bytes) -> int:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(module, "_write_nowait", refused)
    monkeypatch.setattr(module, "_NOWAIT", 8)
    writer = Writer(pipe.writer, notice)
    opened.callback(writer.close)
    writer.write(b"one\n")
    assert pipe.read() == b"one\n"


def test_without_proc_a_pipe_is_polled(opened: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(path: str, flags: int) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr(module, "_NOWAIT", 0)
    monkeypatch.setattr(os, "open", no_proc)
    pipe = Pipe(opened)
    writer = Writer(pipe.writer, notice)
    writer.write(b"one\n")
    assert pipe.read() == b"one\n"
    assert writer._put is module._write_polled


def test_the_null_device_takes_everything() -> None:
    fd = os.open(os.devnull, os.O_WRONLY)
    assert stat.S_ISCHR(os.fstat(fd).st_mode)
    writer = Writer(fd, notice, backlog=100)
    writer.write(b"x\n" * 100_000)
    assert writer.pending == writer.dropped == 0
    os.close(fd)


def test_lines_of_several_processes_do_not_mix(opened: ExitStack) -> None:
    pipe = Pipe(opened)
    pids = []
    for letter in b"abcd":
        pid = os.fork()
        if pid == 0:
            try:
                writer = Writer(pipe.writer, notice, backlog=1 << 20)
                for _ in range(100):
                    writer.write((bytes([letter]) * 700 + b"\n") * 5)
                writer.drain(60)
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(pipe.writer)
    pipe.writer = -1
    os.set_blocking(pipe.reader, True)
    found = b""
    while piece := os.read(pipe.reader, 65536):
        found += piece
    for pid in pids:
        os.waitpid(pid, 0)
    lines = found.splitlines()
    assert len(lines) == 4 * 500
    assert {bytes([letter]) * 700 for letter in b"abcd"} == set(lines)


def test_time_to_write_does_not_depend_on_the_reader(on_a_pipe: tuple[Pipe, Writer]) -> None:
    """A blocking write to the stopped reader would hang here; the time limit of the test would end it."""
    _, writer = on_a_pipe
    began = time.monotonic()
    for _ in range(2000):
        writer.write(b"x" * 99 + b"\n")
    assert time.monotonic() - began < 60


def test_a_full_disk_is_reported_once_and_so_is_its_end(
    opened: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[int] = []
    full = os.open("/dev/full", os.O_WRONLY)
    free = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    writer = Writer(full, notice, report=reports.append)
    opened.callback(os.close, free)

    for _ in range(3):
        writer.write(b"one\n")
        writer.flush()
    assert reports == [errno.ENOSPC]
    os.close(writer.replace(free))
    assert writer.flush()
    writer.write(b"two\n")

    assert reports == [errno.ENOSPC, 0]
    assert (tmp_path / "log").read_bytes() == b"one\none\none\ntwo\n"


def test_a_disk_that_is_full_again_and_again_is_not_reported_each_time(
    opened: ExitStack, tmp_path: Path
) -> None:
    reports: list[int] = []
    full = os.open("/dev/full", os.O_WRONLY)
    free = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    opened.callback(os.close, full)
    opened.callback(os.close, free)
    writer = Writer(full, notice, report=reports.append)

    for _ in range(3):
        writer.write(b"one\n")
        writer.replace(free)
        writer.flush()
        writer.replace(full)

    assert reports == [errno.ENOSPC, 0]


def test_a_reader_that_is_slow_is_not_reported_and_one_that_is_gone_is(opened: ExitStack) -> None:
    reports: list[int] = []
    pipe = Pipe(opened)
    writer = Writer(pipe.writer, notice, report=reports.append)
    for _ in range(30):
        writer.write(b"x" * 999 + b"\n")
    assert reports == []

    pipe.close_reader()
    writer.write(b"one\n")

    assert reports == [errno.EPIPE]


def test_what_waits_is_written_whole_to_the_file_that_takes_the_place(
    opened: ExitStack, tmp_path: Path
) -> None:
    """Also a line of which a part had left."""
    ours, theirs = socket.socketpair()
    opened.callback(ours.close)
    opened.callback(theirs.close)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    writer = Writer(ours.fileno(), notice)
    lines = [b"%04d %s\n" % (number, b"x" * 994) for number in range(40)]
    for line in lines:
        writer.write(line)
    assert writer.pending

    path = tmp_path / "log"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    opened.callback(os.close, fd)
    assert writer.replace(fd) == ours.fileno()
    assert writer.flush()

    written = path.read_bytes().splitlines(keepends=True)
    assert written == lines[-len(written) :]

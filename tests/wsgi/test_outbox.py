import errno
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.errors import ClientDisconnected
from appserve.http.messages import SHARES
from appserve.net.sendfile import FilePart
from appserve.observe.counters import Counters
from appserve.observe.scoreboard import BUSY_SINCE_NS, Scoreboard, size_for
from appserve.wsgi import outbox as module
from appserve.wsgi.file_wrapper import find_part
from appserve.wsgi.outbox import BURST, FILE_PIECE, MEMORY, PIECE, Outbox
from appserve.wsgi.spool import UNCOUNTED, Quota, Share, Spool
from tests.wsgi.talk import TIMEOUT, open_descriptors

BIG = os.urandom(3 * 1024 * 1024)


class Client:
    """The other end of a socket whose buffers are small."""

    def __init__(self, quota: Quota | None = None, stall: float = 0.0) -> None:
        self.socket, self._server = socket.socketpair()
        self._server.setblocking(False)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.socket.settimeout(TIMEOUT)
        self.quota = quota or Quota(1 << 30)
        self.row = Scoreboard(bytearray(size_for(1)), 1).row(0)
        self.counters = Counters(self.row)
        self.outbox = Outbox(self._server, self.quota, stall, self.counters)

    def read(self, size: int) -> bytes:
        """The next `size` bytes; the outbox is flushed when there are none."""
        parts = []
        while size:
            self.outbox.flush()
            parts.append(self.socket.recv(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def deliver(self) -> None:
        """Send all that waits to a client that reads."""
        while not self.outbox.flush():
            select.select([], [self._server], [], TIMEOUT)

    def has_something(self) -> bool:
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self.outbox.discard()
        self.socket.close()
        self._server.close()


@pytest.fixture
def client() -> Iterator[Client]:
    one = Client()
    yield one
    one.close()


def test_what_the_client_takes_at_once_never_waits(client: Client):
    client.outbox.write(b"hello")

    assert (client.outbox.pending, client.outbox.taken, client.read(5)) == (False, 5, b"hello")


def test_writing_never_waits_for_a_reader_and_keeps_the_order(client: Client):
    before = open_descriptors()
    for start in range(0, len(BIG), 100_000):
        client.outbox.write(BIG[start : start + 100_000])

    assert client.outbox.pending
    assert client.outbox.unsent + client.outbox.taken == len(BIG)
    assert len(client.outbox._memory) <= MEMORY
    assert len(open_descriptors()) == len(before) + 1
    assert client.read(len(BIG)) == BIG
    assert client.outbox.flush()
    assert (client.outbox.pending, client.outbox.taken, client.outbox.unsent) == (False, len(BIG), 0)
    assert open_descriptors() == before
    assert client.quota._left == 1 << 30, "the quota was not given back"


@pytest.mark.parametrize("size", [1, 1000, MEMORY - 1, MEMORY, MEMORY + 1, MEMORY + PIECE + 1, len(BIG)])
def test_the_order_holds_from_memory_to_disk_to_memory(client: Client, size: int):
    expected = b""
    for turn in range(4):
        client.outbox.write(BIG[:size])
        client.outbox.write(b"<%d>" % turn)
        expected += BIG[:size] + b"<%d>" % turn
        half = len(expected) // 2
        assert client.read(half) == expected[:half]
        expected = expected[half:]

    assert client.read(len(expected)) == expected
    assert not client.has_something()


def test_many_small_pieces_cost_no_more_memory_than_few_large_ones(client: Client):
    client.outbox.write(BIG)
    client.read(len(BIG) - 10_000)
    for _ in range(100_000):
        client.outbox.write(b"a")

    assert client.read(110_000) == BIG[-10_000:] + b"a" * 100_000


def test_what_waits_goes_on_while_more_is_written(client: Client):
    """The application may take long, and no other thread sends in the meantime."""
    client.outbox.write(BIG)
    received = client.socket.recv(1 << 20)
    client.outbox.write(b"a")
    assert client.has_something()

    while received != BIG + b"a" * (len(received) - len(BIG)):
        received += client.socket.recv(1 << 20)
        client.outbox.write(b"a")
    assert not client.outbox.unsent


@pytest.mark.pure
def test_a_large_piece_goes_on_while_it_is_kept(client: Client, monkeypatch: pytest.MonkeyPatch):
    """A quick reader has most of it when it is."""
    received: list[bytes] = []
    keep = Spool.write

    def read_meanwhile(spool: Spool, data: bytes | memoryview) -> bool:
        while client.has_something():
            received.append(client.socket.recv(1 << 20))
        return keep(spool, data)

    monkeypatch.setattr(Spool, "write", read_meanwhile)
    client.outbox.write(BIG)

    assert len(received) >= (len(BIG) - MEMORY) // PIECE, "each piece had a turn"
    data = b"".join(received)
    assert data + client.read(len(BIG) - len(data)) == BIG


@pytest.mark.pure
def test_a_large_piece_is_not_held_in_memory_while_it_waits(client: Client):
    data = memoryview(bytearray(BIG))
    client.outbox.write(data)  # type: ignore[arg-type]  # to see what holds it

    data.release()


def test_one_client_gets_no_more_than_a_burst_at_once(monkeypatch: pytest.MonkeyPatch):
    client = Client()
    data = b"a" * (3 * BURST * PIECE)
    client.outbox.write(data)
    calls: list[int] = []

    def take_all(piece: bytes) -> int:
        calls.append(len(piece))
        return len(piece)

    client.outbox._send = take_all
    turns = 1
    while not client.outbox.flush():
        turns += 1

    assert turns >= 3
    assert client.outbox.taken == len(data)
    assert max(calls) <= PIECE
    client.close()


def test_no_more_than_64_kib_wait_in_memory_and_they_are_counted(client: Client):
    assert MEMORY == 64 * 1024
    client.outbox.write(BIG[:MEMORY])
    while not client.outbox._memory:
        client.outbox.write(BIG[:MEMORY])  # until the kernel has enough
    client.outbox.write(BIG)

    assert len(client.outbox._memory) <= MEMORY
    assert client.quota._left == (1 << 30) - MEMORY - len(client.outbox._spool)
    client.outbox.discard()
    assert client.quota._left == 1 << 30


@pytest.mark.pure
def test_one_response_leaves_room_for_others():
    quota = Quota(SHARES * 5 * PIECE)
    client = Client(quota, stall=0.01)
    with pytest.raises(ClientDisconnected, match="reads nothing"):
        client.outbox.write(BIG)
    client.close()
    client = Client(quota, stall=TIMEOUT)
    received: list[bytes] = []
    reader = read_slowly(client, len(BIG), received)
    lefts: list[int] = []
    original = client.outbox._store

    def store(piece: memoryview) -> int:
        lefts.append(quota._left)
        return original(piece)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "_store", lambda outbox, piece: store(piece))
        client.outbox.write(BIG)
    client.deliver()
    reader.join(TIMEOUT)

    assert min(lefts) >= (SHARES - 1) * 5 * PIECE
    client.close()


# ── no room ──


def read_slowly(client: Client, size: int, into: list[bytes]) -> threading.Thread:
    def read() -> None:
        while sum(map(len, into)) < size and (data := client.socket.recv(50_000)):
            into.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.mark.parametrize("room", [0, SHARES * UNCOUNTED, SHARES * MEMORY, SHARES * (3 * PIECE + 1)])
def test_without_room_the_reader_sets_the_pace(room: int):
    client = Client(Quota(room), stall=TIMEOUT)
    received: list[bytes] = []
    reader = read_slowly(client, 2 * len(BIG), received)

    client.outbox.write(BIG)
    for start in range(0, len(BIG), 70_000):
        client.outbox.write(BIG[start : start + 70_000])
    client.deliver()
    reader.join(TIMEOUT)

    assert b"".join(received) == BIG + BIG
    assert client.quota._left == room
    client.close()


def test_what_others_have_taken_is_waited_for_in_memory():
    quota = Quota(SHARES * PIECE)
    others = [Share(quota) for _ in range(100)]
    for other in others:
        while other.take(100):
            pass
    left = quota._left
    client = Client(quota, stall=TIMEOUT)
    received: list[bytes] = []
    reader = read_slowly(client, len(BIG), received)
    client.outbox.write(BIG)
    client.deliver()
    reader.join(TIMEOUT)

    assert b"".join(received) == BIG
    assert quota._left == left
    client.close()


@pytest.mark.parametrize("room", [0, PIECE, 3 * PIECE + 1])
def test_a_full_disk_is_like_a_full_quota(room: int, monkeypatch: pytest.MonkeyPatch):
    def fill(fd: int, data: bytes, offset: int) -> int:
        free = room - sum(os.fstat(one).st_size for one in spools)
        spools.add(fd)
        if offset + len(data) > os.fstat(fd).st_size and len(data) > free:
            raise OSError(errno.ENOSPC, "no space left on device")
        return pwrite(fd, data, offset)

    def close(fd: int) -> None:
        spools.discard(fd)
        shut(fd)

    spools: set[int] = set()
    pwrite, shut = os.pwrite, os.close
    monkeypatch.setattr(os, "pwrite", fill)
    monkeypatch.setattr(os, "close", close)
    client = Client(stall=TIMEOUT)
    received: list[bytes] = []
    reader = read_slowly(client, 2 * len(BIG), received)
    for _ in range(2):
        client.outbox.write(BIG)
    client.deliver()
    reader.join(TIMEOUT)

    assert b"".join(received) == BIG + BIG
    client.close()


def test_a_client_that_could_take_something_and_does_not_is_given_up(monkeypatch: pytest.MonkeyPatch):
    """One that speaks TLS may have to say something first."""
    client = Client(Quota(SHARES * MEMORY), stall=0.01)
    client.outbox.write(BIG[:MEMORY])
    client.read(1000)

    def take_nothing(data: bytes) -> int:
        raise BlockingIOError

    client.outbox._send = take_nothing
    with pytest.raises(ClientDisconnected, match="reads nothing"):
        client.outbox.write(BIG)
    client.close()


@pytest.mark.pure
def test_a_reader_is_waited_for_while_it_takes_something_from_the_kernel(monkeypatch: pytest.MonkeyPatch):
    """Room for more is reported only when it has taken much."""
    taken = iter(range(20))
    monkeypatch.setattr(Outbox, "reached", property(lambda outbox: next(taken, 20)))
    client = Client(Quota(0), stall=0.01)
    with pytest.raises(ClientDisconnected, match="reads nothing"):
        client.outbox.write(BIG)

    assert next(taken, None) is None, "it was given up while it read"
    client.close()


def test_a_reader_that_takes_nothing_is_given_up():
    client = Client(Quota(SHARES * 2 * PIECE), stall=0.01)
    with pytest.raises(ClientDisconnected, match="reads nothing"):
        client.outbox.write(BIG)

    assert client.outbox.is_lost
    assert not client.outbox.pending
    assert client.outbox.missing + client.outbox.taken == len(BIG)
    assert client.quota._left == SHARES * 2 * PIECE, "the quota was not given back"
    client.close()


def test_a_client_that_leaves_while_it_is_waited_for_is_lost():
    client = Client(Quota(0), stall=TIMEOUT)
    timer = threading.Timer(0.01, client.socket.shutdown, [socket.SHUT_RDWR])
    timer.start()
    with pytest.raises(ClientDisconnected):
        client.outbox.write(BIG)
    timer.join()

    assert client.outbox.is_lost
    client.close()


@pytest.mark.pure
def test_a_wait_for_the_reader_is_progress_of_the_application(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BEAT", 0.001)
    client = Client(Quota(0), stall=TIMEOUT)
    seen: list[int] = []
    received: list[bytes] = []
    readers: list[threading.Thread] = []
    progress = Counters.progress

    def look(counters: Counters) -> None:
        progress(counters)
        seen.append(client.row.stall_reference_ns)
        if len(seen) == 5:
            readers.append(read_slowly(client, len(BIG), received))

    monkeypatch.setattr(Counters, "progress", look)
    began = time.monotonic_ns()
    client.counters.begin(b"GET /", began)
    client.outbox.write(BIG)

    assert len(seen) > 5
    assert sorted(set(seen)) == seen, "else the master would take it for a call that never returns"
    assert client.row.words[BUSY_SINCE_NS] == began, "the request has been running all the time"
    client.deliver()
    readers[0].join(TIMEOUT)
    assert b"".join(received) == BIG
    client.close()


def test_room_that_readers_make_is_room_for_the_next(monkeypatch: pytest.MonkeyPatch):
    """What a reader has taken is not held against the response that it belongs to."""
    monkeypatch.setattr("appserve.wsgi.spool.SEGMENT", PIECE)
    client = Client(Quota(SHARES * 7 * PIECE), stall=0.01)
    client.outbox.write(bytes(MEMORY + 3 * PIECE))
    for _ in range(20):
        client.read(PIECE)
        client.outbox.write(bytes(PIECE))

    assert not client.outbox.is_lost
    client.close()


# ── files ──


def part_of(path: Path, start: int = 0) -> FilePart:
    path.write_bytes(BIG)
    with path.open("rb") as file:
        file.seek(start)
        part = find_part(file)
    assert part is not None
    return part


@pytest.fixture(params=["by the kernel", "by hand"])
def any_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test is run with os.sendfile, and where there is none."""
    if request.param == "by hand":
        monkeypatch.delattr(os, "sendfile")


@pytest.mark.usefixtures("any_way")
@pytest.mark.parametrize("start", [0, 1, 1_000_000, len(BIG) - 1])
@pytest.mark.parametrize("before", [b"", b"before ", BIG])
@pytest.mark.parametrize("after", [b"", b" after"])
def test_a_file_goes_between_its_neighbours(
    client: Client, tmp_path: Path, start: int, before: bytes, after: bytes
):
    descriptors = open_descriptors()
    client.outbox.send_file(before, part_of(tmp_path / "file", start), after)
    expected = before + BIG[start:] + after
    assert client.outbox.unsent + client.outbox.taken == len(expected)

    assert client.read(len(expected)) == expected
    assert client.outbox.flush()
    assert (client.outbox.pending, client.outbox.taken) == (False, len(expected))
    assert open_descriptors() == descriptors
    assert not client.has_something()


@pytest.mark.usefixtures("any_way")
def test_a_file_waits_in_no_spool_and_in_no_memory(tmp_path: Path):
    client = Client(Quota(0), stall=0.001)
    before = open_descriptors()
    client.outbox.send_file(b"head", part_of(tmp_path / "file"), b"")

    assert client.outbox.pending
    assert client.outbox._memory == b""
    assert len(open_descriptors()) == len(before) + 1, "its own descriptor"
    assert client.read(4 + len(BIG)) == b"head" + BIG
    client.close()


def test_what_is_written_behind_a_file_comes_behind_it(client: Client, tmp_path: Path):
    client.outbox.send_file(b"1", part_of(tmp_path / "file"), b"2")
    client.outbox.write(b"3")

    assert client.read(len(BIG) + 3) == b"1" + BIG + b"23"


def test_no_more_of_a_file_is_sent_than_requested(client: Client, tmp_path: Path):
    part = part_of(tmp_path / "file")
    part.size = 1_000_000
    with (tmp_path / "file").open("ab") as file:
        file.write(b"grown")
    client.outbox.send_file(b"", part, b"")

    assert client.read(1_000_000) == BIG[:1_000_000]
    assert client.outbox.flush()
    assert not client.has_something()


@pytest.mark.usefixtures("any_way")
@pytest.mark.parametrize("left", [0, 1_500_000])
def test_a_file_that_became_shorter_is_missed(client: Client, tmp_path: Path, left: int):
    descriptors = open_descriptors()
    part = part_of(tmp_path / "file")
    os.truncate(tmp_path / "file", left)
    client.outbox.send_file(b"head", part, b"after")

    assert client.read(4 + left) == b"head" + BIG[:left]
    assert client.outbox.flush()
    assert (client.outbox.missing, client.outbox.unsent) == (len(BIG) - left, 0)
    assert not client.has_something(), "what comes after it would be in its place"
    assert open_descriptors() == descriptors


@pytest.mark.usefixtures("any_way")
def test_a_client_that_leaves_within_a_file_is_lost(client: Client, tmp_path: Path):
    descriptors = open_descriptors()
    client.outbox.send_file(b"head", part_of(tmp_path / "file"), b"")
    client.socket.close()
    with pytest.raises(ClientDisconnected):
        client.outbox.flush()

    assert client.outbox.missing + client.outbox.taken == 4 + len(BIG)
    assert len(open_descriptors()) == len(descriptors) - 1


def test_a_client_that_left_before_a_file_gets_none(client: Client, tmp_path: Path):
    descriptors = open_descriptors()
    client.socket.close()
    for before in (b"head", b""):
        with pytest.raises(ClientDisconnected):
            client.outbox.send_file(before, part_of(tmp_path / "file"), b"")

    assert len(open_descriptors()) == len(descriptors) - 1


def test_one_client_gets_no_more_than_a_burst_of_a_file_at_once(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[int] = []

    def take_all(out: int, fd: int, offset: int, count: int) -> int:
        calls.append(count)
        return count

    monkeypatch.setattr(os, "sendfile", take_all)
    part = part_of(tmp_path / "file")
    part.size = 3 * BURST * FILE_PIECE
    client.outbox.send_file(b"", part, b"")
    turns = 2
    while not client.outbox.flush():
        turns += 1

    assert turns >= 3
    assert sum(calls) == 3 * BURST * FILE_PIECE
    assert max(calls) <= FILE_PIECE


def test_a_discarded_file_is_closed(client: Client, tmp_path: Path):
    descriptors = open_descriptors()
    client.outbox.send_file(b"head", part_of(tmp_path / "file"), b"after")
    client.outbox.discard()

    assert (client.outbox.pending, client.outbox.unsent) == (False, 0)
    assert open_descriptors() == descriptors


# ── lost ──


def test_a_client_that_left_is_lost_and_nothing_is_kept_for_it(client: Client):
    before = open_descriptors()
    client.outbox.write(BIG)
    client.socket.close()
    with pytest.raises(ClientDisconnected):
        client.outbox.flush()

    assert (client.outbox.is_lost, client.outbox.pending) == (True, False)
    assert client.outbox.missing + client.outbox.taken == len(BIG)
    assert client.quota._left == 1 << 30
    assert len(open_descriptors()) == len(before) - 1


@pytest.mark.parametrize("size", [1, 2 * PIECE + 1])
def test_a_client_that_left_is_lost_at_the_next_write(client: Client, size: int):
    client.outbox.write(BIG)
    client.socket.close()
    with pytest.raises(ClientDisconnected):
        client.outbox.write(BIG[:size])

    assert (client.outbox.is_lost, client.outbox.pending) == (True, False)
    assert client.outbox.missing + client.outbox.taken == len(BIG) + size
    assert client.quota._left == 1 << 30


def test_a_client_that_left_before_the_first_byte_is_lost(client: Client):
    client.socket.close()
    with pytest.raises(ClientDisconnected) as caught:
        client.outbox.write(b"hello")

    assert caught.value.errno == errno.EPIPE
    assert client.outbox.is_lost


def test_nothing_is_sent_behind_bytes_that_are_missing():
    """An application may handle the error and go on; the client must not see a response with a hole."""
    client = Client(Quota(0), stall=0.01)
    with pytest.raises(ClientDisconnected):
        client.outbox.write(BIG)
    while client.has_something():
        client.socket.recv(1 << 16)

    for _ in range(2):
        with pytest.raises(ClientDisconnected):
            client.outbox.write(b"more")
    assert client.outbox.flush()
    assert not client.has_something()
    client.close()


def test_a_spool_that_cannot_be_read_loses_the_client(client: Client, monkeypatch: pytest.MonkeyPatch):
    def fail(fd: int, size: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "input/output error")

    client.outbox.write(BIG)
    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(ClientDisconnected):
        client.read(len(BIG))

    assert client.outbox.is_lost


def test_the_bounds_fit_together():
    assert PIECE <= MEMORY, "what comes back from the spool must fit in memory"
    assert module.BURST > 1

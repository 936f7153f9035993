import errno
import os
import select
import socket
import threading
from collections.abc import Iterator

import pytest

from appserve.errors import ClientDisconnected
from appserve.wsgi import outbox as module
from appserve.wsgi.outbox import BURST, MEMORY, PIECE, Outbox
from appserve.wsgi.spool import Quota
from tests.wsgi.talk import PATIENCE, open_descriptors

BIG = os.urandom(3 * 1024 * 1024)


class Client:
    """The other end of a socket whose buffers are small."""

    def __init__(self, quota: Quota | None = None, stall: float = 0.0) -> None:
        self.socket, self._server = socket.socketpair()
        self._server.setblocking(False)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.socket.settimeout(PATIENCE)
        self.quota = quota or Quota(1 << 30)
        self.outbox = Outbox(self._server, self.quota, stall)

    def read(self, size: int) -> bytes:
        """The next `size` bytes; the outbox is flushed when there are none."""
        parts = []
        while size:
            self.outbox.flush()
            parts.append(self.socket.recv(size))
            size -= len(parts[-1])
        return b"".join(parts)

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

    assert (client.outbox.pending, client.outbox.taken, client.read(5)) == (b"", 5, b"hello")


def test_writing_never_waits_for_a_reader_and_keeps_the_order(client: Client):
    before = open_descriptors()
    for start in range(0, len(BIG), 100_000):
        client.outbox.write(BIG[start : start + 100_000])

    assert client.outbox.pending
    assert len(client.outbox.pending) <= MEMORY
    assert len(open_descriptors()) == len(before) + 1
    assert client.read(len(BIG)) == BIG
    assert client.outbox.flush()
    assert (client.outbox.pending, client.outbox.taken) == (b"", len(BIG))
    assert open_descriptors() == before
    assert client.quota.take(1 << 30), "the quota was not given back"


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


def test_a_large_piece_is_not_held_in_memory_while_it_waits(client: Client):
    data = memoryview(bytearray(BIG))
    client.outbox.write(data)  # type: ignore[arg-type]  # to see who holds it

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


# ── no room ──


def read_slowly(client: Client, size: int, into: list[bytes]) -> threading.Thread:
    def read() -> None:
        while sum(map(len, into)) < size and (data := client.socket.recv(50_000)):
            into.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.mark.parametrize("room", [0, PIECE, 3 * PIECE + 1])
def test_without_room_the_reader_sets_the_pace(room: int):
    client = Client(Quota(room), stall=PATIENCE)
    received: list[bytes] = []
    reader = read_slowly(client, 2 * len(BIG), received)

    client.outbox.write(BIG)
    for start in range(0, len(BIG), 70_000):
        client.outbox.write(BIG[start : start + 70_000])
    while not client.outbox.flush():
        client.outbox._wait_for_reader()
    reader.join(PATIENCE)

    assert b"".join(received) == BIG + BIG
    assert client.quota.take(room)
    client.close()


def test_what_others_have_taken_is_waited_for_in_memory():
    quota = Quota(PIECE)
    quota.take(PIECE)
    client = Client(quota, stall=PATIENCE)
    received: list[bytes] = []
    reader = read_slowly(client, len(BIG), received)
    client.outbox.write(BIG)
    while not client.outbox.flush():
        client.outbox._wait_for_reader()
    reader.join(PATIENCE)

    assert b"".join(received) == BIG
    assert not quota.take(1)
    client.close()


def test_a_reader_that_takes_nothing_is_given_up():
    client = Client(Quota(PIECE), stall=0.01)
    with pytest.raises(ClientDisconnected, match="takes nothing"):
        client.outbox.write(BIG)

    assert client.outbox.is_lost
    assert client.outbox.pending == b""
    assert client.quota.take(PIECE), "the quota was not given back"
    client.close()


def test_a_client_that_leaves_while_it_is_waited_for_is_lost():
    client = Client(Quota(0), stall=PATIENCE)
    timer = threading.Timer(0.01, client.socket.shutdown, [socket.SHUT_RDWR])
    timer.start()
    with pytest.raises(ClientDisconnected):
        client.outbox.write(BIG)
    timer.join()

    assert client.outbox.is_lost
    client.close()


# ── lost ──


def test_a_client_that_left_is_lost_and_nothing_is_kept_for_it(client: Client):
    before = open_descriptors()
    client.outbox.write(BIG)
    client.socket.close()
    with pytest.raises(ClientDisconnected):
        client.outbox.flush()

    assert (client.outbox.is_lost, client.outbox.pending) == (True, b"")
    assert client.quota.take(1 << 30)
    assert len(open_descriptors()) == len(before) - 1


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

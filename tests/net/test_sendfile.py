import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.net.sendfile import PIECE, Destination, send_file

DATA = os.urandom(3 * PIECE)


class Pair:
    """Two ends of a connection, and a file."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(DATA)
        self.client, self.server = socket.socketpair()
        self.server.setblocking(False)
        self.client.settimeout(10)
        self.file = path.open("rb")

    def close(self) -> None:
        self.client.close()
        self.server.close()
        self.file.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    one = Pair(tmp_path / "file")
    yield one
    one.close()


class Wrapped:
    """Stands for a socket of which only `send` may be used."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner

    def fileno(self) -> int:
        return self._inner.fileno()

    def send(self, data: bytes) -> int:
        return self._inner.send(data)


class Encrypting(Wrapped):
    """Stands for a socket that does something to what it sends."""

    def send(self, data: bytes) -> int:
        return self._inner.send(bytes(255 - byte for byte in data))


both_ways = pytest.mark.parametrize("portable", [False, True])


def destination(pair: Pair, portable: bool) -> Destination:
    return Wrapped(pair.server) if portable else pair.server


@both_ways
@pytest.mark.parametrize(("offset", "count"), [(0, 1), (0, 1000), (12345, 1000), (len(DATA) - 10, 10)])
def test_it_sends_what_is_there_and_moves_nothing(pair: Pair, portable: bool, offset: int, count: int):
    assert send_file(destination(pair, portable), pair.file.fileno(), offset, count) == count
    assert pair.client.recv(count + 1) == DATA[offset : offset + count]
    assert pair.file.tell() == os.lseek(pair.file.fileno(), 0, os.SEEK_CUR) == 0


@both_ways
def test_it_sends_as_much_as_the_client_takes(pair: Pair, portable: bool):
    received = b""
    while len(received) < len(DATA):
        try:
            left = len(DATA) - len(received)
            sent = send_file(destination(pair, portable), pair.file.fileno(), len(received), left)
        except BlockingIOError:
            pytest.fail("the client has taken all that was sent")
        assert 0 < sent <= left
        received += pair.client.recv(sent, socket.MSG_WAITALL)

    assert received == DATA


@both_ways
def test_a_client_that_takes_nothing_is_not_waited_for(pair: Pair, portable: bool):
    with pytest.raises(BlockingIOError):
        for _ in range(1000):
            send_file(destination(pair, portable), pair.file.fileno(), 0, len(DATA))


@both_ways
def test_a_client_that_left_is_an_error(pair: Pair, portable: bool):
    pair.client.close()
    with pytest.raises(ConnectionError):
        send_file(destination(pair, portable), pair.file.fileno(), 0, 10)


@both_ways
def test_behind_its_end_a_file_has_nothing(pair: Pair, portable: bool):
    assert send_file(destination(pair, portable), pair.file.fileno(), len(DATA), 10) == 0
    assert send_file(destination(pair, portable), pair.file.fileno(), len(DATA) - 3, 10) == 3


@both_ways
def test_a_file_that_cannot_be_read_has_nothing(pair: Pair, portable: bool, tmp_path: Path):
    with (tmp_path / "other").open("wb") as unreadable:
        assert send_file(destination(pair, portable), unreadable.fileno(), 0, 10) == 0


def test_what_the_kernel_cannot_send_is_read(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object) -> int:
        raise OSError(errno.EINVAL, "not this file")

    monkeypatch.setattr(os, "sendfile", refuse)

    assert send_file(pair.server, pair.file.fileno(), 5, 10) == 10
    assert pair.client.recv(100) == DATA[5:15]


def test_without_sendfile_it_is_read(pair: Pair, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sendfile")

    assert send_file(pair.server, pair.file.fileno(), 5, 10) == 10


def test_a_socket_that_encrypts_gets_to_see_the_bytes(pair: Pair):
    assert send_file(Encrypting(pair.server), pair.file.fileno(), 5, 10) == 10
    assert pair.client.recv(100) == bytes(255 - byte for byte in DATA[5:15])


def test_what_is_read_at_once_is_bounded(pair: Pair):
    pair.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * PIECE)

    assert send_file(Wrapped(pair.server), pair.file.fileno(), 0, len(DATA)) <= PIECE

import select
import socket
from collections.abc import Iterator

import pytest

from appserve.errors import Rejected
from appserve.http.forwarded import TrustList
from appserve.http.proxy_protocol import ProxyHeader, read_proxy_header
from appserve.net.greeting import Greeting, Greetings
from tests.http.proxy_headers import LOCAL, UNKNOWN, block, line, tls

PATIENCE = 10.0
"""Seconds that only a failure waits."""

HEADERS = [line(), UNKNOWN, block(), LOCAL, block(vectors=tls())]
CLIENT_HELLO = bytes.fromhex("16 03 01 00 c4 01 00 00 c0 03 03") + bytes(189)
BEHIND = [b"", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", CLIENT_HELLO, line(), block(), b"\r\n"]

Pair = tuple[socket.socket, socket.socket]


def tcp_pair() -> Pair:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = socket.create_connection(listener.getsockname(), PATIENCE)
        proxy.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return proxy, listener.accept()[0]


@pytest.fixture(params=[tcp_pair, socket.socketpair], ids=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """A proxy and a server at the two ends of a connection."""
    proxy, server = request.param()
    server.setblocking(False)
    with proxy, server:
        yield proxy, server


def is_readable(server: socket.socket, seconds: float) -> bool:
    return bool(select.select([server], [], [], seconds)[0])


def await_bytes(server: socket.socket) -> None:
    assert is_readable(server, PATIENCE)


def drained(server: socket.socket, size: int) -> bytes:
    """All that is left to read, which is `size` bytes."""
    found = b""
    while len(found) < size:
        await_bytes(server)
        found += server.recv(1 << 16)
    return found


@pytest.mark.parametrize("behind", BEHIND)
@pytest.mark.parametrize("data", HEADERS)
def test_nothing_behind_the_header_is_taken(pair: Pair, data: bytes, behind: bytes):
    proxy, server = pair
    expected = read_proxy_header(data, "auto")
    assert expected is not None
    proxy.sendall(data + behind)
    await_bytes(server)

    assert Greeting(server, "auto").read() == expected[0]

    assert drained(server, len(behind)) == behind
    assert not is_readable(server, 0)


@pytest.mark.parametrize("behind", BEHIND[:3])
@pytest.mark.parametrize("data", HEADERS)
def test_a_header_may_come_in_any_two_pieces(data: bytes, behind: bytes):
    expected = read_proxy_header(data, "auto")
    assert expected is not None
    for cut in range(1, len(data)):
        proxy, server = socket.socketpair()
        with proxy, server:
            server.setblocking(False)
            greeting = Greeting(server, "auto")
            proxy.sendall(data[:cut])
            assert greeting.read() is None
            # What was seen is taken: a poller that reports what is there must not report it again.
            assert not is_readable(server, 0)
            proxy.sendall(data[cut:] + behind)
            assert greeting.read() == expected[0]
            assert drained(server, len(behind)) == behind


@pytest.mark.parametrize("data", HEADERS)
def test_a_header_may_come_byte_by_byte(pair: Pair, data: bytes):
    proxy, server = pair
    greeting = Greeting(server, "auto")
    for at in range(len(data) - 1):
        proxy.sendall(data[at : at + 1])
        await_bytes(server)
        assert greeting.read() is None
        assert not is_readable(server, 0)
    proxy.sendall(data[-1:] + b"rest")
    await_bytes(server)

    expected = read_proxy_header(data, "auto")
    assert expected is not None
    assert greeting.read() == expected[0]
    assert drained(server, 4) == b"rest"


def test_a_silent_proxy_is_waited_for(pair: Pair):
    proxy, server = pair
    greeting = Greeting(server, "v1")

    assert greeting.read() is None
    proxy.sendall(line())
    await_bytes(server)
    assert greeting.read() is not None


@pytest.mark.parametrize("data", [b"", line()[:-1], block()[:20]])
def test_a_proxy_that_leaves_inside_its_header_is_an_error(pair: Pair, data: bytes):
    proxy, server = pair
    greeting = Greeting(server, "auto")
    proxy.sendall(data)
    proxy.shutdown(socket.SHUT_WR)

    with pytest.raises(ConnectionError):
        while True:
            await_bytes(server)
            assert greeting.read() is None


def test_a_proxy_that_ends_its_side_behind_the_header_has_sent_one(pair: Pair):
    proxy, server = pair
    proxy.sendall(line())
    proxy.shutdown(socket.SHUT_WR)
    await_bytes(server)

    assert Greeting(server, "v1").read() is not None


def test_a_reset_is_told(pair: Pair):
    proxy, server = pair
    if server.family == socket.AF_UNIX:
        server.sendall(b"never read, which makes the close a reset")
    else:
        proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    proxy.close()
    await_bytes(server)

    with pytest.raises(ConnectionError):
        Greeting(server, "auto").read()


@pytest.mark.parametrize(
    ("data", "version"),
    [(b"GET / HTTP/1.1\r\n\r\n", "auto"), (CLIENT_HELLO, "auto"), (line(), "v2"), (block(), "v1")],
)
def test_anything_else_than_a_header_is_refused(pair: Pair, data: bytes, version: str):
    proxy, server = pair
    proxy.sendall(data)
    await_bytes(server)

    with pytest.raises(Rejected) as caught:
        Greeting(server, version).read()
    assert caught.value.status == 400


class Only(TrustList):
    """Trusts the hosts that it was made of, and nobody else, whatever they look like."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts

    def trusts(self, host: str) -> bool:
        return host in self.hosts


@pytest.mark.parametrize("peer", [("192.0.2.1", 4711), ("2001:db8::1", 4711, 0, 0), "", b"", "/run/its.own"])
def test_only_the_proxies_that_are_named_are_listened_to(pair: Pair, peer: object):
    proxy, server = pair
    host = peer[0] if isinstance(peer, tuple) else ""
    proxy.sendall(line())
    await_bytes(server)

    with pytest.raises(Rejected) as caught:
        Greetings("v1", Only("192.0.2.2")).expect(server, peer)
    assert caught.value.status == 403
    assert Greetings("v1", Only(host)).expect(server, peer).read() == ProxyHeader(
        ("192.0.2.7", 56324), ("198.51.100.1", 443)
    )


class Torn:
    """A socket that shows `data` and then hands over no more than `most` bytes at once."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.most = most

    def recv(self, size: int, flags: int = 0) -> bytes:
        if flags:
            return self.data[:size]
        taken, self.data = self.data[: min(size, self.most)], self.data[min(size, self.most) :]
        return taken


def test_pieces_in_which_the_kernel_hands_bytes_over_are_put_together():
    torn = Torn(block() + b"rest", 3)

    assert Greeting(torn, "v2").read() is not None  # type: ignore[arg-type]  # a fake
    assert torn.data == b"rest"


def test_bytes_that_were_seen_and_cannot_be_had_end_the_connection():
    with pytest.raises(ConnectionError):
        Greeting(Torn(block(), 0), "v2").read()  # type: ignore[arg-type]  # a fake

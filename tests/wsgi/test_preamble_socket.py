"""PreambleSocket: like a non-blocking socket, with a client that speaks TLS."""

import contextlib
import os
import select
import socket
import ssl
import struct
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from appserve.connection.origin import Endpoints
from appserve.connection.preamble import Preamble, PreambleRules
from appserve.net.tls_session import RECORD, TlsSession
from appserve.wsgi.preamble_socket import BURST, PIECE, PreambleSocket
from tests.certificates import certificates
from tests.net.tls_visit import serving

READ_SIZE = 65536
QUIET = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


def secured(accepted: socket.socket) -> PreambleSocket:
    accepted.setblocking(False)
    rules = PreambleRules(make_session=partial(TlsSession, serving()))
    return PreambleSocket(accepted, Preamble(rules, Endpoints(None, None, over_tls=True)))


class Visit:
    """`client` and `server` at the two ends of a socket pair, both non-blocking; no handshake is begun."""

    def __init__(self, *, small: bool = False) -> None:
        self.wire, accepted = socket.socketpair()
        self.wire.setblocking(False)
        if small:
            for end in (self.wire, accepted):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.server = secured(accepted)
        self.client = (
            certificates()
            .client_context()
            .wrap_socket(self.wire, server_hostname="shop.example", do_handshake_on_connect=False)
        )
        self.client.suppress_ragged_eofs = False  # an end without a close_notify raises

    def close(self) -> None:
        self.client.close()
        self.server.close()

    def shake(self) -> "Visit":
        """Both do their part in turn until the handshake is done."""
        for _ in range(20):
            with contextlib.suppress(*QUIET):
                self.client.do_handshake()
            assert not self.poll()
            if self.client.version() and self.server.facts():
                return self
        raise AssertionError("the handshake does not end")

    def poll(self) -> bytes | None:
        """What the server receives now, None if nothing."""
        try:
            return self.server.recv(READ_SIZE)
        except BlockingIOError:
            return None

    def receive(self) -> bytes:
        """All that is there for the client now."""
        received = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.client.recv(READ_SIZE):
                received += data
        return received


@pytest.fixture
def visit() -> Iterator[Visit]:
    made = Visit()
    yield made
    made.close()


@pytest.fixture
def slow_visit() -> Iterator[Visit]:
    made = Visit(small=True)
    yield made
    made.close()


def fill(connection: Any) -> int:
    """Write junk below TLS until the kernel takes no more; gives the number of bytes."""
    filled = 0
    with socket.socket(fileno=os.dup(connection.fileno())) as raw, contextlib.suppress(BlockingIOError):
        for size in (4096, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    filled += raw.send(bytes(size))
    return filled


def drain(client: ssl.SSLSocket, size: int) -> None:
    """Read so many bytes below TLS."""
    with socket.socket(fileno=os.dup(client.fileno())) as raw:
        while size:
            size -= len(raw.recv(size))


# ── reading ──


def test_the_handshake_happens_inside_recv_and_never_blocks(visit: Visit):
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            visit.server.recv(READ_SIZE)
    assert not visit.server.wants_write

    visit.shake()
    visit.client.send(b"request")
    assert visit.server.recv(READ_SIZE) == b"request"
    assert visit.server.send(b"hello") == 5
    assert visit.receive() == b"hello"


def test_a_cut_is_the_end_in_the_handshake_and_behind_it(visit: Visit):
    with contextlib.suppress(ssl.SSLWantReadError):
        visit.client.do_handshake()
    assert visit.poll() is None
    socket.socket.shutdown(visit.client, socket.SHUT_WR)  # below TLS
    assert visit.poll() == b""

    other = Visit().shake()
    socket.socket.shutdown(other.client, socket.SHUT_WR)
    assert other.poll() == b""
    other.close()


def test_an_end_of_file_read_behind_the_last_bytes_is_delivered(visit: Visit):
    visit.shake()
    visit.client.send(b"last")
    with contextlib.suppress(*QUIET):
        visit.client.unwrap()

    assert visit.server.recv(READ_SIZE) == b"last"
    assert visit.server.has_ended
    assert visit.server.recv(READ_SIZE) == b""


def test_a_large_upload_leaves_nothing_that_no_poll_would_announce(visit: Visit):
    visit.shake()
    body, received = os.urandom(200_000), b""
    left = memoryview(body)
    while len(received) < len(body):
        while left:
            try:
                left = left[visit.client.send(left[:RECORD]) :]
            except ssl.SSLWantWriteError:
                break
        assert select.select([visit.server], [], [], 10)[0]
        received += visit.poll() or b""

    assert body == received
    assert visit.poll() is None


def test_a_reset_is_an_error():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    server = secured(accepted)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    listener.close()
    assert select.select([server], [], [], 10)[0]

    with pytest.raises(ConnectionResetError):
        server.recv(READ_SIZE)
    server.close()


def test_a_handshake_that_has_no_room_to_write_says_so_and_goes_on_later(visit: Visit):
    with contextlib.suppress(*QUIET):
        visit.client.do_handshake()
    filled = fill(visit.server)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            visit.server.recv(READ_SIZE)
        assert visit.server.wants_write

    drain(visit.client, filled)
    with pytest.raises(BlockingIOError):
        visit.server.recv(READ_SIZE)
    assert not visit.server.wants_write
    visit.shake()


# ── writing ──


def test_what_cannot_be_sent_can_be_sent_later_in_a_longer_or_shorter_buffer(slow_visit: Visit):
    visit = slow_visit.shake()
    buffer, whole, received = bytearray(), b"", b""
    refused = 0
    for size in (1, 100, RECORD - 1, RECORD, RECORD + 1, 100_000, 1, 1_000_000, 0):
        more = os.urandom(size)
        buffer += more
        whole += more
        while buffer:
            try:
                # What was encrypted may be offered again in parts, as an outbox and its spool do.
                part = buffer[: 10_000 if refused % 2 else len(buffer)]
                del buffer[: visit.server.send(part)]
            except BlockingIOError:
                refused += 1
                if size and refused % 3:
                    break  # and come back with more
                received += visit.receive()
    received += visit.receive()

    assert refused > 10
    assert whole == received


@pytest.mark.pure  # what encrypts is replaced
def test_one_sending_ends_even_if_the_client_reads_as_fast_as_it_is_written(visit: Visit):

    class Quick(PreambleSocket):
        def _send_encrypted(self, data: bytes) -> bool:
            return True

    visit.shake()
    quick = Quick(visit.server._socket, visit.server.preamble)

    assert quick.send(bytes(2 * BURST * PIECE)) == BURST * PIECE


def test_sending_to_a_client_that_left_is_an_error(visit: Visit):
    visit.shake()
    visit.client.close()
    with pytest.raises(ConnectionError):
        for _ in range(3):
            visit.server.send(b"hello")


# ── ending ──


def test_a_shutdown_is_a_close_notify_and_an_end_and_waits_for_nothing(visit: Visit):
    visit.shake()
    visit.server.send(b"bye")
    visit.server.shutdown(socket.SHUT_WR)

    assert visit.client.recv(100) == b"bye"
    assert visit.client.recv(100) == b""


def test_after_a_shutdown_what_still_comes_is_received_and_is_no_error(visit: Visit):
    visit.shake()
    visit.client.send(b"on its way")
    visit.server.shutdown(socket.SHUT_WR)
    visit.client.send(b"late")

    assert visit.server.recv(READ_SIZE)
    visit.receive()  # or its close would be a reset
    visit.client.close()
    assert visit.server.recv(READ_SIZE) == b""


def test_a_notice_without_room_for_it_has_to_be_tried_again(visit: Visit):
    visit.shake()
    visit.receive()  # the tickets
    filled = fill(visit.server)
    assert not visit.server.notify()
    assert not visit.server.notify()

    drain(visit.client, filled)
    assert visit.server.notify()
    assert visit.client.recv(100) == b""


def test_a_close_says_nothing(visit: Visit):
    visit.shake()
    visit.server.close()
    with pytest.raises(ssl.SSLEOFError):
        visit.client.recv(100)


def test_there_is_nothing_to_notify_before_the_handshake(visit: Visit):
    assert visit.server.notify()
    visit.server.shutdown(socket.SHUT_WR)
    with pytest.raises(ssl.SSLEOFError):
        visit.client.do_handshake()


def test_plain_http_can_be_answered_plainly():
    wire, accepted = socket.socketpair()
    server = secured(accepted)
    wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionAbortedError, match="http"):
        server.recv(READ_SIZE)
    server.turn_raw()

    assert server.send(b"hello") == 5
    server.shutdown(socket.SHUT_WR)
    assert wire.recv(100) == b"hello"
    assert wire.recv(100) == b""
    wire.sendall(b"more, to be dropped")
    assert server.recv(READ_SIZE)
    with pytest.raises(BlockingIOError):
        server.recv(READ_SIZE)
    wire.close()
    assert server.recv(READ_SIZE) == b""
    server.close()

"""TlsSocket: like a non-blocking socket, with a client that speaks TLS."""

import contextlib
import errno
import gc
import os
import select
import socket
import ssl
import struct

import pytest

from appserve.net.tls_socket import BURST, RECORD, TlsSocket
from tests.certificates import certificates
from tests.net.tls_visit import READ_SIZE, Visit, serving

PLAIN = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def test_the_handshake_happens_inside_recv_and_never_blocks():
    with Visit() as visit:
        for _ in range(2):
            with pytest.raises(BlockingIOError):
                visit.server.recv(READ_SIZE)
        assert visit.server.facts() == {}
        assert not visit.server.wants_write

        visit.shake()
        visit.client.send(PLAIN)

        assert visit.server.recv(READ_SIZE) == PLAIN
        assert visit.server.send(b"hello") == 5
        assert visit.receive() == b"hello"


def test_the_descriptor_stays_the_same_and_is_not_inherited():
    here, accepted = socket.socketpair()
    fd = accepted.fileno()
    server = TlsSocket(accepted, serving())

    assert fd == server.fileno()
    assert not os.get_inheritable(fd)

    server.close()
    assert server.fileno() == -1
    here.close()


def test_a_close_notify_and_a_cut_are_both_the_end():
    with Visit().shake() as visit:
        with pytest.raises(ssl.SSLWantReadError):
            visit.client.unwrap()
        assert visit.server.recv(READ_SIZE) == b""

    with Visit().shake() as visit:
        socket.socket.shutdown(visit.client, socket.SHUT_WR)  # below TLS
        assert visit.server.recv(READ_SIZE) == b""


def test_an_end_inside_the_handshake_is_the_end():
    with Visit() as visit:
        with pytest.raises(ssl.SSLWantReadError):
            visit.client.do_handshake()
        assert visit.poll() is None
        socket.socket.shutdown(visit.client, socket.SHUT_WR)
        assert visit.poll() == b""


def test_a_reset_is_an_error_once_the_handshake_is_done():
    """As on TCP, though `ssl` tells it like an end before Python 3.13."""
    listener = socket.create_server(("127.0.0.1", 0))
    wire = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    listener.close()
    for end in (wire, accepted):
        end.setblocking(False)
    server = TlsSocket(accepted, serving())
    trusting = certificates().client_context()
    client = trusting.wrap_socket(wire, server_hostname="shop.example", do_handshake_on_connect=False)
    while not (client.version() and server.facts()):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        with contextlib.suppress(BlockingIOError):
            server.recv(READ_SIZE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert select.select([server], [], [], 10)[0]

    with pytest.raises(OSError) as caught:
        server.recv(READ_SIZE)
    assert not isinstance(caught.value, BlockingIOError)

    server.close()


def test_a_reset_in_the_handshake_is_an_end_or_an_error():
    """Before Python 3.13 `ssl` tells it like an end; what was received then is incomplete either way."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    accepted.setblocking(False)
    server = TlsSocket(accepted, serving())
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    listener.close()

    with contextlib.suppress(ConnectionError):
        assert server.recv(READ_SIZE) == b""

    server.close()


def test_bytes_that_were_never_decrypted_are_not_taken_for_a_request():
    """CVE-2023-40217: `ssl` reads plainly from a socket that it found unconnected, as after a reset."""
    wire, accepted = socket.socketpair()
    unconnected = socket.socket()
    unconnected.setblocking(False)
    server = TlsSocket(unconnected, serving())
    os.dup2(accepted.fileno(), server.fileno(), inheritable=False)
    wire.sendall(PLAIN)

    with pytest.raises(ConnectionError):
        server.recv(READ_SIZE)

    for end in (wire, accepted, server):
        end.close()


# ── reading ──


def test_a_large_upload_leaves_nothing_that_no_poll_would_announce():
    body = os.urandom(200_000)
    received = b""
    with Visit().shake() as visit:
        left = memoryview(body)
        while len(received) < len(body):
            while left:
                try:
                    left = left[visit.client.send(left[:RECORD]) :]
                except ssl.SSLWantWriteError:
                    break
            received += visit.server.recv(READ_SIZE)
            assert not visit.server.pending
        assert visit.poll() is None

    assert body == received


def test_full_records_are_read_several_at_once_but_not_more_than_was_asked_for():
    with Visit().shake() as visit:
        for _ in range(6):
            visit.client.send(bytes(RECORD))

        assert [len(visit.server.recv(4 * RECORD + 100)) for _ in range(2)] == [4 * RECORD, 2 * RECORD]


def test_bytes_of_a_record_that_were_not_asked_for_are_pending():
    with Visit().shake() as visit:
        visit.client.send(b"0123456789")

        assert visit.server.recv(4) == b"0123"
        assert visit.server.pending
        assert visit.server.recv(100) == b"456789"
        assert not visit.server.pending


def test_an_end_that_was_read_behind_full_records_is_pending():
    with Visit().shake() as visit:
        visit.client.send(bytes(RECORD))
        with pytest.raises(ssl.SSLWantReadError):
            visit.client.unwrap()

        assert len(visit.server.recv(READ_SIZE)) == RECORD
        assert visit.server.pending
        assert visit.server.recv(READ_SIZE) == b""


def test_a_handshake_that_has_no_room_to_write_says_so_and_goes_on_later():
    with Visit() as visit:
        with pytest.raises(ssl.SSLWantReadError):
            visit.client.do_handshake()
        filled = fill(visit.server)
        with pytest.raises(BlockingIOError):
            visit.server.recv(READ_SIZE)
        assert visit.server.wants_write

        drain(visit.client, filled)
        with pytest.raises(BlockingIOError):
            visit.server.recv(READ_SIZE)
        assert not visit.server.wants_write
        visit.shake()


def fill(connection: TlsSocket) -> int:
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


# ── writing ──


def test_what_cannot_be_sent_can_be_sent_later_in_a_longer_buffer():
    buffer, whole, received = bytearray(), b"", b""
    refused = 0
    with Visit(small=True).shake() as visit:
        for size in (1, 100, RECORD - 1, RECORD, RECORD + 1, 100_000, 1, 1_000_000, 0):
            more = os.urandom(size)
            buffer += more
            whole += more
            while buffer:
                try:
                    del buffer[: visit.server.send(buffer)]
                except BlockingIOError:
                    refused += 1
                    if size and refused % 3:
                        break  # and come back with more
                    received += visit.receive()
        received += visit.receive()

    assert refused > 10
    assert whole == received


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers_of_every_kind_are_sent_and_not_held(kind):
    data = bytearray(os.urandom(50_000))
    with Visit().shake() as visit:
        assert visit.server.send(kind(data)) == 50_000
        assert bytes(data) == visit.receive()
        gc.collect()
        data.clear()  # fails while somebody has a view of it


def test_one_sending_ends_even_if_the_client_reads_as_fast_as_it_is_written():
    with Visit().shake() as visit:
        visit.server._write = len  # takes whatever it is given

        assert visit.server.send(bytes(10 * BURST * RECORD)) == BURST * RECORD


def test_sending_to_a_client_that_left_is_an_error_of_the_connection():
    with Visit().shake() as visit:
        visit.client.close()
        visit.wire.close()
        with pytest.raises(ConnectionError):
            for _ in range(3):
                visit.server.send(b"hello")


# ── ending ──


def test_a_shutdown_is_a_close_notify_and_an_end_and_waits_for_nothing():
    with Visit().shake() as visit:
        visit.client.suppress_ragged_eofs = False  # an end without a close_notify would raise
        visit.server.send(b"bye")
        visit.server.shutdown(socket.SHUT_WR)

        assert visit.client.recv(100) == b"bye"
        assert visit.client.recv(100) == b""


def test_after_a_shutdown_what_still_comes_is_received_and_is_no_error():
    with Visit().shake() as visit:
        visit.client.send(b"on its way")
        visit.server.shutdown(socket.SHUT_WR)
        visit.client.send(b"late")

        assert visit.server.recv(READ_SIZE)
        visit.receive()  # or its close would be a reset
        visit.client.close()
        assert visit.server.recv(READ_SIZE) == b""


def test_a_shutdown_without_room_for_it_has_to_be_called_again():
    with Visit().shake() as visit:
        visit.receive()  # the tickets
        filled = fill(visit.server)
        with pytest.raises(BlockingIOError):
            visit.server.shutdown(socket.SHUT_WR)

        drain(visit.client, filled)
        visit.server.shutdown(socket.SHUT_WR)
        visit.client.suppress_ragged_eofs = False
        assert visit.client.recv(100) == b""


def test_a_close_says_nothing():
    with Visit().shake() as visit:
        visit.client.suppress_ragged_eofs = False
        visit.server.close()
        with pytest.raises(ssl.SSLEOFError):
            visit.client.recv(100)


def test_a_notice_of_the_end_can_be_given_before_a_close():
    with Visit().shake() as visit:
        visit.client.suppress_ragged_eofs = False
        assert visit.server.notify()
        visit.server.close()
        assert visit.client.recv(100) == b""


def test_there_is_nothing_to_notify_before_the_handshake():
    with Visit() as visit:
        assert visit.server.notify()
        visit.server.shutdown(socket.SHUT_WR)
        with pytest.raises(ssl.SSLEOFError):
            visit.client.do_handshake()


# ── what is no TLS, or the wrong one ──


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT", b"CONNECT"])
def test_plain_http_is_noticed_and_can_be_answered_plainly(method):
    wire, accepted = socket.socketpair()
    accepted.setblocking(False)
    server = TlsSocket(accepted, serving())
    fd = server.fileno()
    wire.sendall(PLAIN.replace(b"GET", method))

    with pytest.raises(ConnectionError, match="http"):
        server.recv(READ_SIZE)

    assert server.speaks_plain
    assert fd == server.fileno()
    assert server.facts() == {}
    assert server.send(b"hello") == 5
    server.shutdown(socket.SHUT_WR)
    assert wire.recv(100) == b"hello"
    assert wire.recv(100) == b""
    assert server.recv(READ_SIZE)  # the rest of the request, to be dropped
    with pytest.raises(BlockingIOError):
        server.recv(READ_SIZE)
    wire.close()
    assert server.recv(READ_SIZE) == b""
    assert not server.pending
    server.close()


@pytest.mark.parametrize(
    "junk", [bytes(1000), b"\x16\x03\x01\xff\xff" + bytes(100), b"SSH-2.0-x\r\n", b"PRI * HTTP/2"]
)
def test_junk_is_an_error_of_the_connection(junk):
    wire, accepted = socket.socketpair()
    accepted.setblocking(False)
    server = TlsSocket(accepted, serving())
    wire.sendall(junk)

    with pytest.raises(ConnectionError) as caught:
        server.recv(READ_SIZE)

    assert not server.speaks_plain
    assert caught.value.errno == errno.ECONNABORTED
    server.close()
    wire.close()


def test_a_client_that_is_too_old_is_an_error_with_the_reason():
    old = certificates().client_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        Visit(serving(version="1.3"), client=old) as visit,
        pytest.raises(ConnectionError, match="unsupported protocol"),
    ):
        visit.shake()


def test_a_client_without_the_certificate_that_is_required_is_an_error_with_the_reason():
    context = serving(cert_reqs="required", ca_certs=certificates().authority)
    with Visit(context) as visit, pytest.raises(ConnectionError, match="peer did not return a certificate"):
        visit.shake()


def test_a_certificate_of_a_stranger_is_an_error_with_the_reason():
    context = serving(cert_reqs="optional", ca_certs=certificates().authority)
    stranger = certificates().client_context(certificates().stranger)
    with (
        Visit(context, client=stranger) as visit,
        pytest.raises(ConnectionError, match="certificate is refused"),
    ):
        visit.shake()


def test_bytes_that_were_tampered_with_are_an_error_of_the_connection():
    with Visit().shake() as visit:
        raw = socket.socket(fileno=os.dup(visit.client.fileno()))
        raw.send(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(ConnectionError):
            visit.server.recv(READ_SIZE)
        raw.close()

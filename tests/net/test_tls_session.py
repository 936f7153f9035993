"""TlsSession: bytes of the network in, bytes of HTTP out, and back."""

import os
import socket
import ssl

import pytest

from appserve.net.tls_session import RECORD, TlsSession
from tests.certificates import certificates
from tests.net.tls_visit import Visit, serving

PLAIN = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"


def test_the_handshake_happens_inside_receive():
    visit = Visit()
    assert visit.server.facts() == {}
    assert not visit.server.is_open

    visit.shake()
    assert visit.send(PLAIN) == PLAIN
    assert visit.answer(b"hello") == b"hello"


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 4 * RECORD, 200_000])
def test_all_that_came_in_is_read_at_once_and_all_is_written(size: int):
    visit = Visit().shake()
    data = os.urandom(size)

    received = b""
    for at in range(0, size, RECORD):
        visit.client.write(data[at : at + RECORD])
    received = visit.pass_on()

    assert received == data
    assert visit.answer(data) == data


def test_bytes_may_come_one_by_one():
    visit = Visit()
    for byte in visit.hello():
        assert visit.server.receive(bytes([byte])) == b""
    visit._incoming.write(visit.server.output())
    visit.shake()
    visit.client.write(PLAIN)
    pieces = [visit.server.receive(bytes([byte])) for byte in visit._outgoing.read()]

    assert b"".join(pieces) == PLAIN
    assert pieces[-1] == PLAIN, "a record is good when all of it is there"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers_of_every_kind_are_taken_and_not_held(kind):
    visit = Visit().shake()
    data = bytearray(os.urandom(50_000))

    assert visit.answer(kind(data)) == data
    data.clear()  # fails while there is a view of it


def test_a_close_notify_is_the_end_and_what_comes_after_it_is_not_read():
    visit = Visit().shake()
    visit.client.write(b"last")

    assert visit.say_goodbye() == b"last"
    assert visit.server.has_ended
    assert visit.server.receive(bytes(1000)) == b""
    assert visit.server._incoming.pending == 0
    assert visit.server.encrypt(b"still answered")


def test_our_end_is_a_close_notify_and_is_said_once():
    visit = Visit().shake()
    visit.receive()
    visit.server.end()

    assert visit.ends()
    visit.server.end()
    assert visit.server.output() == b""


def test_there_is_nothing_to_end_before_the_handshake():
    visit = Visit()
    visit.server.end()

    assert visit.server.output() == b""


@pytest.mark.parametrize("method", [b"GET", b"POST", b"HEAD", b"PUT", b"CONNECT"])
def test_plain_http_is_noticed_and_nothing_is_sent_of_tls(method):
    visit = Visit()

    with pytest.raises(ConnectionAbortedError, match="http"):
        visit.server.receive(PLAIN.replace(b"GET", method))
    assert visit.server.speaks_plain
    assert visit.server.output() == b""
    assert visit.server.facts() == {}


@pytest.mark.parametrize(
    "junk", [bytes(1000), b"\x16\x03\x01\xff\xff" + bytes(100), b"SSH-2.0-x\r\n", b"PRI * HTTP/2"]
)
def test_junk_is_an_error_of_the_connection(junk):
    visit = Visit()

    with pytest.raises(ConnectionAbortedError):
        visit.server.receive(junk)
    assert not visit.server.speaks_plain
    assert not visit.server.is_open


def test_a_client_that_is_too_old_is_an_error_with_the_reason():
    old = certificates().client_context()
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ConnectionAbortedError, match="unsupported protocol"):
        Visit(serving(version="1.3"), client=old).shake()


def test_a_client_without_the_certificate_that_is_required_is_an_error_with_the_reason():
    visit = Visit(serving(cert_reqs="required", ca_certs=certificates().authority))

    with pytest.raises(ConnectionAbortedError, match="peer did not return a certificate"):
        visit.shake()
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        visit.receive()


def test_a_certificate_of_another_authority_is_an_error_with_the_reason():
    context = serving(cert_reqs="optional", ca_certs=certificates().authority)
    stranger = certificates().client_context(certificates().stranger)

    with pytest.raises(ConnectionAbortedError, match="certificate is refused"):
        Visit(context, client=stranger).shake()


def test_bytes_that_were_tampered_with_are_an_error_and_an_alert_says_so():
    """RFC 8446 §5.2: "terminate the connection with a bad_record_mac alert"."""
    visit = Visit().shake()
    visit.receive()

    with pytest.raises(ConnectionAbortedError, match="bad record mac"):
        visit.tampered()
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        visit.ends()
    visit.server.end()
    assert visit.server.output() == b"", "a close_notify would say that all was well"


# ── sessions ──


def in_a_child(context: ssl.SSLContext) -> tuple[socket.socket, int]:
    """A process that answers one client of this context with what it asked; gives its socket, and its pid."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid:
        theirs.close()
        return ours, pid
    try:
        ours.close()
        session = TlsSession(context)
        while data := theirs.recv(1 << 16):
            plain = session.receive(data)
            theirs.sendall(session.output() + (session.encrypt(plain) if plain else b""))
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_ticket_of_one_worker_is_good_in_another_of_the_same_context(version: str):
    context, client = serving(), certificates().client_context()
    client.maximum_version = ssl.TLSVersion[version]
    session, reused = None, []
    for _ in range(2):
        wire, pid = in_a_child(context)
        with client.wrap_socket(wire, server_hostname="shop.example", session=session) as secured:
            secured.sendall(b"hello")
            assert secured.recv(100) == b"hello"  # and the tickets
            session = secured.session
            reused.append(secured.session_reused)
        os.waitpid(pid, 0)

    assert reused == [False, True]

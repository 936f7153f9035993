"""A WsgiConnection whose client speaks TLS: as on plain TCP, and a clean end is not mistaken for a cut."""

import contextlib
import os
import select
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from appserve.connection.preamble import PreambleRules
from appserve.net.tls_session import RECORD, TlsSession
from appserve.observe.log import Level
from appserve.wsgi.connection import AGAIN, CLOSE, PIPELINED, READ, WRITE
from tests.certificates import certificates
from tests.net.tls_visit import serving
from tests.wsgi.talk import GET, TIMEOUT, Application, Environ, Talk, echo, head, hello, post
from tests.wsgi.test_preamble_socket import drain, fill

QUIET = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class TlsTalk(Talk):
    """`client` speaks TLS and takes no end for clean that is not; `wire` is what is below it."""

    client: ssl.SSLSocket  # type: ignore[assignment]

    def __init__(
        self,
        application: Application,
        *,
        context: ssl.SSLContext | None = None,
        client: ssl.SSLContext | None = None,
        shakes: bool = True,
        **settings: Any,
    ) -> None:
        make_session = partial(TlsSession, context or serving())
        super().__init__(application, preamble=PreambleRules("", None, make_session), **settings)
        self.wire = self.client.dup()
        self.wire.setblocking(False)
        self.client = (client or certificates().client_context()).wrap_socket(
            self.client,
            server_hostname="shop.example",
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
        self.client.setblocking(False)
        if shakes:
            self.shake()

    def close(self) -> None:
        self.wire.close()
        super().close()

    def shake(self) -> None:
        for _ in range(10):
            with contextlib.suppress(*QUIET):
                self.client.do_handshake()
                self.turn()
                return
            self.turn()
        raise AssertionError("the handshake does not end")

    def send(self, data: bytes) -> Any:
        left = memoryview(data)
        while left:
            with contextlib.suppress(*QUIET):
                left = left[self.client.send(left[:RECORD]) :]
            self.turn()
        return self.needed

    def receive(self) -> bytes:
        received = b""
        poll = select.poll()
        poll.register(self.wire, select.POLLIN)
        self.turn()
        while poll.poll(0) and not self._ended:
            with contextlib.suppress(*QUIET):
                data = self.client.recv(1 << 16)
                received += data
                self._ended = not data
            self.turn()
        with contextlib.suppress(*QUIET):  # what a record holds beyond a reading
            while data := self.client.recv(1 << 16):
                received += data
        return received

    def notify(self) -> Any:
        """The client says that it sends no more, and keeps its side of the socket open."""
        with contextlib.suppress(*QUIET):
            self.client.unwrap()
        return self.turn()


@pytest.fixture
def talk_tls() -> Iterator[Callable[..., TlsTalk]]:
    talks: list[TlsTalk] = []

    def make(application: Application, **settings: Any) -> TlsTalk:
        talks.append(TlsTalk(application, **settings))
        return talks[-1]

    yield make
    for talk in talks:
        talk.close()


class KeepsEnviron:
    """An application that keeps the environ."""

    environ: Environ

    def __call__(self, environ: Environ, start_response: Any) -> list[bytes]:
        self.environ = environ
        return hello(environ, start_response)


BIG = b"".join(bytes([number]) * 30_000 for number in range(100))


# ── requests ──


def test_a_request_over_tls_is_answered_and_the_application_sees_tls(talk_tls):
    reported = KeepsEnviron()
    talk = talk_tls(reported)

    assert talk.ask().body == b"hello"

    environ = reported.environ
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["HTTPS"] == "on"
    assert environ["SERVER_PORT"] == "443"  # of a unix socket, which has none
    assert environ["SSL_PROTOCOL"] == "TLSv1.3"
    assert environ["SSL_CLIENT_VERIFY"] == "NONE"


def test_connections_do_not_see_the_facts_of_others(talk_tls):
    made, reported = certificates(), KeepsEnviron()
    context = serving(cert_reqs="optional", ca_certs=made.authority)
    talk_tls(reported, context=context, client=made.client_context(made.ann)).ask()
    talk_tls(reported, context=context).ask()

    assert "SSL_CLIENT_S_DN" not in reported.environ


@pytest.mark.parametrize("size", [1, RECORD - 1, RECORD, RECORD + 1, 4 * RECORD, 65536 + 1])
def test_no_request_waits_for_a_poll_that_does_not_come(talk_tls, size):
    """Whatever sizes the records have: all that was sent is read."""
    talk = talk_tls(echo)
    request = post(b"")
    request = post(bytes(size - len(request))) if size > len(request) else request
    talk.send(request)

    (response,) = talk.responses("POST")
    assert response.status == 200


# ── responses ──


def test_a_file_is_sent_although_it_has_to_be_encrypted(talk_tls, tmp_path):
    (tmp_path / "file").write_bytes(BIG)

    def serve_file(environ: Environ, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BIG)))])
        return environ["wsgi.file_wrapper"]((tmp_path / "file").open("rb"))

    talk = talk_tls(serve_file, small=True)
    talk.send(GET)
    (response,) = talk.responses("GET")

    assert response.body == BIG


def test_the_close_notify_waits_for_room(talk_tls):
    filled = 0

    def fills(environ: Environ, start_response: Any) -> Iterator[bytes]:
        nonlocal filled
        yield from hello(environ, start_response)
        talk.receive()
        filled = fill(talk.connection.socket)

    talk = talk_tls(fills)
    talk.send(head("GET / HTTP/1.1", "Host: a.example", "Connection: close"))
    assert talk.needed is WRITE
    assert talk.connection.expire() is CLOSE  # as for any reader that takes nothing

    drain(talk.client, filled)
    talk.turn()
    assert talk.client.recv(100) == b""


def test_a_response_that_is_cut_does_not_end_with_a_close_notify(talk_tls):
    def breaks(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"half"
        raise RuntimeError

    talk = talk_tls(breaks)
    talk.send(head("GET / HTTP/1.0"))
    with pytest.raises((ssl.SSLEOFError, ConnectionError)):
        talk.receive()


def test_an_end_behind_the_last_bytes_is_noticed_at_once(talk_tls):
    """The record and the close_notify are read in one go: no poll reports the second."""
    talk = talk_tls(hello)
    request = post(bytes(2 * RECORD))[:RECORD]
    with contextlib.suppress(*QUIET):
        talk.client.send(request)
        talk.client.unwrap()
    talk.turn()

    assert '"POST / HTTP/1.1" 400' in talk.access.text


def test_a_client_that_lingers_is_closed_when_it_ends(talk_tls):
    talk = talk_tls(hello)
    talk.send(head("POST / HTTP/1.1", "Host: a.example", "Content-Length: nonsense") + bytes(1000))

    assert talk.receive().startswith(b"HTTP/1.1 400")
    assert talk.connection.lingers
    assert talk.needed is READ
    talk.wire.send(b"still sending")
    assert talk.turn() is READ
    talk.client.close()
    talk.wire.close()
    assert talk.turn() is CLOSE


# ── handshakes ──


def test_a_client_that_does_not_finish_its_handshake_has_the_time_of_a_first_byte(talk_tls):
    talk = talk_tls(hello, shakes=False)
    with pytest.raises(ssl.SSLWantReadError):
        talk.client.do_handshake()
    assert talk.turn() is READ

    assert not talk.connection.is_expired(0.0)
    assert not talk.connection.is_expired(30.0)
    assert talk.connection.is_expired(30.1)
    assert talk.expire() is CLOSE
    assert talk.access.text == talk.log.text == ""


def test_a_handshake_without_room_in_the_socket_waits_and_the_wait_is_bounded(talk_tls):
    talk = talk_tls(hello, shakes=False)
    with pytest.raises(ssl.SSLWantReadError):
        talk.client.do_handshake()
    filled = fill(talk.connection.socket)
    assert talk.turn() is WRITE
    assert talk.connection.expire() is CLOSE
    assert talk.connection.close_idle() is CLOSE

    drain(talk.client, filled)
    talk.shake()
    assert talk.ask().body == b"hello"


def test_a_failed_handshake_is_logged_at_debug_only(talk_tls):
    for level in (Level.INFO, Level.DEBUG):
        talk = talk_tls(hello, shakes=False, level=level)
        talk.wire.send(bytes(100))

        assert talk.turn() is READ
        assert talk.connection.lingers
        assert talk.access.text == ""
        assert ("TLS with 192.0.2.1 failed: wrong version number" in talk.log.text) == (level is Level.DEBUG)


def test_the_alert_that_says_why_is_not_lost(talk_tls):
    """The client has sent its request behind its handshake, and would be reset for that."""
    context = serving(cert_reqs="required", ca_certs=certificates().authority)
    talk = talk_tls(hello, context=context, shakes=False)
    with pytest.raises(ssl.SSLWantReadError):
        talk.client.do_handshake()
    talk.turn()
    talk.client.do_handshake()
    talk.client.send(GET)

    assert talk.turn() is READ
    assert talk.connection.lingers
    with pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"):
        talk.client.recv(100)
    talk.client.close()
    talk.wire.close()
    assert talk.turn() is CLOSE
    assert talk.access.text == talk.log.text == ""


def test_bytes_that_were_tampered_with_end_the_connection_and_are_recorded_once(talk_tls):
    talk = talk_tls(hello)
    talk.send(post(bytes(100))[:-50])
    talk.wire.send(b"\x17\x03\x03\x00\x20" + bytes(32))

    assert talk.turn() is READ
    assert talk.connection.lingers
    talk.client.close()
    talk.wire.close()
    assert talk.turn() is CLOSE
    assert talk.access.text.count('"POST / HTTP/1.1" 499') == 1


def test_plain_http_is_answered_with_what_to_do(talk_tls):
    talk = talk_tls(hello, shakes=False)
    talk.wire.send(GET)
    talk.turn()

    answer = talk.wire.recv(1000)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"https://" in answer
    assert b"\r\nDate: " in answer
    assert talk.wire.recv(1000) == b""
    assert '" 400 ' in talk.access.text
    assert talk.connection.lingers
    assert talk.needed is READ
    assert talk.expire() is CLOSE


# ── ends ──


def test_an_idle_connection_is_closed_with_a_close_notify(talk_tls):
    talk = talk_tls(hello)
    talk.ask()
    assert talk.connection.close_idle() is CLOSE
    talk.connection.close()

    assert talk.client.recv(100) == b""


def test_a_process_that_the_application_forked_does_not_end_the_connection(talk_tls):
    talk = talk_tls(hello)
    talk.ask()
    talk.receive()
    workers_own = os.dup(talk.connection.fd)
    talk.connection.disown()

    with pytest.raises(ssl.SSLWantReadError):
        talk.client.recv(100)
    os.close(workers_own)


def test_a_client_that_is_gone_costs_one_line_and_no_descriptor(talk_tls):
    before = set(os.listdir("/proc/self/fd"))
    for cut in (1, 50, 200, 10_000):
        talk = TlsTalk(echo)
        talk.send(post(bytes(20_000))[:cut])
        talk.client.close()
        talk.wire.close()
        assert talk.turn() is CLOSE
        assert talk.log.text == ""
        talk.close()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_more_requests_than_a_turn_is_long_go_on_by_themselves(talk_tls):
    talk = talk_tls(hello)
    talk.client.settimeout(TIMEOUT)
    talk.client.sendall(GET * (PIPELINED + 1))

    assert talk.connection.on_readable() is AGAIN
    talk.needed = AGAIN
    talk.client.setblocking(False)
    assert len(talk.responses(*["GET"] * (PIPELINED + 1))) == PIPELINED + 1

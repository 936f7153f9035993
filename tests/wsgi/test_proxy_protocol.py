"""Connections that begin with a PROXY header, and those that should."""

import dataclasses
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from appserve.connection.preamble import PreambleRules
from appserve.http.forwarded import TrustList
from appserve.wsgi.connection import AGAIN, CLOSE, READ, WsgiConnection
from tests.connection.services import changed
from tests.http.proxy_headers import CALLED, CLIENT, block, line, tls
from tests.wsgi.talk import GET, Environ, Talk, hello

TalkTo = Callable[..., Talk]

PROXY = ("192.0.2.1", 5555)
ADDRESSES = "REMOTE_ADDR", "REMOTE_PORT", "SERVER_NAME", "SERVER_PORT"
OF_THE_HEADER = "192.0.2.7", "56324", "198.51.100.1", "443"
OF_THE_SOCKET = "192.0.2.1", "5555", "localhost", "80"


class Seen:
    """An application that keeps what it was called with."""

    def __init__(self) -> None:
        self.environs: list[Environ] = []
        self._valid: Any = validator(self._serve)

    def __call__(self, environ: Environ, start_response: Any) -> Any:
        self.environs.append(dict(environ))
        return self._valid(environ, start_response)

    def _serve(self, environ: Environ, start_response: Any) -> list[bytes]:
        return hello(environ, start_response)

    @property
    def addresses(self) -> tuple[str, ...]:
        (environ,) = self.environs
        return tuple(environ[key] for key in ADDRESSES)

    @property
    def scheme(self) -> tuple[str, str]:
        (environ,) = self.environs
        return environ["wsgi.url_scheme"], environ.get("HTTPS", "")


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def behind(talk_to: TalkTo, seen: Seen) -> Callable[..., Talk]:
    """Makes talks in which the client's part is a proxy's."""

    def make(version: str = "auto", *allowed: str, peer: object = PROXY) -> Talk:
        return talk_to(seen, peer=peer, preamble=PreambleRules(version, TrustList(allowed or ["192.0.2.1"])))

    return make


# ── what the application sees ──


def test_the_header_may_come_byte_by_byte_and_changes_nothing_else(behind: TalkTo, seen: Seen):
    for header in (line(), block(vectors=tls())):
        seen.environs.clear()
        talk = behind()
        for at in range(len(header)):
            assert talk.send(header[at : at + 1]) is READ
            assert not talk._is_ready(select.POLLIN), "what has been read would wake the loop again"

        assert talk.ask().status == 200
        assert seen.addresses == OF_THE_HEADER


def test_a_second_header_is_no_request(behind: TalkTo, seen: Seen):
    talk = behind()
    talk.ask(line() + GET)
    talk.send(line(("198.51.100.66", 1)) + GET)

    (response,) = talk.responses("GET")
    assert response.status == 400
    assert len(seen.environs) == 1


def test_where_none_is_expected_a_header_is_a_bad_request(talk_to: TalkTo, seen: Seen):
    for header in (line(), block()):
        talk = talk_to(seen)
        talk.send(header + GET)

        assert talk.receive().startswith(b"HTTP/1.1 400 ")
    assert seen.environs == []


# ── what is turned away ──


def test_a_connection_without_a_header_ends_without_an_answer(behind: TalkTo, seen: Seen):
    talk = behind()

    assert talk.send(GET) is CLOSE
    assert talk.receive() == b""
    assert talk.has_ended
    assert (seen.environs, talk.access.text) == ([], "")
    assert talk.row.totals().refused == 1
    assert "WARNING  refused a connection from 192.0.2.1: " in talk.log.text
    assert "PROXY protocol §2" in talk.log.text


def test_the_log_gets_no_byte_of_what_was_sent(behind: TalkTo):
    talk = behind()
    talk.send(b"PROXY evil\x1b[31m\n")

    assert talk.log.text.count("\n") == 1
    assert "evil" not in talk.log.text


@pytest.mark.parametrize("peer", [("192.0.2.9", 1), ""])
def test_a_peer_that_is_no_proxy_is_turned_away_before_anything_is_read(
    talk_to: TalkTo, seen: Seen, peer: object
):
    talk = talk_to(seen)
    rules = PreambleRules("auto", TrustList(["192.0.2.1"]))
    service = changed(talk.service.shared, preamble=rules)
    refusing = dataclasses.replace(talk.service, shared=service)
    proxy, server = socket.socketpair()
    proxy.sendall(line() + GET)

    with proxy, server, pytest.raises(ConnectionError):
        WsgiConnection(refusing, server, peer, "")
    assert "--proxy-allow-from" in talk.log.text
    assert f"refused a connection from {peer[0] if peer else 'a local client'}: " in talk.log.text
    assert talk.row.totals().refused == 1


# ── proxies that leave, and proxies that are late ──


@pytest.mark.parametrize("sent", [b"", line()[:-1], block()])
def test_a_proxy_that_leaves_before_its_first_request_leaves_nothing_behind(
    behind: TalkTo, seen: Seen, sent: bytes
):
    talk = behind()
    talk.send(sent)

    assert talk.end() is CLOSE
    assert talk.receive() == b""
    assert (seen.environs, talk.access.text, talk.log.text) == ([], "", "")
    assert talk.row.totals().refused == 0


@pytest.mark.parametrize("sent", [b"", line()[:-1], block()])
def test_header_and_first_byte_have_to_come_in_the_time_for_the_first_byte(behind: TalkTo, sent: bytes):
    talk = behind()
    assert not talk.connection.is_expired(0.0)
    talk.send(sent)

    assert not talk.connection.is_expired(30.0), "the timeout is 30 seconds"
    assert talk.connection.is_expired(30.1)
    assert talk.expire() is CLOSE
    assert talk.receive() == b""
    assert talk.counters.timeouts == 1


def test_a_header_that_came_while_the_application_had_the_thread_is_read_before_the_client_is_late(
    behind: TalkTo, seen: Seen
):
    talk = behind()
    talk.client.sendall(line() + GET)

    assert talk.expire() is READ
    assert seen.addresses == OF_THE_HEADER
    assert talk.counters.timeouts == 0


@pytest.mark.parametrize(("sent", "served"), [(b"", 0), (line()[:9], 0), (line(), 0), (line() + GET, 1)])
def test_a_worker_that_retires_closes_connections_without_a_request(
    behind: TalkTo, seen: Seen, sent: bytes, served: int
):
    talk = behind()
    talk.connection.close_after_response()
    talk.client.sendall(sent)

    assert talk.connection.is_idle
    assert talk.connection.close_idle() is (AGAIN if served else CLOSE)
    if served:
        talk.connection.proceed()
    assert len(seen.environs) == served


@pytest.fixture(autouse=True)
def sure_of_the_numbers() -> Iterator[None]:
    """The addresses of the headers are those that these tests expect."""
    assert (*map(str, CLIENT), *map(str, CALLED)) == OF_THE_HEADER
    yield

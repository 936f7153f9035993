"""`wsgi.early_hints`: headers that a client may act on before the response begins (103, RFC 8297)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appserve.errors import AppMistake, ClientDisconnected
from appserve.wsgi.connection import CLOSE
from tests.wsgi.talk import GET, Environ, Talk, head, hello, post

TalkTo = Callable[..., Talk]
STYLE, SCRIPT = ("Link", "</style.css>; rel=preload; as=style"), ("Link", "</app.js>; rel=preload")
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"


def hints_then(*hints: list[tuple[str, str]]) -> Callable[[Environ, Any], list[bytes]]:
    """An application that gives hints, one list after the other, and says hello."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        for headers in hints:
            environ["wsgi.early_hints"](headers)
        return hello(environ, start_response)

    return application


def test_hints_are_there_before_the_response(talk_to: TalkTo):
    seen: list[bytes] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        environ["wsgi.early_hints"]([STYLE])
        seen.append(talk.client.recv(1000))
        start_response("200 OK", [])
        environ["wsgi.early_hints"]([STYLE])
        seen.append(talk.client.recv(1000))
        return [b"hello"]

    talk = talk_to(application)
    for _ in range(2):
        response = talk.ask()
        assert (response.status, response.body, response.values(b"link")) == (200, b"hello", [])
    assert seen == [HINTS] * 4


def test_several_links_are_several_fields_or_several_responses(talk_to: TalkTo):
    talk = talk_to(hints_then([STYLE, SCRIPT], [SCRIPT], []))
    talk.send(GET)
    (first, second, third), rest = informational(talk.receive())

    assert first.split(b"\r\n")[1:] == [b"Link: " + link[1].encode() for link in (STYLE, SCRIPT)]
    assert second.split(b"\r\n")[1:] == [b"Link: " + SCRIPT[1].encode()]
    assert third == b"HTTP/1.1 103 Early Hints"
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def informational(data: bytes) -> tuple[list[bytes], bytes]:
    """(the heads of the 103s, what follows them)"""
    found = []
    while data.startswith(b"HTTP/1.1 103 "):
        one, _, data = data.partition(b"\r\n\r\n")
        found.append(one)
    return found, data


def test_a_client_of_http_1_0_gets_none(talk_to: TalkTo):
    talk = talk_to(hints_then([STYLE]))
    talk.send(head("GET / HTTP/1.0"))

    assert talk.receive().startswith(b"HTTP/1.1 200 OK\r\n")
    assert talk.log.text == ""


def test_hints_that_come_too_late_are_worth_nothing_and_do_no_harm(talk_to: TalkTo):
    hints: list[Any] = []

    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        for earlier in hints:
            earlier([STYLE])  # of a request that was answered
        hints.append(environ["wsgi.early_hints"])
        start_response("200 OK", [])
        yield b"he"
        hints[-1]([STYLE])
        yield b"llo"

    talk = talk_to(application)
    for _ in range(3):
        assert talk.ask().body == b"hello"
        hints[-1]([STYLE])
        assert talk.receive() == b""
    talk.end()
    hints[-1]([STYLE])
    assert talk.receive() == b""
    assert talk.log.text == ""


@pytest.mark.parametrize(
    "header", [("Link", "a\r\nSet-Cookie: b"), ("Link", b"a"), ("Li nk", "a"), ("Link",)]
)
def test_hints_that_could_be_something_else_are_a_mistake(talk_to: TalkTo, header: Any):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        with pytest.raises(AppMistake):
            environ["wsgi.early_hints"]([STYLE, header])
        return hello(environ, start_response)

    talk = talk_to(application)

    assert talk.ask().body == b"hello"


@pytest.mark.parametrize(
    "header", [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Connection", "close")]
)
def test_hints_frame_nothing(talk_to: TalkTo, header: tuple[str, str]):
    talk = talk_to(hints_then([header, STYLE]))
    talk.send(GET)
    found, rest = informational(talk.receive())

    assert [one + b"\r\n\r\n" for one in found] == [HINTS]
    assert b"Connection" not in rest
    assert not talk.connection.lingers


def test_after_the_client_left_it_raises_as_a_write_does(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        talk.client.close()
        with pytest.raises(ClientDisconnected):
            environ["wsgi.early_hints"]([STYLE])
        environ["wsgi.early_hints"]([STYLE])
        return hello(environ, start_response)

    talk = talk_to(application)

    assert talk.send(GET) is CLOSE
    assert talk.log.text == ""
    assert '"GET / HTTP/1.1" 499 0 ' in talk.access.text


def test_they_come_after_the_100_that_the_client_waits_for(talk_to: TalkTo):
    talk = talk_to(hints_then([STYLE]))
    talk.send(post(b"hello", "Expect: 100-continue").removesuffix(b"hello"))
    assert talk.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.send(b"hello")

    assert talk.receive().startswith(HINTS + b"HTTP/1.1 200 OK\r\n")

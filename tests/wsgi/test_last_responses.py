"""Responses that are their connection's last because the worker says so, and requests that came too late."""

from collections.abc import Callable
from typing import Any

import pytest

from appserve.observe.counters import publish
from appserve.wsgi.connection import READ
from tests.wsgi.talk import GET, Talk, hello, post

TalkTo = Callable[..., Talk]


def test_a_response_closes_when_the_keep_alive_policy_closes(talk_to: TalkTo):
    talk = talk_to(hello)
    assert not talk.ask(GET).closes
    talk.service.keep_alive.closes = True

    assert talk.ask(GET).closes
    assert talk.connection.lingers


def late(talk: Talk) -> None:
    """What comes next has waited for too long."""
    talk.connection.note_arrival(1, 0, False)


@pytest.mark.parametrize("request_", [GET, post(b"body"), post(b"a" * 300_000)])
def test_a_request_that_waited_too_long_gets_503_with_retry_after(talk_to: TalkTo, request_: bytes):
    called: list[Any] = []

    def application(environ: Any, start_response: Any) -> Any:
        called.append(environ)
        return hello(environ, start_response)

    talk = talk_to(application)
    late(talk)
    talk.push(request_)
    (answer,) = talk.responses("GET")

    assert (answer.status, answer.values(b"retry-after"), answer.closes) == (503, [b"1"], False)
    assert called == []
    assert talk.needed is READ
    assert ' 503 20 "' in talk.access.text
    publish(talk.row, (talk.counters,), 1, 0, 0)
    assert talk.row.totals().responses == (0, 0, 0, 0, 1)
    assert talk.row.stall_reference_ns == 1, "it looks as if the application had been called"
    talk.connection.note_arrival(1 << 62, 0, False)
    assert talk.ask(GET).status == 200, "the connection goes on"


def test_a_request_that_waited_too_long_and_whose_client_left_is_recorded_as_499(talk_to: TalkTo):
    talk = talk_to(hello)
    late(talk)
    talk.client.sendall(GET)
    talk.client.close()
    talk.turn()

    assert ' 499 20 "' in talk.access.text

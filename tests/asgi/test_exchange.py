"""One exchange: what an application may receive and send, apart from any wire."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from http import HTTPStatus
from typing import Any

import pytest

from appserve.asgi.exchange import MESSAGES_PER_TURN, Answer, Exchange
from appserve.asgi.scope import Field, Headers
from appserve.errors import AppMistake, ClientDisconnected
from appserve.http.messages import RequestHead, RequestLine, Rules
from tests.asgi.fakes import on_both_loops, turns

START = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"1")]}
DISCONNECT = {"type": "http.disconnect"}


class FakeWire:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.paused = False
        self.calls: list[tuple[Any, ...]] = []
        self.wanted = 0
        self.head: tuple[Any, ...] = ()
        self.mistake: AppMistake | None = None
        self.on_want: Callable[[], None] = lambda: None

    def make_head(self, exchange: Exchange, status: int, fields: Iterable[Field]) -> None:
        if self.mistake:
            raise self.mistake
        self.head = (status, tuple(fields))

    def respond(self, exchange: Exchange, body: bytes) -> None:
        if self.mistake:
            raise self.mistake
        self.calls.append(("respond", *self.head, body))

    def start_response(self, exchange: Exchange, body: bytes) -> None:
        if self.mistake:
            raise self.mistake
        self.calls.append(("start", *self.head, body))

    def send_body(self, exchange: Exchange, data: bytes, more: bool) -> None:
        if self.mistake:
            raise self.mistake
        self.calls.append(("body", data, more))

    def want_body(self, exchange: Exchange) -> None:
        self.wanted += 1
        self.on_want()

    def finish(self, exchange: Exchange, error: BaseException | None) -> None:
        self.calls.append(("finish", error))


def make(body_length: int = 0) -> tuple[Exchange, FakeWire]:
    wire = FakeWire()
    line = RequestLine("GET", b"/", "1.1", b"/", b"/", b"", b"")
    head: RequestHead[Headers] = RequestHead(
        line,
        [],
        {},
        Rules("1.1", False, False, body_length, expects_continue=False, upgrade=b"", may_be_held=False),
    )
    return Exchange(wire, head, {"type": "http"}, 0), wire


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def request(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


async def answers_at_once(waited: Awaitable[Any]) -> Any:
    """The result of what must not wait."""
    task = asyncio.ensure_future(waited)
    await turns(1)
    assert task.done(), "it waits"
    return task.result()


# ── receive ──


@on_both_loops
async def test_a_request_without_a_body_is_one_empty_final_message() -> None:
    exchange, _ = make()

    assert await exchange.receive() == request(b"")


@on_both_loops
async def test_after_the_body_receive_waits_until_the_response_is_complete() -> None:
    exchange, _ = make()
    await exchange.receive()
    waiting = asyncio.ensure_future(exchange.receive())
    await turns()
    assert not waiting.done()

    await exchange.send(START)
    await exchange.send(body(b"x"))

    assert await waiting == DISCONNECT
    assert await answers_at_once(exchange.receive()) == DISCONNECT


@on_both_loops
async def test_a_body_arrives_in_parts_and_its_last_message_says_so() -> None:
    exchange, _ = make(6)
    exchange.feed(b"ab")
    first = await exchange.receive()
    waiting = asyncio.ensure_future(exchange.receive())
    await turns()
    assert not waiting.done()
    exchange.feed(b"cd")
    second = await waiting
    exchange.feed(b"ef")
    exchange.complete_request()

    assert [first, second, await exchange.receive()] == [
        request(b"ab", True),
        request(b"cd", True),
        request(b"ef"),
    ]


@on_both_loops
async def test_an_end_that_comes_alone_is_an_empty_final_message() -> None:
    exchange, _ = make(-1)
    exchange.feed(b"ab")
    first = await exchange.receive()
    exchange.complete_request()

    assert [first, await exchange.receive()] == [request(b"ab", True), request(b"")]


@on_both_loops
async def test_the_body_is_read_only_when_the_application_waits_for_it() -> None:
    exchange, wire = make(4)
    await exchange.send(START)
    assert wire.wanted == 0

    wire.on_want = lambda: exchange.feed(b"abcd")

    assert await answers_at_once(exchange.receive()) == request(b"abcd", True)
    assert wire.wanted == 1


@on_both_loops
async def test_a_client_that_ended_its_side_is_a_disconnect_after_the_body() -> None:
    exchange, wire = make(4)
    exchange.feed(b"abcd")
    exchange.complete_request()
    exchange.client_left()

    assert await exchange.receive() == request(b"abcd")
    assert await answers_at_once(exchange.receive()) == DISCONNECT
    assert await answers_at_once(exchange.receive()) == DISCONNECT
    await exchange.send(START)
    await exchange.send(body(b"still read"))
    assert wire.calls == [("respond", 200, ((b"a", b"1"),), b"still read")]


@on_both_loops
async def test_what_the_wire_held_back_comes_before_the_disconnect_of_a_client_that_left() -> None:
    exchange, wire = make(-1)
    exchange.feed(b"a")
    exchange.client_left()
    await exchange.receive()

    def hand_over() -> None:
        exchange.feed(b"b")
        exchange.complete_request()

    wire.on_want = hand_over

    assert await exchange.receive() == request(b"b")
    assert await exchange.receive() == DISCONNECT


@on_both_loops
async def test_nothing_follows_a_disconnect() -> None:
    exchange, _ = make(-1)
    exchange.client_left()
    assert await exchange.receive() == DISCONNECT

    exchange.feed(b"late")
    exchange.complete_request()

    assert await exchange.receive() == DISCONNECT


@on_both_loops
async def test_after_the_client_left_every_receive_is_a_disconnect_at_once() -> None:
    exchange, _ = make(4)
    exchange.feed(b"ab")
    waiting = asyncio.ensure_future(exchange.receive())
    assert await waiting == request(b"ab", True)
    waiting = asyncio.ensure_future(exchange.receive())
    await turns()

    exchange.client_gone()

    assert await waiting == DISCONNECT
    for _ in range(3):
        assert await answers_at_once(exchange.receive()) == DISCONNECT


@on_both_loops
async def test_a_cancelled_receive_leaves_the_others_waiting() -> None:
    exchange, _ = make(2)
    cancelled = asyncio.ensure_future(exchange.receive())
    waiting = asyncio.ensure_future(exchange.receive())
    await turns()

    cancelled.cancel()
    await turns()
    assert cancelled.cancelled()
    assert not waiting.done()
    exchange.feed(b"ab")

    assert await waiting == request(b"ab", True)


@on_both_loops
async def test_nothing_is_lost_by_a_receive_that_timed_out() -> None:
    exchange, _ = make(2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(exchange.receive(), 0.001)
    exchange.feed(b"ab")
    exchange.complete_request()

    assert await exchange.receive() == request(b"ab")


# ── send ──


@on_both_loops
async def test_nothing_is_written_before_the_first_body_message() -> None:
    exchange, wire = make()
    await exchange.send(START)

    assert wire.calls == []
    assert exchange.answer is Answer.HELD


@on_both_loops
async def test_a_response_of_one_body_is_written_as_a_whole() -> None:
    exchange, wire = make()
    await exchange.send(START)
    await exchange.send(body(b"hello"))

    assert wire.calls == [("respond", 200, ((b"a", b"1"),), b"hello")]


@on_both_loops
async def test_a_response_in_parts_is_written_part_by_part() -> None:
    exchange, wire = make()
    await exchange.send(START)
    for message in (body(b"a", True), body(b"", True), body(b"b", True), body()):
        await exchange.send(message)

    assert wire.calls == [
        ("start", 200, ((b"a", b"1"),), b"a"),
        ("body", b"", True),
        ("body", b"b", True),
        ("body", b"", False),
    ]


@on_both_loops
async def test_headers_body_and_more_body_may_be_left_out() -> None:
    exchange, wire = make()
    await exchange.send({"type": "http.response.start", "status": 204})
    await exchange.send({"type": "http.response.body"})

    assert wire.calls == [("respond", 204, (), b"")]


@on_both_loops
async def test_unknown_keys_are_ignored() -> None:
    exchange, wire = make()
    await exchange.send({**START, "trailers": True, "x": object()})
    await exchange.send({**body(b"a"), "x": object()})

    assert wire.calls == [("respond", 200, ((b"a", b"1"),), b"a")]


@on_both_loops
async def test_headers_that_change_after_they_were_sent_do_not_change_the_response() -> None:
    exchange, wire = make()
    headers = [(b"a", b"1")]
    await exchange.send({"type": "http.response.start", "status": 200, "headers": headers})
    headers.append((b"b", b"2"))
    await exchange.send(body())

    assert wire.calls == [("respond", 200, ((b"a", b"1"),), b"")]


@on_both_loops
async def test_a_status_may_be_an_enum() -> None:
    exchange, wire = make()
    await exchange.send({"type": "http.response.start", "status": HTTPStatus.NOT_FOUND})
    await exchange.send(body())

    assert wire.calls == [("respond", 404, (), b"")]
    assert type(wire.calls[0][1]) is int


@pytest.mark.parametrize("kind", [bytearray, memoryview])
@on_both_loops
async def test_a_body_may_be_any_kind_of_bytes(kind: type) -> None:
    exchange, wire = make()
    await exchange.send(START)
    await exchange.send({"type": "http.response.body", "body": kind(b"abc")})

    assert wire.calls[0][3] == b"abc"
    assert type(wire.calls[0][3]) is bytes


@pytest.mark.parametrize(
    "message",
    [
        None,
        "http.response.start",
        {},
        {"status": 200},
        {"type": None},
        {"type": "http.response.strat", "status": 200},
        {"type": "http.response.trailers"},
        {"type": "http.response.debug"},
        {"type": "websocket.accept"},
        {"type": "http.response.start"},
        {"type": "http.response.start", "status": "200"},
        {"type": "http.response.start", "status": 200.0},
        {"type": "http.response.start", "status": True},
        {"type": "http.response.start", "status": 100},
        {"type": "http.response.start", "status": 1000},
        {"type": "http.response.start", "status": 200, "headers": None},
        {"type": "http.response.body", "body": b"before the start"},
        {"type": "http.response.body", "body": b"before the start", "more_body": True},
    ],
    ids=repr,
)
@on_both_loops
async def test_an_invalid_first_message_raises_out_of_its_send_and_writes_nothing(message: Any) -> None:
    exchange, wire = make()

    with pytest.raises(AppMistake):
        await exchange.send(message)
    assert wire.calls == []
    assert exchange.answer is Answer.NONE


@pytest.mark.parametrize(
    "message",
    [
        {"type": "http.response.body", "body": "text"},
        {"type": "http.response.body", "body": None},
        {"type": "http.response.body", "body": 5},
        {"type": "http.response.body", "body": [b"a"]},
        {"type": "http.response.body", "body": b"a", "more_body": "yes"},
        START,
    ],
    ids=repr,
)
@pytest.mark.parametrize("started", [False, True])
@on_both_loops
async def test_an_invalid_later_message_raises_out_of_its_send(message: Any, started: bool) -> None:
    exchange, wire = make()
    await exchange.send(START)
    if started:
        await exchange.send(body(b"a", True))
    written = list(wire.calls)

    with pytest.raises(AppMistake):
        await exchange.send(message)
    assert wire.calls == written


@on_both_loops
async def test_a_response_that_the_wire_refuses_can_be_followed_by_nothing_but_its_end() -> None:
    exchange, wire = make()
    await exchange.send(START)
    wire.mistake = AppMistake("CR in a header")
    with pytest.raises(AppMistake):
        await exchange.send(body(b"a"))

    assert exchange.answer is Answer.HELD


@on_both_loops
async def test_messages_after_the_last_one_are_ignored() -> None:
    exchange, wire = make()
    await exchange.send(START)
    await exchange.send(body(b"a"))
    await exchange.send(body(b"b"))
    await exchange.send(body(b"c", True))
    exchange.client_gone()
    await exchange.send(body(b"d"))

    assert len(wire.calls) == 1


@on_both_loops
async def test_a_second_start_after_the_last_message_raises() -> None:
    exchange, _ = make()
    await exchange.send(START)
    await exchange.send(body(b"a"))

    with pytest.raises(AppMistake):
        await exchange.send(START)


@on_both_loops
async def test_send_waits_while_the_client_does_not_read() -> None:
    exchange, wire = make()
    await exchange.send(START)
    wire.paused = True
    sending = asyncio.ensure_future(exchange.send(body(b"a", True)))
    await turns()
    assert not sending.done()
    assert wire.calls == [("start", 200, ((b"a", b"1"),), b"a")], "it was written before it waited"

    wire.paused = False
    exchange.resume()

    assert await sending is None


@on_both_loops
async def test_send_raises_an_oserror_when_the_client_is_gone() -> None:
    exchange, wire = make()
    exchange.client_gone()

    for message in (START, START):
        with pytest.raises(OSError) as caught:
            await exchange.send(message)
        assert type(caught.value) is ClientDisconnected
    assert wire.calls == []


@on_both_loops
async def test_a_waiting_send_is_released_with_an_oserror_when_the_client_goes() -> None:
    exchange, wire = make()
    await exchange.send(START)
    wire.paused = True
    sending = asyncio.ensure_future(exchange.send(body(b"a", True)))
    await turns()

    exchange.client_gone()

    with pytest.raises(ClientDisconnected):
        await sending
    with pytest.raises(ClientDisconnected):
        await exchange.send(body(b"b", True))
    with pytest.raises(ClientDisconnected):
        await exchange.send(body(b"c"))


@on_both_loops
async def test_an_application_that_only_sends_lets_the_others_run() -> None:
    exchange, wire = make()
    await exchange.send(START)

    async def stream() -> None:
        while True:
            await exchange.send(body(b"a", True))

    streaming = asyncio.ensure_future(stream())
    await turns(20)
    assert 0 < len(wire.calls) <= 21 * MESSAGES_PER_TURN

    exchange.client_gone()

    with pytest.raises(ClientDisconnected):
        await streaming


@on_both_loops
async def test_an_invalid_message_is_a_mistake_even_when_the_client_is_gone() -> None:
    exchange, _ = make()
    exchange.client_gone()

    with pytest.raises(AppMistake):
        await exchange.send({"type": "nonsense"})

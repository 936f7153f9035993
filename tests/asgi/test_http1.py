"""One HTTP/1.1 connection on an event loop: bodies, order, backpressure, failures and ends."""

import asyncio
import contextvars
import errno
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.http1 import DISCARD_BOUND
from appserve.asgi.stream import READ_BOUND, Stream
from appserve.errors import AppMistake, Cause
from appserve.http.messages import Limits
from appserve.observe.counters import publish
from tests.asgi.fakes import FakeTransport, Scene, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def post(length: int, *fields: str) -> bytes:
    lines = ["POST / HTTP/1.1", "Host: a", f"Content-Length: {length}", *fields, "", ""]
    return "\r\n".join(lines).encode()


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def part(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send(start(content_length="5"))
    await send(part(b"hello"))


async def read_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        if not message["more_body"]:
            return body


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    body = await read_body(receive)
    await send(start())
    await send(part(body))


async def client_of(application: Any, *sent: bytes) -> FakeTransport:
    """A client of this application that has sent this, when all that follows from it has happened."""
    client = Scene(application).connect()
    for data in sent:
        client.feed(data)
        await turns()
    return client


def protocol_of(transport: FakeTransport) -> Stream:
    assert isinstance(transport.protocol, Stream)
    return transport.protocol


def bodies(sent: bytes) -> list[bytes]:
    """The bodies of responses that have a Content-Length each."""
    found = []
    while sent:
        head, _, sent = sent.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        found.append(sent[:length])
        sent = sent[length:]
    return found


# ── requests and responses ──


@on_both_loops
async def test_head_and_body_leave_in_one_write() -> None:
    client = await client_of(hello, GET)

    assert len(client.writes) == 1
    assert client.sent.startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.sent.endswith(b"\r\n\r\nhello")
    assert not client.closing


@on_both_loops
async def test_a_connection_serves_one_request_after_the_other() -> None:
    client = await client_of(hello, *[GET] * 3)

    assert bodies(client.sent) == [b"hello"] * 3


@on_both_loops
async def test_a_response_of_unknown_length_is_chunked() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one", True))
        await send(part(b"two"))

    client = await client_of(application, GET)

    assert b"Transfer-Encoding: chunked\r\n" in client.sent
    assert client.sent.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not client.closing


@on_both_loops
async def test_the_transfer_encoding_of_the_application_is_ignored() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(transfer_encoding="gzip", content_length="2"))
        await send(part(b"ok"))

    client = await client_of(application, GET)

    assert b"ransfer-" not in client.sent
    assert bodies(client.sent) == [b"ok"]


@on_both_loops
async def test_pipelined_requests_are_answered_in_order() -> None:
    gates = {"/1": asyncio.Event(), "/2": asyncio.Event(), "/3": asyncio.Event()}
    called = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        called.append(scope["path"])
        await gates[scope["path"]].wait()
        await send(start())
        await send(part(scope["path"].encode()))

    client = Scene(application).connect()
    client.feed(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in (1, 2, 3)))
    gates["/3"].set()
    gates["/2"].set()
    await turns(20)
    assert called == ["/1"]
    assert client.sent == b""

    gates["/1"].set()
    await turns(20)

    assert called == ["/1", "/2", "/3"]
    assert bodies(client.sent) == [b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("pipelined", [False, True])
@on_both_loops
async def test_each_request_has_a_context_of_its_own(pipelined: bool) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set(scope["path"])
        await send(start())
        await send(part(b""))

    client = Scene(application).connect()
    if pipelined:
        client.feed(GET * 3)
        await turns(20)
    else:
        for _ in range(3):
            client.feed(GET)
            await turns()

    assert seen == ["unset"] * 3


@on_both_loops
async def test_each_request_has_a_task_of_its_own() -> None:
    tasks = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        tasks.append(asyncio.current_task())
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(send(start()))
        await send(part(b""))

    client = Scene(application).connect()
    client.feed(GET * 2)
    await turns(30)

    assert len(set(tasks)) == 2
    assert None not in tasks


@on_both_loops
async def test_work_after_the_response_does_not_hold_the_next_request_up() -> None:
    gate = asyncio.Event()
    done = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        await gate.wait()
        assert await receive() == {"type": "http.disconnect"}
        done.append(scope["path"])

    client = await client_of(application, *[GET] * 2)
    assert bodies(client.sent) == [b"hello"] * 2
    assert done == []

    gate.set()
    await turns()

    assert done == ["/", "/"]


@on_both_loops
async def test_state_of_the_lifespan_is_copied_for_each_request() -> None:
    seen = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(dict(scope["state"]))
        scope["state"]["leak"] = True
        await hello(scope, receive, send)

    scene = Scene(application)
    scene.registry.state = {"pool": 1}
    client = scene.connect()
    client.feed(GET * 2)
    await turns(20)

    assert seen == [{"pool": 1}] * 2


@on_both_loops
async def test_head_is_answered_without_a_body() -> None:
    client = await client_of(hello, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")

    assert client.sent.lower().endswith(b"content-length: 5\r\n\r\n")
    assert not client.closing


@on_both_loops
async def test_an_http_1_0_client_gets_what_it_understands() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one", True))
        await send(part(b"two"))

    client = await client_of(application, b"GET / HTTP/1.0\r\n\r\n")

    assert b"chunked" not in client.sent
    assert client.sent.endswith(b"\r\n\r\nonetwo")
    assert client.closing
    assert not client.aborted


# ── request bodies ──


@pytest.mark.parametrize("size", [1, 3, 1000])
@on_both_loops
async def test_a_body_arrives_however_it_is_cut(size: int) -> None:
    request = post(10) + b"0123456789" + b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    request += b"4\r\nabcd\r\n6;x=y\r\nefghij\r\n0\r\nTrailer: x\r\n\r\n"
    client = Scene(echo).connect()
    for at in range(0, len(request), size):
        client.feed(request[at : at + size])
        await turns(1)
    await turns(20)

    assert bodies(client.sent) == [b"0123456789", b"abcdefghij"]


@on_both_loops
async def test_the_application_is_called_before_a_large_body_is_there() -> None:
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        await echo(scope, receive, send)

    await client_of(application, post(100_000) + b"first")

    assert messages == [{"type": "http.request", "body": b"first", "more_body": True}]


@on_both_loops
async def test_the_call_waits_one_turn_for_a_small_body_and_no_longer() -> None:
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        messages.append(await receive())

    client = Scene(application).connect()
    client.feed(post(4))
    client.feed(b"body")
    await turns()
    silent = Scene(application).connect()
    silent.feed(post(4) + b"bo")
    await turns()

    assert messages == [
        {"type": "http.request", "body": b"body", "more_body": False},
        {"type": "http.request", "body": b"bo", "more_body": True},
    ]


@on_both_loops
async def test_reading_stops_while_the_application_does_not_receive() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await echo(scope, receive, send)

    total = 4 * READ_BOUND
    client = Scene(application).connect()
    client.feed(post(total))
    fed = 0
    while client.reading:
        client.feed(b"x" * 16384)
        fed += 16384
        await turns(1)
    assert fed == READ_BOUND

    gate.set()
    while fed < total:
        await turns()
        assert client.reading, "it reads on when the application receives"
        client.feed(b"x" * 16384)
        fed += 16384
    await turns()

    assert bodies(client.sent) == [b"x" * total]


@on_both_loops
async def test_a_large_body_that_came_in_one_piece_is_handed_over_as_a_whole() -> None:
    sizes = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        sizes.append(len(await read_body(receive)))
        await hello(scope, receive, send)

    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    client = Scene(application).connect()
    client.feed(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 100 + LAST_CHUNK
    )
    await turns(30)

    assert sizes == [409600]
    assert bodies(client.sent) == [b"hello"]
    assert client.reading


@on_both_loops
async def test_reading_stops_while_much_is_pipelined_behind_a_request() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    client = Scene(application).connect()
    client.feed(GET)
    count = 1
    while client.reading:
        client.feed(GET * 100)
        count += 100
    gate.set()
    while len(client.writes) < count:
        await turns(1)

    assert bodies(client.sent) == [b"hello"] * count
    await turns()
    assert client.reading


@on_both_loops
async def test_requests_that_follow_a_pause_of_reading_have_contexts_of_their_own() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(variable.get())
        variable.set("leaked")
        await asyncio.sleep(0)
        await echo(scope, receive, send)

    scene = Scene(application)
    client = scene.connect()
    contexts = []
    resume = client.resume_reading

    def look_and_resume() -> None:
        contexts.append(variable.get())
        resume()

    client.resume_reading = look_and_resume  # type: ignore[method-assign]  # to see the context it is called in
    client.feed(post(3 * READ_BOUND) + b"x" * 2 * READ_BOUND)
    await turns(10)
    client.feed(b"x" * READ_BOUND + GET)
    await turns(20)

    assert contexts[:1] == ["unset"]
    assert seen == ["unset", "unset"]


@on_both_loops
async def test_100_continue_is_sent_when_the_application_receives() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await echo(scope, receive, send)

    client = await client_of(application, post(4, "Expect: 100-continue"))
    assert client.sent == b""

    gate.set()
    await turns()
    assert client.sent == b"HTTP/1.1 100 Continue\r\n\r\n"

    client.feed(b"body")
    await turns()
    assert client.sent.count(b"100 Continue") == 1
    assert client.sent.endswith(b"\r\n\r\nbody")
    assert not client.closing


@on_both_loops
async def test_no_100_continue_after_a_final_status_and_the_connection_ends() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(417, content_length="0"))
        await send(part(b""))
        assert await receive() == {"type": "http.disconnect"}

    client = await client_of(application, post(4, "Expect: 100-continue"))

    assert client.sent.startswith(b"HTTP/1.1 417 ")
    assert b"100 Continue" not in client.sent
    assert b"Connection: close\r\n" in client.sent
    assert client.ended


@on_both_loops
async def test_no_100_continue_to_a_client_that_did_not_wait_for_it() -> None:
    client = await client_of(echo, post(4, "Expect: 100-continue") + b"body")

    assert client.sent.startswith(b"HTTP/1.1 200 OK\r\n")


# ── bodies that are not received ──


@pytest.mark.parametrize(
    "request_",
    [
        post(9) + b"GET /evil",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n",
    ],
)
@on_both_loops
async def test_a_body_that_is_not_received_is_not_the_next_request(request_: bytes) -> None:
    paths = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await hello(scope, receive, send)

    for size in (1, 7, 1000):
        paths.clear()
        client = Scene(application).connect()
        request = request_ + b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"
        for at in range(0, len(request), size):
            client.feed(request[at : at + size])
            await turns(3)
        await turns()

        assert paths == ["/", "/good"]
        assert bodies(client.sent) == [b"hello"] * 2


@on_both_loops
async def test_a_long_rest_of_a_body_ends_the_connection_which_says_so() -> None:
    client = await client_of(hello, post(10 * DISCARD_BOUND) + b"x")

    assert b"Connection: close\r\n" in client.sent
    assert client.sent.endswith(b"hello")
    assert client.ended
    assert not client.closing, "it lingers, so that the response is not lost to a reset"
    client.feed_eof()
    assert client.closing
    assert not client.aborted


@on_both_loops
async def test_an_endless_chunked_rest_of_a_body_ends_the_connection() -> None:
    client = await client_of(hello, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    fed = 0
    while not client.ended:
        assert fed <= 2 * DISCARD_BOUND
        client.feed(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        fed += 4104

    assert bodies(client.sent) == [b"hello"]


@on_both_loops
async def test_the_rest_of_a_body_is_not_waited_for_when_the_server_stops() -> None:
    client = await client_of(hello, post(9))
    assert not client.closing

    protocol_of(client).close_after_response()
    client.feed(b"x" * 9)

    assert client.over
    assert not client.aborted


@on_both_loops
async def test_a_server_in_a_hurry_ends_lingering_and_nothing_else() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    scene = Scene(application, limits=Limits(body=10))
    lingering, busy, idle = scene.connect(), scene.connect(), scene.connect()
    lingering.feed(post(11) + b"x")
    busy.feed(GET)
    await turns()
    for client in (lingering, busy, idle):
        protocol_of(client).end_lingering()

    assert [client.closing for client in (lingering, busy, idle)] == [True, False, False]


@on_both_loops
async def test_a_client_that_resets_before_our_end_is_no_error() -> None:
    class Late(FakeTransport):
        def write_eof(self) -> None:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    scene = Scene(hello)
    client = Late(scene.stream(("192.0.2.7", 4711), ("192.0.2.1", 80)))
    client.feed(post(10 * DISCARD_BOUND) + b"x")
    await turns()

    assert client.aborted
    assert scene.log == ""


# ── applications that fail ──


async def fails_before_start(scope: Any, receive: Receive, send: Send) -> None:
    raise RuntimeError("broken")


async def fails_after_start(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    raise RuntimeError("broken")


async def fails_by_a_header(scope: Any, receive: Receive, send: Send) -> None:
    await send(start(x="a\r\nSet-Cookie: b"))
    await send(part(b"x"))


async def fails_by_a_str_header(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [("a", "b")]})


async def fails_by_a_str_body(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    await send({"type": "http.response.body", "body": "text"})


async def exits(scope: Any, receive: Receive, send: Send) -> None:
    raise SystemExit("broken")


async def fails_by_too_long_a_body(scope: Any, receive: Receive, send: Send) -> None:
    await send(start(content_length="2"))
    await send(part(b"three"))


@pytest.mark.parametrize(
    "application",
    [
        fails_before_start,
        fails_after_start,
        fails_by_a_header,
        fails_by_a_str_header,
        fails_by_a_str_body,
        fails_by_too_long_a_body,
        exits,
    ],
)
@on_both_loops
async def test_a_failure_before_the_first_body_is_a_clean_500_and_logged(application: Any) -> None:
    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"Connection: close\r\n" in client.sent
    assert len(bodies(client.sent)) == 1
    assert client.over
    assert not client.aborted
    assert "ERROR" in scene.log
    assert "application error in GET /: it raised" in scene.log
    assert "Traceback (most recent call last)" in scene.log
    assert f"in {application.__name__}" in scene.log
    assert "exchange.py" not in scene.log.partition(f"in {application.__name__}")[0], "our frame is cut away"


@pytest.mark.parametrize(
    "wrong",
    [
        {"x y": "1"},
        {":status": "200"},
        {"x": "a\r\nSet-Cookie: b"},
        {"x": "a\x00"},
        {"content-length": "many"},
        {"content-length": "-1"},
    ],
    ids=repr,
)
@on_both_loops
async def test_a_head_that_http_forbids_raises_out_of_its_send_and_another_may_follow(wrong: Any) -> None:
    """asgiref "Events": what is wrong with an event is raised out of the send that it was given to."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        with pytest.raises(AppMistake):
            await send(start(**{"connection": "close", **wrong}))
        await send(start(500, content_length="5"))
        await send(part(b"sorry"))

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert client.sent.endswith(b"\r\ncontent-length: 5\r\n\r\nsorry")
    assert not client.over
    assert scene.log == ""


@on_both_loops
async def test_a_return_without_a_response_is_a_500_and_logged() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        pass

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 500 ")
    assert client.over
    assert "GET /: it returned without a response" in scene.log


@pytest.mark.parametrize("raises", [False, True])
@on_both_loops
async def test_a_response_that_is_not_finished_ends_without_its_terminator(raises: bool) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"some", True))
        if raises:
            raise RuntimeError("broken")

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.endswith(b"\r\n\r\n4\r\nsome\r\n")
    assert client.over
    assert "ERROR" in scene.log


@on_both_loops
async def test_a_response_that_only_a_close_delimits_is_reset_when_it_is_not_finished() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"some", True))

    client = await client_of(application, b"GET / HTTP/1.0\r\n\r\n")

    assert client.aborted


@on_both_loops
async def test_a_stray_task_cannot_write_into_a_later_response() -> None:
    strays = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"some", True))
        strays.append(send)

    client = await client_of(application, GET)
    written = client.sent

    with pytest.raises(OSError):
        await strays[0](part(b"more", True))
    assert client.sent == written


@on_both_loops
async def test_a_body_over_its_length_is_never_written_and_closes_the_connection() -> None:
    raised = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(content_length="5"))
        await send(part(b"abc", True))
        try:
            await send(part(b"defghi"))
        except AppMistake:
            raised.append(True)
            raise

    client = await client_of(application, GET)

    assert raised == [True]
    assert client.sent.endswith(b"\r\n\r\nabc")
    assert client.over


@on_both_loops
async def test_a_body_under_its_length_closes_the_connection_and_is_logged() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(content_length="5"))
        await send(part(b"abc", True))
        await send(part(b""))

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.endswith(b"\r\n\r\nabc")
    assert client.over
    assert "2 bytes shorter than its Content-Length" in scene.log


@on_both_loops
async def test_a_whole_body_under_its_length_closes_the_connection_and_is_logged() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(content_length="5"))
        await send(part(b"abc"))

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.over
    assert "2 bytes shorter than its Content-Length" in scene.log


@on_both_loops
async def test_a_failure_after_the_response_is_logged_and_keeps_the_connection() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        raise RuntimeError("in a background task")

    scene = Scene(application)
    client = scene.connect()
    for _ in range(2):
        client.feed(GET)
        await turns()

    assert bodies(client.sent) == [b"hello"] * 2
    assert scene.log.count("RuntimeError: in a background task") == 2


@on_both_loops
async def test_query_strings_stay_out_of_the_error_log() -> None:
    scene = Scene(fails_before_start)
    client = scene.connect()
    client.feed(b"GET /reset?token=secret HTTP/1.1\r\nHost: a\r\n\r\n")
    await turns()

    assert "GET /reset: it raised RuntimeError" in scene.log
    assert "secret" not in scene.log


# ── clients that leave ──


@on_both_loops
async def test_a_reset_is_a_disconnect_at_once_and_send_raises() -> None:
    outcome: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        outcome.append(await receive())
        outcome.append(await receive())
        await send(start())

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()
    assert outcome == []

    client.reset()
    await turns()

    assert outcome == [{"type": "http.disconnect"}] * 2
    assert "ERROR" not in scene.log, "the error that send raised is not the application's failure"
    assert [line.split('" ')[1].split()[0] for line in scene.access_lines] == ["499"]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("raises", [False, True])
@on_both_loops
async def test_an_application_that_stops_because_the_client_left_is_no_error(
    held: bool, raises: bool
) -> None:
    """As Django and Quart do it: they cancel the view, and answer with nothing."""

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if held:
            await send(start())
        while (await receive())["type"] != "http.disconnect":
            pass
        if raises:
            raise RuntimeError("No response returned.")

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()
    client.feed_eof()
    await turns()

    assert client.sent == b""
    assert client.lost
    assert "ERROR" not in scene.log
    assert [line.split('" ')[1].split()[0] for line in scene.access_lines] == ["499"]
    publish(scene.row, (scene.counters,), 1, 0, 0)
    totals = scene.row.totals()
    assert (totals.requests, totals.aborted, totals.app_errors) == (1, 1, 0)


@on_both_loops
async def test_a_stream_ends_when_its_client_left_and_that_is_no_error() -> None:
    count = 0

    class OfAFramework(Exception):
        pass

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal count
        await send(start())
        try:
            while True:
                await send(part(b"x" * 10, True))
                count += 1
                await asyncio.sleep(0)
        except OSError as error:
            raise OfAFramework from error

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()
    client.reset()
    await turns()
    sent = count
    await turns(20)

    assert count == sent
    assert not scene.registry.exchanges
    assert "ERROR" not in scene.log
    assert "OfAFramework of the application after the client disconnected" in scene.log


@pytest.mark.parametrize("ends", ["by its own failure", "because its client left"])
@on_both_loops
async def test_what_a_failed_request_held_is_let_go_at_once(ends: str) -> None:
    """A stream of a framework is closed when it is let go: its `finally` gives a database connection back."""
    closed = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        async for piece in stream():
            await send(part(piece, True))
            await asyncio.sleep(0)
            if ends == "by its own failure":
                raise RuntimeError

    gc.collect()
    gc.disable()
    try:
        client = Scene(application).connect()
        client.feed(GET)
        await turns()
        if ends == "because its client left":
            client.reset()
        await turns()

        assert closed == [True]
    finally:
        gc.enable()


@on_both_loops
async def test_a_failure_that_has_nothing_to_do_with_the_client_is_an_error_though_the_client_left() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        raise ZeroDivisionError

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()
    client.reset()
    gate.set()
    await turns()

    assert "ERROR" in scene.log
    assert "ZeroDivisionError" in scene.log


@on_both_loops
async def test_a_client_that_ends_its_side_still_gets_its_response() -> None:
    messages = []
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        messages.append(await receive())
        messages.append(await receive())
        await gate.wait()
        await hello(scope, receive, send)

    client = await client_of(application, GET)
    client.feed_eof()
    await turns()
    assert [message["type"] for message in messages] == ["http.request", "http.disconnect"]
    assert not client.closing

    gate.set()
    await turns()

    assert bodies(client.sent) == [b"hello"]
    assert client.closing
    assert not client.aborted


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)], ids=["HEAD", "204", "304"]
)
@pytest.mark.parametrize("first", ["response", "end"])
@on_both_loops
async def test_an_endless_body_that_is_not_sent_ends_when_its_client_ends(
    method: str, status: int, first: str
) -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await send(start(status))
        while True:
            await send(part(b"tick", True))
            await asyncio.sleep(0)

    scene = Scene(application)
    client = scene.connect()
    client.feed(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    for step in (gate.set, client.feed_eof) if first == "response" else (client.feed_eof, gate.set):
        await turns()
        step()
    await turns()

    assert not scene.registry.exchanges
    assert client.sent.startswith(b"HTTP/1.1 %d " % status)
    assert client.sent.endswith(b"\r\n\r\n")
    assert client.sent.count(b"\r\n\r\n") == 1
    assert "ERROR" not in scene.log


@on_both_loops
async def test_all_requests_before_the_end_of_the_client_are_answered() -> None:
    client = Scene(hello).connect()
    client.feed(GET * 3)
    client.feed_eof()
    await turns(30)

    assert bodies(client.sent) == [b"hello"] * 3
    assert client.closing
    assert not client.aborted


@on_both_loops
async def test_a_client_that_ends_its_side_between_requests_is_closed() -> None:
    client = await client_of(hello, GET)
    client.feed_eof()

    assert client.closing
    assert client.sent.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("calls_first", [False, True])
@on_both_loops
async def test_a_body_cut_short_is_never_passed_as_complete(calls_first: bool) -> None:
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while True:
            messages.append(await receive())
            if messages[-1]["type"] == "http.disconnect":
                raise RuntimeError("as frameworks do")

    scene = Scene(application)
    client = scene.connect()
    client.feed(post(10) + b"five!")
    if calls_first:
        await turns()
    client.feed_eof()
    await turns()

    assert not any(message.get("more_body") is False for message in messages)
    assert client.sent.startswith(b"HTTP/1.1 400 ")
    assert client.closing
    assert "ERROR" not in scene.log
    assert [line.split('" ')[1].split()[0] for line in scene.access_lines] == ["400"]


# ── clients that do not read ──


@on_both_loops
async def test_a_stream_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        while True:
            await send(part(b"x" * 1024, True))
            sent += 1024

    client = Scene(application).connect(holds=True)
    client.feed(GET)
    await turns(200)
    assert 0 < sent <= 2 * 65536
    waiting = sent

    client.take()
    await turns(200)
    assert sent > waiting

    client.reset()
    await turns()
    assert protocol_of(client)._registry.exchanges == {}


@on_both_loops
async def test_no_response_is_made_for_a_client_that_does_not_read_those_it_has() -> None:
    called = 0

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal called
        called += 1
        await send(start(content_length="40000"))
        await send(part(b"x" * 40000))

    client = Scene(application).connect(holds=True)
    client.feed(GET * 10)
    await turns(50)
    assert called == 1, "the first response is not with the kernel yet"

    while client.buffered:
        client.take()
        await turns()

    assert called == 10
    assert bodies(client.sent) == [b"x" * 40000] * 10


# ── input that is refused ──


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (post(2 << 30), 413),
    ],
)
@on_both_loops
async def test_a_refused_head_is_answered_counted_and_closed(data: bytes, status: int) -> None:
    scene = Scene(hello)
    client = scene.connect()
    client.feed(data)
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 %d " % status)
    assert client.ended or client.closing
    assert [line.split('" ')[1].split()[0] for line in scene.access_lines] == [str(status)]
    publish(scene.row, (scene.counters,), 1, 1, 0)
    assert scene.row.totals().responses[status // 100 - 1] == 1
    assert [line for line in scene.log.splitlines() if "refused a request" not in line] == []


@on_both_loops
@pytest.mark.parametrize(("client", "shown"), [(("192.0.2.7", 4711), "192.0.2.7"), (None, "a local client")])
async def test_a_refusal_is_logged_and_counted_by_its_cause(
    client: tuple[str, int] | None, shown: str
) -> None:
    scene = Scene(hello)
    FakeTransport(scene.stream(client, None)).feed(b"nonsense\r\n\r\n")
    await turns()

    assert f"INFO     refused a request from {shown}: 400 malformed request line" in scene.log
    assert scene.row.totals().refusals[Cause.SYNTAX] == sum(scene.row.totals().refusals) == 1


@on_both_loops
async def test_requests_before_a_refused_one_are_answered() -> None:
    client = Scene(hello).connect()
    client.feed(GET + b"nonsense\r\n\r\n")
    await turns(10)

    assert client.sent.count(b"HTTP/1.1 200 OK") == 1
    assert client.sent.index(b"HTTP/1.1 200 OK") < client.sent.index(b"HTTP/1.1 400 ")


@on_both_loops
async def test_a_body_that_turns_bad_is_answered_400_and_the_application_gets_a_disconnect() -> None:
    outcome = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            outcome.append(message["body"])
        await send(start())

    scene = Scene(application)
    client = scene.connect()
    client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
    await turns()
    client.feed(b"2\r\nabXX")
    await turns()

    assert b"".join(outcome) in {b"ab", b"abab"}
    assert client.sent.startswith(b"HTTP/1.1 400 ")
    assert "ERROR" not in scene.log


@on_both_loops
async def test_a_body_over_the_limit_is_answered_413() -> None:
    scene = Scene(echo, limits=Limits(body=10))
    client = scene.connect()
    client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcdefgh\r\n")
    await turns()
    client.feed(b"8\r\nabcdefgh\r\n")
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 413 ")
    assert client.ended


@on_both_loops
async def test_a_response_under_way_is_finished_though_the_body_turned_bad() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one", True))
        await gate.wait()
        assert await receive() == {"type": "http.disconnect"}
        await send(part(b"two"))

    client = await client_of(application, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.feed(b"nonsense\r\n")
    assert not client.reading, "what follows the fault is not kept"
    gate.set()
    await turns()

    assert client.sent.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert client.ended


# ── the access log ──


@on_both_loops
async def test_an_access_line_has_the_request_and_the_response() -> None:
    scene = Scene(hello)
    client = scene.connect()
    client.feed(b"GET /a?b=%20 HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8\r\nReferer: http://x/\r\n\r\n")
    await turns()

    (line,) = scene.access_lines
    assert line.startswith("192.0.2.7 - - [")
    assert '] "GET /a?b=%20 HTTP/1.1" 200 5 "http://x/" "curl/8" 0.' in line


@on_both_loops
async def test_every_way_to_end_a_request_is_one_access_line() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/raises":
            raise RuntimeError
        if path == "/waits":
            await asyncio.Event().wait()
        await send(start())
        await send(part(b"some", True))
        if path == "/streams":
            await asyncio.Event().wait()
        if path == "/finishes":
            await send(part(b"more"))

    scene = Scene(application)
    for path in ("/raises", "/waits", "/streams", "/stops", "/finishes"):
        client = scene.connect()
        client.feed(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await turns()
        if path == "/raises":
            answer = client.sent.partition(b"\r\n\r\n")[2]
        client.reset()
        await turns()

    assert [line.split('"')[1].split()[1] + line.split('"')[2] for line in scene.access_lines] == [
        f"/raises 500 {len(answer)} ",
        "/waits 499 0 ",
        "/streams 499 4 ",
        "/stops 200 4 ",
        "/finishes 200 8 ",
    ]
    publish(scene.row, (scene.counters,), 1, 0, 0)
    totals = scene.row.totals()
    assert (totals.requests, totals.responses, totals.aborted) == (5, (0, 2, 0, 0, 1), 2)


@on_both_loops
async def test_the_scoreboard_shows_the_request_that_runs_without_its_query() -> None:
    shown = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        shown.append(scene.row.current_request())
        await hello(scope, receive, send)

    scene = Scene(application)
    client = scene.connect()
    for path in (b"/a?secret=1", b"/b", b"/b", b"/a"):
        client.feed(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        await turns()

    assert shown == [b"GET /a", b"GET /b", b"GET /b", b"GET /a"]


# ── leaving ──


@on_both_loops
async def test_a_retired_connection_answers_once_more_and_closes() -> None:
    client = await client_of(hello, GET)
    protocol_of(client).close_after_response()
    protocol_of(client).close_after_response()
    assert not client.closing

    client.feed(GET)
    await turns()

    assert client.sent.count(b"Connection: close\r\n") == 1
    assert bodies(client.sent) == [b"hello"] * 2
    assert client.over


@on_both_loops
async def test_only_idle_connections_are_closed_as_idle() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    scene = Scene(application)
    idle, busy, arriving = scene.connect(), scene.connect(), scene.connect()
    busy.feed(GET)
    arriving.feed(GET[:5])
    await turns()
    for client in (idle, busy, arriving):
        protocol_of(client).close_if_idle()

    assert [idle.closing, busy.closing, arriving.closing] == [True, False, False]


@on_both_loops
async def test_only_streams_get_a_disconnect_when_the_server_stops() -> None:
    reported = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/stream":
            await send(start())
            await send(part(b"x", True))
        reported.append((scope["path"], (await receive())["type"]))

    scene = Scene(application)
    clients = []
    for path in (b"/stream", b"/page"):
        clients.append(scene.connect())
        clients[-1].feed(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
    await turns()
    for client in clients:
        protocol_of(client).send_disconnect()
    await turns()

    assert reported == [("/stream", "http.disconnect")]


@on_both_loops
async def test_a_request_that_is_cut_is_answered_503() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    await turns()
    scene.registry.cutting = True
    for task in scene.registry.exchanges.values():
        task.cancel()
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 503 ")
    assert "ERROR" not in scene.log


# ── headers of responses ──


async def start_with(headers: object) -> tuple[bytes, list[Exception]]:
    """What an application with these headers sends, and the error that it gets."""
    raised: list[Exception] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"x"})
        except Exception as error:
            raised.append(error)

    client = await client_of(application, GET)
    return client.sent, raised


@pytest.mark.parametrize(
    "headers",
    [
        [("content-type", "text/plain")],
        [(b"content-type", "text/plain")],
        [("content-type", b"text/plain")],
        [(b"a", b"b", b"c")],
        [(b"a",)],
        [b"ab"],
        [1],
        5,
        None,
        [(b"a", None)],
        [(bytearray(b"a"), b"b")],
    ],
    ids=repr,
)
@on_both_loops
async def test_headers_that_are_no_pairs_of_bytes_are_refused(headers: object) -> None:
    sent, raised = await start_with(headers)

    assert [type(error) for error in raised] == [AppMistake]
    assert sent.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("shape", [list, tuple, iter])
@on_both_loops
async def test_headers_may_be_any_iterable_of_pairs(shape: type) -> None:
    sent, raised = await start_with(shape([[b"a", b"1"], (b"set-cookie", b"x"), (b"set-cookie", b"y")]))

    assert not raised
    assert b"a: 1\r\nset-cookie: x\r\nset-cookie: y\r\n" in sent

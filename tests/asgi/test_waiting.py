"""How long a connection waits for its client, and what it does then; the time is an argument of its sweep."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.http1 import DISCARD_BOUND
from appserve.asgi.stream import READ_BOUND, Stream
from appserve.http.timeouts import LINGER_LONGEST, LINGER_SILENCE, Timeouts
from appserve.observe.counters import publish
from tests.asgi.fakes import FakeTransport, Scene, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

TIMEOUT = Timeouts(first=10, idle=20, head=30, body=40, body_rate=100, write=50)
FOR_EVER = Timeouts(first=0, idle=0, head=0, body=0, body_rate=0, write=0)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length


def start() -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200}


def part(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    await send(part(b"hello"))


class Clock:
    """Sweeps a connection once a second."""

    def __init__(self, client: FakeTransport) -> None:
        assert isinstance(client.protocol, Stream)
        self.protocol = client.protocol
        self.client = client
        self.now = 1000.0

    async def run(self, seconds: int, feed: Callable[[], bytes] = lambda: b"") -> None:
        """So many seconds go by; in each the client sends what `feed` gives."""
        for _ in range(seconds):
            data = feed()
            if data and not self.client.over:
                self.client.feed(data)
            await turns()
            self.protocol._registry.clock.now = self.now
            self.protocol.sweep(self.now)
            await turns()
            self.now += 1.0


def statuses(scene: Scene) -> list[str]:
    return [line.split('" ')[1].split()[0] for line in scene.access_lines]


@on_both_loops
async def test_a_new_connection_that_says_nothing_is_closed_without_a_word() -> None:
    scene = Scene(hello, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    await clock.run(11)
    assert not client.closing

    await clock.run(2)
    assert client.closing
    assert (client.sent, scene.access_lines, scene.log) == (b"", [], "")
    publish(scene.row, (scene.counters,), 1, 0, 0)
    assert scene.row.totals().timeouts == 1


@on_both_loops
async def test_between_requests_a_connection_may_be_silent_for_a_time_of_its_own() -> None:
    scene = Scene(hello, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    await clock.run(9)
    client.feed(GET)
    await clock.run(20)
    assert not client.closing

    await clock.run(3)
    assert client.closing
    assert statuses(scene) == ["200"]


@on_both_loops
async def test_a_head_is_due_as_a_whole_however_it_trickles() -> None:
    scene = Scene(hello, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    letters = iter(b"GET /" + b"a" * 100)
    await clock.run(30, lambda: bytes([next(letters)]))
    assert client.sent == b""

    await clock.run(3, lambda: bytes([next(letters)]))
    assert client.sent.startswith(b"HTTP/1.1 408 ")
    assert client.sent.endswith(b"408 request head incomplete after 30 s (--head-timeout)\n")
    assert statuses(scene) == ["408"]


async def receives(scope: Any, receive: Receive, send: Send) -> None:
    """Receives to the end; a client that left gets no answer."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RuntimeError("as frameworks do")
        if not message["more_body"]:
            break
    await hello(scope, receive, send)


@on_both_loops
async def test_a_body_that_does_not_come_is_answered_408_and_the_application_gets_a_disconnect() -> None:
    reported = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        reported.append(await receive())
        await send(start())

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(100_000) + b"x")
    await clock.run(41)
    assert reported == []

    await clock.run(2)
    assert reported == [{"type": "http.disconnect"}]
    assert client.sent.startswith(b"HTTP/1.1 408 ")
    assert client.sent.endswith(b"408 no data of the request body for 40 s (--body-timeout)\n")
    assert statuses(scene) == ["408"]
    assert "ERROR" not in scene.log


@on_both_loops
async def test_a_body_before_its_100_continue_has_no_timeout() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    clock = Clock(client := Scene(application, timeouts=TIMEOUT).connect())
    client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
    await clock.run(100)

    assert client.sent == b""
    assert not client.closing


@on_both_loops
async def test_a_body_that_comes_too_slowly_is_answered_408() -> None:
    scene = Scene(receives, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(100_000))
    await clock.run(38, lambda: b"x" * 10)
    assert client.sent == b""

    await clock.run(5, lambda: b"x" * 10)
    assert client.sent.startswith(b"HTTP/1.1 408 ")
    assert client.sent.endswith(b"408 request body slower than 100 bytes a second (--body-rate)\n")
    assert client.ended
    assert statuses(scene) == ["408"]
    assert "ERROR" not in scene.log
    assert scene.registry.exchanges == {}


@on_both_loops
async def test_a_body_that_comes_quickly_enough_may_take_its_time() -> None:
    scene = Scene(receives, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(200 * 150))
    await clock.run(150, lambda: b"x" * 200)

    assert statuses(scene) == ["200"]


@on_both_loops
async def test_a_slow_body_after_a_response_began_is_a_disconnect_for_the_application() -> None:
    reported = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"one ", True))
        while (message := await receive())["type"] != "http.disconnect":
            pass
        reported.append(message)
        await send(part(b"two"))

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(100_000))
    await clock.run(45, lambda: b"x" * 10)

    assert reported == [{"type": "http.disconnect"}]
    assert client.sent.endswith(b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n")
    assert client.ended
    assert statuses(scene) == ["200"]


@on_both_loops
async def test_a_silent_body_is_not_waited_for_when_the_response_is_complete() -> None:
    scene = Scene(hello, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(DISCARD_BOUND - 1) + b"x")
    await clock.run(41)
    assert client.sent.endswith(b"hello")
    assert not client.over

    await clock.run(2)
    assert client.ended
    assert statuses(scene) == ["200"]
    await clock.run(7)
    assert client.aborted, "and it lingers no longer than that"


@pytest.mark.parametrize("size", [10, 2 * READ_BOUND], ids=["read", "paused"])
@on_both_loops
async def test_the_time_in_which_the_application_does_not_receive_is_never_the_clients(size: int) -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await receives(scope, receive, send)

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(3 * READ_BOUND) + b"x" * size)
    await clock.run(500)
    assert not client.over
    assert client.reading is (size < READ_BOUND)

    gate.set()
    await clock.run(40)
    assert client.sent == b"", "now it is the client's, from its beginning"
    assert client.reading
    await clock.run(3)
    assert client.sent.startswith(b"HTTP/1.1 408 ")


@on_both_loops
async def test_an_application_that_pauses_between_parts_is_waited_for() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        for _ in range(20):
            await receive()
            await pause.wait()
        await hello(scope, receive, send)

    pause = asyncio.Event()
    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    client.feed(post(2_000_000))
    for _ in range(19):
        pause.clear()
        client.feed(b"x" * 100)
        await clock.run(39)
        pause.set()
        await turns()

    assert not client.over


@on_both_loops
async def test_a_client_that_reads_nothing_is_aborted_and_recorded_as_left() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        while True:
            await send(part(b"x" * 65536, True))

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect(holds=True))
    client.feed(GET)
    await clock.run(51)
    assert not client.aborted

    await clock.run(2)
    assert client.aborted
    await turns()
    assert statuses(scene) == ["499"]
    assert scene.registry.exchanges == {}


@on_both_loops
async def test_a_client_that_takes_too_little_to_make_room_is_waited_for() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        while True:
            await send(part(b"x" * 65536, True))

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect(holds=True))
    client.feed(GET)
    await clock.run(40)
    client.peer.recv(50_000)
    assert not clock.protocol._can_write(), "this shows nothing: there was room"
    await clock.run(50)
    assert not client.aborted

    await clock.run(10)
    assert client.aborted


async def last_of(scope: Any, receive: Receive, send: Send) -> None:
    await send({**start(), "headers": [(b"connection", b"close")]})
    await send(part(b"x" * 1_000_000))


@on_both_loops
async def test_the_last_response_of_a_connection_may_be_read_as_slowly_as_any_other() -> None:
    scene = Scene(last_of, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect(holds=True))
    client.feed(GET)
    for _ in range(10):
        await clock.run(10)
        client.take(100_000)
    client.take()
    assert client.sent.endswith(b"\r\n\r\n" + b"x" * 1_000_000)
    assert client.ended
    assert not client.aborted

    for _ in range(2):  # what the kernel holds for it
        await clock.run(30)
        client.peer.recv(50_000)
    await clock.run(30)
    assert not client.aborted


@on_both_loops
async def test_a_client_that_takes_nothing_of_the_last_response_is_reset() -> None:
    scene = Scene(last_of, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect(holds=True))
    client.feed(GET)
    await clock.run(30)
    client.take()
    await clock.run(51)
    assert not client.aborted

    await clock.run(1)
    assert client.aborted
    publish(scene.row, (scene.counters,), 1, 0, 0)
    assert scene.row.totals().timeouts == 1


@on_both_loops
async def test_a_client_that_was_sent_all_is_closed_when_it_is_silent() -> None:
    scene = Scene(hello, timeouts=FOR_EVER)
    clock = Clock(client := scene.connect())
    client.feed(post(10 * DISCARD_BOUND) + b"x")
    await clock.run(1 + int(LINGER_SILENCE))
    assert client.ended
    assert not client.closing

    await clock.run(2)
    assert client.closing
    publish(scene.row, (scene.counters,), 1, 0, 0)
    assert scene.row.totals().timeouts == 0, "its response is complete"


@on_both_loops
async def test_a_client_that_goes_on_sending_after_the_last_response_is_closed_in_the_end() -> None:
    clock = Clock(client := Scene(hello, timeouts=FOR_EVER).connect())
    client.feed(post(10 * DISCARD_BOUND) + b"x")
    await turns()
    for _ in range(int(LINGER_LONGEST)):
        await clock.run(1)
        client.feed(b"x" * 65536)
        assert not client.closing

    for _ in range(3):
        client.feed(b"x" * 65536)
        await clock.run(1)
    assert client.closing


@on_both_loops
async def test_without_limits_nothing_ends() -> None:
    scene = Scene(receives, timeouts=FOR_EVER)
    clients = [scene.connect() for _ in range(4)]
    clients[1].feed(GET)
    clients[2].feed(GET[:9])
    clients[3].feed(post(10) + b"x")
    for client in clients:
        await Clock(client).run(10_000 // len(clients))

    assert not any(client.over for client in clients)


# ── what came while the event loop was held up ──


@pytest.mark.parametrize("data", [b"", GET, GET[:5]], ids=["first", "idle", "head"])
@on_both_loops
async def test_unread_bytes_keep_a_connection_from_expiring(data: bytes) -> None:
    scene = Scene(hello, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect())
    if data:
        client.feed(data)
    await turns()
    client.peer.send(b"what the event loop did not look at yet")
    await clock.run(100)
    assert not client.over

    client.get_extra_info("socket").recv(1000)
    await clock.run(1)
    assert client.over


@on_both_loops
async def test_progress_that_the_loop_did_not_see_keeps_a_connection_from_expiring() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        while True:
            await send(part(b"x" * 65536, True))

    scene = Scene(application, timeouts=TIMEOUT)
    clock = Clock(client := scene.connect(holds=True))
    client.feed(GET)
    await turns()
    with pytest.raises(BlockingIOError):
        while True:
            client.peer.recv(1 << 20)
    await clock.run(100)
    assert not client.aborted


@on_both_loops
async def test_an_idle_connection_with_unread_input_is_not_closed_as_idle() -> None:
    scene = Scene(hello)
    client = scene.connect()
    client.peer.send(GET)
    assert isinstance(client.protocol, Stream)

    assert not client.protocol.close_if_idle()
    assert not client.closing
    client.get_extra_info("socket").recv(1000)
    assert client.protocol.close_if_idle()
    assert client.closing

"""How many connections and requests a worker takes, and what becomes of the next one; real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.registry import Room
from appserve.asgi.stream import Stream
from appserve.http.messages import Limits
from tests.asgi.clients import AsyncClient, LoopServer, until
from tests.asgi.fakes import FakeTransport, Scene, on_both_loops, run_on, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def serve(scene: Scene, most: int, **options: Any) -> LoopServer:
    return await LoopServer(scene, most=most, **options).open()


def sweep(server: LoopServer, seconds: float) -> None:
    """What the worker does once a second."""
    server.registry.clock.now += seconds
    for connection in tuple(server.registry.connections):
        connection.sweep(server.registry.clock.now)


async def leave(server: LoopServer, *clients: AsyncClient) -> None:
    for client in clients:
        client.close()
    await server.until_empty()
    server.close()


# ── connections ──


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_a_full_worker_closes_the_longest_idle_connection_for_a_waiting_one(tls: bool) -> None:
    server = await serve(Scene(hello), 4, tls=tls)
    clients = []
    for _ in range(4):
        client = await AsyncClient.connect(server, tls=tls)
        await client.send(GET)
        await client.read_to(b"hello")
        clients.append(client)
        sweep(server, 1.0)
    assert server.room.left() == 0

    # The first one asks again, so the second has been idle longest, though no sweep has seen that.
    await clients[0].send(GET)
    await clients[0].read_to(b"hello")
    server.registry.departed = server.acceptor.relieve
    late = await AsyncClient.connect(server, tls=tls)
    server.acceptor.relieve()

    assert await clients[1].read_to_end() == b"", "it is closed in good order"
    await late.send(GET)
    await late.read_to(b"hello")
    for client in (clients[0], clients[2], clients[3]):
        await client.send(GET)
        await client.read_to(b"hello")
    await leave(server, late, *clients)


@on_both_loops
async def test_no_connection_is_closed_while_the_queue_is_empty() -> None:
    server = await serve(Scene(hello), 2)
    clients = [await AsyncClient.connect(server) for _ in range(2)]
    await until(lambda: not server.acceptor.watching, "it is full")
    for _ in range(5):
        server.acceptor.relieve()
        await turns()
    for client in clients:
        await client.send(GET)
        await client.read_to(b"hello")
    await leave(server, *clients)


@on_both_loops
async def test_an_incomplete_head_is_closed_for_others_and_a_request_is_not() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    server = await serve(Scene(application), 2)
    part = await AsyncClient.connect(server, first=GET[:1])
    busy = await AsyncClient.connect(server, first=GET)
    await until(lambda: server.registry.exchanges and not server.acceptor.watching, "it is full")
    late = await AsyncClient.connect(server, first=GET)
    while len(server.registry.exchanges) < 2:
        server.acceptor.relieve()
        await asyncio.sleep(0.002)
    assert await part.read_to_end() == b"", "it has asked for nothing yet"
    later = await AsyncClient.connect(server, first=GET)
    for _ in range(5):
        server.acceptor.relieve()
        sweep(server, 1.0)
        await turns()
    assert len(server.registry.connections) == 2

    gate.set()
    await busy.read_to(b"hello")
    await late.read_to(b"hello")
    sweep(server, 1.0)
    await _relieve_until_served(server, later)
    await leave(server, part, busy, late, later)
    assert "(2); closed 1 connection with an incomplete request head" in server.scene.log


async def _relieve_until_served(server: LoopServer, late: AsyncClient) -> None:
    """Make room as a worker's tick does, until the waiting client is answered."""
    reading = asyncio.create_task(late.read_to(b"hello"))
    while not reading.done():
        server.acceptor.relieve()
        await asyncio.wait([reading], timeout=0.01)
    await reading


@on_both_loops
async def test_a_full_worker_serves_a_stream_of_new_clients_though_none_of_the_old_leaves() -> None:
    server = await serve(Scene(hello), 8)
    clients = []
    for _ in range(40):
        clients.append(await AsyncClient.connect(server, first=GET))
        await _relieve_until_served(server, clients[-1])
    await leave(server, *clients)


def test_a_sixteenth_of_the_room_is_made_at_once() -> None:
    async def main() -> None:
        scene = Scene(hello)
        clients = [scene.connect() for _ in range(64)]
        for age, client in enumerate(clients):
            assert isinstance(client.protocol, Stream)
            client.protocol.sweep(float(age))
        scene.registry.clock.now = 64.0

        now = 0.0
        room = Room(scene.registry, 64, "worker 1", lambda: now)
        assert room.make() == 4
        assert room.make() == 0, "those four have not gone yet"
        assert [client.closing for client in clients] == [True] * 4 + [False] * 60
        await turns()
        assert room.make() == 4
        assert scene.log.count("worker 1 reached --worker-connections (64); closed 4 idle connections") == 1
        now = 61.0
        await turns()
        refilled = [scene.connect() for _ in range(8)]
        assert room.make() == 4
        assert scene.log.count("worker 1 reached --worker-connections (64); closed 4 idle connections") == 2
        assert not refilled[0].closing

    run_on("asyncio", main())


@on_both_loops
async def test_only_connections_without_a_request_make_room() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/quick":
            await hello(scope, receive, send)
        await asyncio.Event().wait()

    scene = Scene(application, limits=Limits(body=1000))
    states: dict[str, FakeTransport] = {name: scene.connect() for name in ("begun", "busy", "lingering")}
    states["begun"].feed(b"G")
    states["busy"].feed(GET)
    states["lingering"].feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n")
    unread = states["unread"] = scene.connect()
    unread.peer.send(b"G")
    held = states["held"] = scene.connect(holds=True)
    held.protocol.write(b"x")  # type: ignore[attr-defined]  # as if a response were still to be taken
    await turns()
    new = scene.connect()
    used = scene.connect()
    used.feed(b"GET /quick HTTP/1.1\r\nHost: a\r\n\r\n")
    await turns()

    assert Room(scene.registry, 1, "worker 1").make() == 1
    assert used.closing
    assert not new.closing, "it has just come, and may be about to ask for something"
    for _ in range(2):
        scene.registry.clock.now += 1.0
        for client in (*states.values(), new):
            client.protocol.sweep(scene.registry.clock.now)  # type: ignore[attr-defined]
    assert Room(scene.registry, 1000, "worker 1").make() == 2
    assert new.closing
    assert states.pop("begun").closing
    assert not any(client.closing for client in states.values())


# ── requests ──


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@on_both_loops
async def test_a_request_over_the_limit_is_answered_503_and_its_connection_kept(tls: bool) -> None:
    gates: dict[str, asyncio.Event] = {"/a": asyncio.Event(), "/b": asyncio.Event()}

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] in gates:
            await gates[scope["path"]].wait()
        await hello(scope, receive, send)

    scene = Scene(application)
    server = await serve(scene, 100, tls=tls)
    server.registry.most_exchanges = 2
    busy = []
    for path in gates:
        busy.append(await AsyncClient.connect(server, tls=tls))
        await busy[-1].send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await until(lambda: len(server.registry.exchanges) == 2, "two are under way")
    late = await AsyncClient.connect(server, tls=tls)
    for _ in range(2):
        await late.send(GET)
        answer = await late.read_to(b"in progress\n")
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
        assert b"connection: close" not in answer.lower()

    gates["/a"].set()
    await busy[0].read_to(b"hello")
    await until(lambda: len(server.registry.exchanges) == 1, "it has ended")
    await late.send(GET)
    await late.read_to(b"hello")
    gates["/b"].set()
    await leave(server, late, *busy)

    assert sum('" 503 ' in line for line in scene.access_lines) == 2
    assert scene.log.count("503 reached --limit-concurrency (2)") == 2
    assert scene.log.count("INFO") == 1


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nwhole", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\npart of it", True),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\npart of it", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\nExpect: 100-continue\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", True),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", True),
    ],
)
@on_both_loops
async def test_a_503_leaves_the_connection_as_the_request_allows(request_: bytes, kept: bool) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    scene = Scene(application)
    scene.registry.most_exchanges = 1
    busy, late = scene.connect(), scene.connect()
    busy.feed(GET)
    await turns()
    late.feed(request_)
    await turns()

    assert late.sent.startswith(b"HTTP/1.1 503 ")
    assert (b"Connection: close" in late.sent) is not kept
    assert late.over is not kept
    assert len(scene.registry.exchanges) == 1


@on_both_loops
async def test_pipelined_requests_over_the_limit_are_answered_in_order() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    scene = Scene(application)
    scene.registry.most_exchanges = 1
    busy, late = scene.connect(), scene.connect()
    busy.feed(GET)
    await turns()
    late.feed(GET * 3)
    await turns(20)
    gate.set()
    await turns()
    late.feed(GET)
    await turns()

    assert late.sent.count(b"HTTP/1.1 503 ") == 3
    assert late.sent.endswith(b"\r\n\r\nhello")

"""A client may leave in any phase, in any way: nothing of it is left behind, and the logs have what happened.

Real sockets, on both event loops, plain and over TLS.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from appserve.http.messages import Limits
from tests.asgi.clients import AsyncClient, LoopServer, no_descriptor_lost, until, until_it_stands_still
from tests.asgi.fakes import Scene, on_both_loops

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"
POST = "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n"
LINE = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"


class Site:
    """An application that is in the phase that its path names; `gate` lets those go on that wait for it."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.reached: list[str] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        phase = scope["path"].strip("/")
        self.reached.append(phase)
        if phase in {"receives", "streams-quietly", "held"}:
            if phase != "receives":
                await send({"type": "http.response.start", "status": 200})
            if phase == "streams-quietly":
                await send({"type": "http.response.body", "body": b"some", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
            raise RuntimeError("as frameworks do")
        if phase == "waits":
            await self.gate.wait()
        await send({"type": "http.response.start", "status": 200})
        while phase == "pours":
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b"done"})


@dataclass
class Phase:
    """How far a client goes before it leaves.

    sends      what it sends then
    reached    the application was called so often; -1: it does not matter
    reads      up to this; None for nothing
    lines      the statuses in the access log: after an RST, and after a FIN
    """

    sends: bytes
    reached: int
    reads: bytes | None
    lines: tuple[str, str]
    floods: bool = False  # it then sends until the server takes no more
    fills: bool = False  # it reads nothing until the server can write no more
    after_close: tuple[str, ...] = ()  # what else may be in the access log when it closes


def get(path: str) -> bytes:
    return GET.format(path).encode()


def post(path: str, length: int) -> bytes:
    return POST.format(path, length).encode()


PHASES = {
    "silent": Phase(b"", 0, None, ("", "")),
    "half a head": Phase(get("/done")[:9], 0, None, ("", "400")),
    "body to come": Phase(post("/receives", 9) + b"x", 1, None, ("499", "400")),
    "body unread": Phase(post("/waits", 99_999_999), 1, None, ("499", "200"), floods=True),
    "100 awaited": Phase(
        b"POST /waits HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        1,
        None,
        ("499", "400"),
    ),
    "application waits for the client": Phase(get("/receives"), 1, None, ("499", "499")),
    "application is busy": Phase(get("/waits"), 1, None, ("499", "200")),
    "response begun and held back": Phase(get("/held"), 1, None, ("499", "499")),
    "response quiet": Phase(get("/streams-quietly"), 1, b"some", ("499", "200")),
    "response pours": Phase(get("/pours"), 1, b"xxxx", ("499", "499")),
    "response not read": Phase(get("/pours"), 1, None, ("499", "499"), fills=True),
    "idle": Phase(get("/done"), 1, b"done", ("200", "200")),
    "next request pipelined": Phase(
        get("/waits") + get("/done"), 1, None, ("499", "200 200"), after_close=("200", "200 499")
    ),
    "second head half there": Phase(get("/done") + get("/done")[:9], 1, b"done", ("200", "200 400")),
    "rest of a body dropped": Phase(post("/done", 200_000) + b"x", 1, b"done", ("200", "200")),
    "refused while it sends": Phase(post("/done", 99_999_999_999), 0, b"413", ("413", "413")),
}

WAYS: dict[str, Callable[[AsyncClient], None]] = {
    "RST": AsyncClient.reset,
    "close": AsyncClient.close,
    "FIN": AsyncClient.end_sending,
}


async def reach(server: LoopServer, client: AsyncClient, phase: Phase, site: Site) -> None:
    if phase.sends:
        await client.send(phase.sends)
    elif client.speaks_tls:
        await client.shake_hands()
    await until(lambda: server.registry.connections, "it is accepted")
    (connection,) = server.registry.connections
    await until(lambda: len(site.reached) >= phase.reached, "the application is called")
    if phase.reads:
        await client.read_to(phase.reads)
    if phase.floods:
        sending = asyncio.create_task(client.send(b"x" * 50_000_000))
        await until(lambda: connection.reading_paused, "enough of it waits")
        sending.cancel()
        await asyncio.wait([sending])
    if phase.fills:
        await until_it_stands_still(connection._transport.get_write_buffer_size)
        assert connection.paused


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PHASES)
@on_both_loops
async def test_a_client_that_leaves_leaves_nothing_behind(name: str, way: str, tls: bool) -> None:
    phase = PHASES[name]
    site = Site()
    scene = Scene(site, limits=Limits(body=1 << 30))
    server = await LoopServer(scene, tls=tls).open()
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, tls=tls)
        await reach(server, client, phase, site)
        WAYS[way](client)
        await until(lambda: is_noticed(server, phase, way), "the server has noticed")
        site.gate.set()
        if way == "FIN" and (phase.reads or phase.fills) and name in {"response pours", "response not read"}:
            client.reset()  # it would read on for ever
        await server.until_empty()
        client.close()
        server.close()

    expected = phase.lines[0 if way == "RST" else 1]
    found = " ".join(line.split('" ')[1].split()[0] for line in scene.access_lines)
    # To a close the client's kernel answers the next bytes with a reset, which may come at any time.
    allowed = {expected, *phase.lines, *phase.after_close} if way == "close" else {expected}
    assert found in allowed, scene.access_lines
    lines = [line for line in scene.log.splitlines() if "refused a request from" not in line]
    assert not [line for line in lines if " DEBUG " not in line], scene.log


def is_noticed(server: LoopServer, phase: Phase, way: str) -> bool:
    """Whether the server knows that the client has gone or ended its side. Behind an upload that is not read
    an end cannot be seen, only a reset can."""
    for connection in tuple(server.registry.connections):
        connection.sweep(server.registry.clock.now)
    return all(one.ended or (phase.floods and way != "RST") for one in server.registry.connections)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", [b"", LINE[:10], LINE, LINE + b"\x16\x03\x01", b"hello"])
@on_both_loops
async def test_a_client_that_leaves_before_http_leaves_nothing_behind(first: bytes, way: str) -> None:
    scene = Scene(Site())
    server = await LoopServer(scene, tls=True, proxy_protocol="auto").open()
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, tls=True)
        data = client.hello()[:100] if first == b"hello" else b""
        await client.send_raw(LINE + data if data else first)
        await until(lambda: server.registry.connections, "it is accepted")
        WAYS[way](client)
        await server.until_empty()
        client.close()
        server.close()

    assert scene.log == ""
    assert scene.access_lines == []

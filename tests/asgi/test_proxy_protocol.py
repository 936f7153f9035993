"""Connections that begin with a PROXY header, on both event loops.

What a header means, and what is refused, is decided in connection/preamble.py; the cases over real sockets
are in tests/conformance/test_origin.py.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.http.timeouts import Timeouts
from tests.asgi.clients import AsyncClient, LoopServer, no_descriptor_lost, until
from tests.asgi.fakes import Scene, on_both_loops, turns
from tests.http.proxy_headers import CLIENT, block, line

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
HALF_LINE = line()[:20]


class Witness:
    """An application that keeps the scopes of its requests."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"seen"})


async def serve(application: Any, version: str = "auto", **options: Any) -> LoopServer:
    scene = Scene(application, timeouts=options.pop("timeouts", None))
    return await LoopServer(scene, proxy_protocol=version, **options).open()


async def leave(server: LoopServer, *clients: AsyncClient) -> None:
    for client in clients:
        client.close()
    await server.until_empty()
    server.close()


@pytest.mark.parametrize("header", [line(), block()], ids=["v1", "v2"])
@on_both_loops
async def test_header_and_request_may_come_in_one_piece_or_byte_by_byte(header: bytes) -> None:
    witness = Witness()
    server = await serve(witness)
    whole = await AsyncClient.connect(server, first=header + GET + GET)
    await whole.read_to(b"seen")
    slow = await AsyncClient.connect(server)
    for byte in header + GET:
        await slow.send_raw(bytes([byte]))
        await turns(2)
    await slow.read_to(b"seen")
    await until(lambda: len(witness.scopes) == 3, "all are answered")

    assert {scope["client"] for scope in witness.scopes} == {CLIENT}
    await leave(server, whole, slow)


@on_both_loops
async def test_header_and_handshake_may_come_in_one_piece() -> None:
    witness = Witness()
    server = await serve(witness, "v2", tls=True)
    client = await AsyncClient.connect(server, tls=True)
    await client.send_raw(block() + client.hello())
    await client.send(GET)
    await client.read_to(b"seen")

    assert witness.scopes[0]["client"] == CLIENT
    await leave(server, client)


@on_both_loops
async def test_anything_else_first_ends_the_connection_and_is_logged() -> None:
    witness = Witness()
    server = await serve(witness)
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, first=GET)
        await client.until_closed()
        await leave(server, client)

    assert server.scene.log.count("refused a connection from 127.0.0.1: ") == 1
    assert witness.scopes == []
    assert server.scene.access_lines == []


@pytest.mark.parametrize("first", [b"", HALF_LINE, block()])
@on_both_loops
async def test_header_and_first_byte_are_due_in_one_time(first: bytes) -> None:
    server = await serve(Witness(), timeouts=Timeouts(10, 75, 30, 60, 0, 60))
    client = await AsyncClient.connect(server, first=first)
    await until(lambda: server.registry.connections, "it is counted")
    (connection,) = server.registry.connections
    for second in (0.0, 5.0, 10.0):
        connection.sweep(second)
    assert server.registry.connections
    connection.sweep(11.0)

    await until(lambda: not server.registry.connections, "it is closed")
    assert server.scene.log == ""
    await leave(server, client)


@pytest.mark.parametrize("end", [AsyncClient.close, AsyncClient.reset, AsyncClient.end_sending])
@pytest.mark.parametrize("first", [HALF_LINE, line()])
@on_both_loops
async def test_a_peer_that_leaves_before_its_first_request_is_not_logged(first: bytes, end: Any) -> None:
    server = await serve(Witness())
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, first=first)
        await until(lambda: server.registry.connections, "it is counted")
        end(client)
        await leave(server, client)

    assert server.scene.log == ""
    assert server.scene.access_lines == []

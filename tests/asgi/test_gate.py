"""Connections that begin with a PROXY header: whose they are, and what happens to those that do not."""

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.http.timeouts import Timeouts
from tests.asgi.calls import Caller, House, no_descriptor_lost, until
from tests.asgi.fakes import Scene, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
LINE = b"PROXY TCP4 198.51.100.7 203.0.113.1 4711 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def block(
    source: str = "198.51.100.7",
    destination: str = "203.0.113.1",
    *,
    command: int = 0x21,
    family: int = 0x11,
    over_tls: bool = False,
) -> bytes:
    addresses = socket.inet_aton(source) + socket.inet_aton(destination) + struct.pack("!HH", 4711, 443)
    vectors = b"\x20\x00\x05\x01\x00\x00\x00\x00" if over_tls else b""
    return (
        SIGNATURE
        + bytes([command, family])
        + struct.pack("!H", len(addresses + vectors))
        + addresses
        + vectors
    )


HEADERS = {"v1": LINE, "v2": block()}


class Witness:
    """An application that keeps the scopes of its requests."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"seen"})


async def make_house(application: Any, version: str = "auto", **options: Any) -> House:
    scene = Scene(application, timeouts=options.pop("timeouts", None))
    return await House(scene, proxy_protocol=version, **options).open()


async def leave(house: House, *callers: Caller) -> None:
    for caller in callers:
        caller.close()
    await house.until_empty()
    house.close()


@pytest.mark.parametrize("header", [LINE, block()], ids=["v1", "v2"])
@on_both_loops
async def test_header_and_request_may_come_in_one_piece_or_byte_by_byte(header: bytes) -> None:
    witness = Witness()
    house = await make_house(witness)
    whole = await Caller.connect(house, first=header + GET + GET)
    await whole.read_to(b"seen")
    slow = await Caller.connect(house)
    for byte in header + GET:
        await slow.send_raw(bytes([byte]))
        await turns(2)
    await slow.read_to(b"seen")
    await until(lambda: len(witness.scopes) == 3, "all are answered")

    assert {scope["client"] for scope in witness.scopes} == {("198.51.100.7", 4711)}
    await leave(house, whole, slow)


@on_both_loops
async def test_header_and_handshake_may_come_in_one_piece() -> None:
    witness = Witness()
    house = await make_house(witness, "v2", tls=True)
    caller = await Caller.connect(house, tls=True)
    await caller.send_raw(block() + caller.hello())
    await caller.send(GET)
    await caller.read_to(b"seen")

    assert witness.scopes[0]["client"] == ("198.51.100.7", 4711)
    await leave(house, caller)


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("v1", block()),
        ("v2", LINE),
        ("auto", GET),
        ("auto", b"PROXY TCP4 1.2.3.4\r\n"),
        ("auto", b"PROXY TCP9"),
        ("auto", SIGNATURE + b"\x31"),
        ("auto", b"\x16\x03\x01"),
    ],
)
@on_both_loops
async def test_anything_else_first_ends_the_connection_and_is_logged(version: str, first: bytes) -> None:
    witness = Witness()
    house = await make_house(witness, version)
    with no_descriptor_lost():
        caller = await Caller.connect(house, first=first)
        await caller.until_closed()
        await leave(house, caller)

    assert house.scene.log.count("refused a connection from 127.0.0.1: ") == 1
    assert witness.scopes == []
    assert house.scene.access_lines == []


@pytest.mark.parametrize("first", [b"", LINE[:20], block()[:14], LINE, block()])
@on_both_loops
async def test_header_and_first_byte_are_due_in_one_time(first: bytes) -> None:
    house = await make_house(Witness(), timeouts=Timeouts(10, 75, 30, 60, 0, 60))
    caller = await Caller.connect(house, first=first)
    await until(lambda: house.registry.connections, "it is counted")
    (connection,) = house.registry.connections
    for second in (0.0, 5.0, 10.0):
        connection.sweep(second)
    assert house.registry.connections
    connection.sweep(11.0)

    await until(lambda: not house.registry.connections, "it is closed")
    assert house.scene.log == ""
    await leave(house, caller)


@pytest.mark.parametrize("end", [Caller.close, Caller.reset, Caller.end_sending])
@pytest.mark.parametrize("first", [b"", LINE[:20], LINE])
@on_both_loops
async def test_a_peer_that_leaves_before_its_first_request_is_not_logged(first: bytes, end: Any) -> None:
    house = await make_house(Witness())
    with no_descriptor_lost():
        caller = await Caller.connect(house, first=first)
        await until(lambda: house.registry.connections, "it is counted")
        end(caller)
        await leave(house, caller)

    assert house.scene.log == ""
    assert house.scene.access_lines == []

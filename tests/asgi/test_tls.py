"""TLS on both event loops, with real sockets: what it changes for an application is the scheme."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.preamble_transport import PreambleTransport
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from tests.asgi.clients import AsyncClient, Cut, LoopServer, no_descriptor_lost, until, until_it_stands_still
from tests.asgi.fakes import Scene, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
CLOSING_GET = b"GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n"
OLD_GET = b"GET / HTTP/1.0\r\n\r\n"


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http.response.start", "status": status, "headers": pairs}


def part(data: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    await send(part(scope["scheme"].encode() + b" " + scope["path"].encode()))


async def serve_tls(application: Any, **options: Any) -> LoopServer:
    scene = Scene(application, limits=options.pop("limits", None), timeouts=options.pop("timeouts", None))
    return await LoopServer(scene, tls=True, **options).open()


async def leave(server: LoopServer, *clients: AsyncClient) -> None:
    for client in clients:
        client.close()
    await server.until_empty()
    server.close()


@on_both_loops
async def test_requests_are_served_one_after_the_other_and_know_their_scheme() -> None:
    server = await serve_tls(hello)
    client = await AsyncClient.connect(server, tls=True)
    for path in (b"/one", b"/two"):
        await client.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        assert (await client.read_to(path)).endswith(b"\r\n\r\nhttps " + path)
    await leave(server, client)


@on_both_loops
async def test_a_close_notify_of_the_client_is_answered_with_one() -> None:
    server = await serve_tls(hello)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(CLOSING_GET)

    assert (await client.read_to_end()).endswith(b"https /")
    assert await client.receive_raw() == b""
    await leave(server, client)


@on_both_loops
async def test_bytes_may_come_in_any_pieces() -> None:
    server = await serve_tls(hello)
    client = await AsyncClient.connect(server, tls=True)
    for byte in client.hello():
        await client.send_raw(bytes([byte]))
        await turns(2)
    await client.shake_hands()
    for byte in client.encrypt(GET) + client.encrypt(GET):
        await client.send_raw(bytes([byte]))
        await turns(2)
    for _ in range(2):
        answer = await client.read_to(b"https /")
        client.received = answer.partition(b"https /")[2]
    await leave(server, client)


# ── ends ──


@pytest.mark.parametrize("way", ["close_notify", "close_notify and FIN", "FIN"])
@on_both_loops
async def test_a_client_that_ends_its_side_still_gets_its_response(way: str) -> None:
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        messages.append(await receive())
        await send(start())
        await send(part(b"all ", True))
        await asyncio.sleep(0)
        await send(part(b"of it"))

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(GET)
    if way != "FIN":
        await client.send_close_notify()
    if way != "close_notify":
        client.end_sending()
    # What comes after its own close_notify OpenSSL does not read for us, but it was encrypted and sent.
    sent = b""
    while data := await client.receive_raw():
        sent += data

    assert messages == [{"type": "http.disconnect"}]
    assert len(sent) > len(b"HTTP/1.1 200 OK\r\n\r\n4\r\nall \r\n5\r\nof it\r\n0\r\n\r\n")
    assert ' 200 9 "' in server.scene.access_lines[0]
    assert "ERROR" not in server.scene.log
    await leave(server, client)


@pytest.mark.parametrize("way", ["close_notify", "FIN"])
@on_both_loops
async def test_a_body_cut_short_is_never_passed_as_complete(way: str) -> None:
    messages: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["type"] != "http.disconnect":
            messages.append(await receive())

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!")
    await until(lambda: messages, "the application has the first part")
    if way == "FIN":
        client.end_sending()
    else:
        await client.send_close_notify()
    await until(lambda: messages[-1]["type"] == "http.disconnect", "it gets the disconnect")

    assert not any(message.get("more_body") is False for message in messages)
    assert [line.split('" ')[1].split()[0] for line in server.scene.access_lines] == ["400"]
    await leave(server, client)


@on_both_loops
async def test_a_body_that_only_a_close_delimits_ends_without_one_when_it_is_not_whole() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"half", True))

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(OLD_GET)
    with pytest.raises((ConnectionResetError, Cut)):
        await client.read_to_end()
    await leave(server, client)


@on_both_loops
async def test_lingering_is_bounded_in_time() -> None:
    server = await serve_tls(hello, limits=Limits(body=1000))
    client = await AsyncClient.connect(server, tls=True)
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
    await client.read_to_end()

    def is_closed() -> bool:
        for connection in tuple(server.registry.connections):
            connection.sweep(server.registry.clock.now)
        server.registry.clock.now += 3
        return not server.registry.connections

    await until(is_closed, "it is closed though the client is silent")
    await leave(server, client)


# ── clients that speak no TLS, or not well ──


@pytest.mark.parametrize(
    "first",
    [
        b"\x00" * 300,
        b"\x16\x03\x01\x00\x05hello",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x16\x03\x01\xff\xff" + b"x" * 20000,
    ],
)
@on_both_loops
async def test_a_handshake_that_is_none_ends_the_connection_without_a_log_line(first: bytes) -> None:
    server = await serve_tls(hello)
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, first=first)
        try:
            while await client.receive_raw():
                pass
        except ConnectionResetError:
            pass
        await leave(server, client)

    log = server.scene.log
    assert "TLS with 127.0.0.1 failed: " in log
    assert not [level for level in ("INFO", "WARNING", "ERROR", "CRITICAL") if level in log]
    assert server.scene.access_lines == []


@on_both_loops
async def test_a_record_that_cannot_be_decrypted_is_answered_with_an_alert() -> None:
    """RFC 8446 §5.2: "terminate the connection with a bad_record_mac alert"."""
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        messages.append(await receive())

    server = await serve_tls(application)
    with no_descriptor_lost():
        client = await AsyncClient.connect(server, tls=True)
        await client.send(GET)
        await until(lambda: server.registry.exchanges, "the application is called")
        await client.send_raw(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            await client.read_to_end()
        await leave(server, client)

    assert messages == [{"type": "http.disconnect"}]
    assert [line.split('" ')[1].split()[0] for line in server.scene.access_lines] == ["499"]
    assert "TLS with 127.0.0.1 failed: decryption failed or bad record mac" in server.scene.log
    assert "ERROR" not in server.scene.log


@on_both_loops
async def test_a_client_that_does_not_know_our_authority_is_not_logged() -> None:
    server = await serve_tls(hello)
    client = await AsyncClient.connect(server, tls=True)
    client._tls = ssl.create_default_context().wrap_bio(
        client._incoming, client._outgoing, server_hostname="shop.example"
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        await client.shake_hands()
    await client._flush()
    await leave(server, client)

    assert not [level for level in ("INFO", "WARNING", "ERROR") if level in server.scene.log]


@pytest.mark.parametrize("handshake", ["none", "half", "done"])
@on_both_loops
async def test_a_client_that_falls_silent_before_its_first_request_is_closed_in_time(handshake: str) -> None:
    server = await serve_tls(hello, timeouts=Timeouts(10, 75, 30, 60, 0, 60))
    client = await AsyncClient.connect(server, tls=True)
    if handshake == "half":
        await client.send_raw(client.hello()[:100])
    elif handshake == "done":
        await client.shake_hands()
    await until(lambda: server.registry.connections, "it is counted")
    (connection,) = server.registry.connections
    await until(lambda: not connection._has_input(), "all that it sent has been read")
    connection.sweep(100.0)
    connection.sweep(110.0)
    assert server.registry.connections
    connection.sweep(112.0)

    await until(lambda: not server.registry.connections, "it is closed")
    assert server.scene.log == ""
    await leave(server, client)


# ── memory ──


@on_both_loops
async def test_a_stream_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(512):
            await send(part(b"x" * 65536, True))
            sent += 65536
        await send(part(b""))

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True, receive_buffer=65536)
    await client.send(CLOSING_GET)
    await until(lambda: sent, "it has begun")
    await until_it_stands_still(lambda: sent)
    (connection,) = server.registry.connections

    assert sent < 8 << 20, "what the kernel's buffers hold, and a bound of ours"
    assert connection._transport.get_write_buffer_size() < 3 * 65536
    assert len(await client.read_to_end()) > 32 << 20
    await leave(server, client)


@on_both_loops
async def test_a_client_that_takes_nothing_is_given_up_though_more_is_written() -> None:
    """What encryption adds to the bytes must not look as if the client had taken some."""
    go_on = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"x" * 8_000_000, True))
        while True:
            await go_on.wait()
            go_on.clear()
            await send(part(b"x", True))

    server = await serve_tls(application, timeouts=Timeouts(10, 10, 10, 10, 0, 10))
    client = await AsyncClient.connect(server, tls=True, receive_buffer=65536)
    await client.send(GET)
    await until(
        lambda: any(one._transport.get_write_buffer_size() for one in server.registry.connections), "full"
    )
    (connection,) = server.registry.connections
    await until_it_stands_still(connection._transport.get_write_buffer_size)
    for second in range(13):
        connection.sweep(float(second))
        # It is not asked whether there is room: the transport has what it was given.
        connection.written += 1
        connection._transport.write(b"y")
        await turns()

    await until(lambda: not server.registry.connections, "it is closed")
    go_on.set()
    await leave(server, client)


@on_both_loops
async def test_an_upload_waits_for_an_application_that_does_not_receive() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        size = 0
        while (message := await receive())["more_body"]:
            size += len(message["body"])
        await send(start())
        await send(part(b"%d" % (size + len(message["body"]))))

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True)
    total = 64 << 20
    await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
    sent = 0

    async def upload() -> None:
        nonlocal sent
        while sent < total:
            await client.send(b"x" * 65536)
            sent += 65536

    uploading = asyncio.create_task(upload())
    await until_it_stands_still(lambda: sent)
    assert sent < 32 << 20
    (connection,) = server.registry.connections
    assert connection.driver._exchange is not None
    assert connection.driver._exchange.unread < 2 * 65536 + 65536

    gate.set()
    await uploading
    await client.read_to(b"%d" % total)
    await leave(server, client)


@on_both_loops
async def test_what_comes_after_a_close_notify_is_not_kept() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    server = await serve_tls(application)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(GET)
    await client.send_close_notify()
    await client.send_raw(b"x" * 10_000_000)
    (connection,) = server.registry.connections
    assert connection._transport._preamble.session._incoming.pending < 2 * 65536
    gate.set()
    client.reset()
    await leave(server)


@on_both_loops
async def test_a_connection_that_ended_keeps_no_session() -> None:
    server = await serve_tls(hello)
    client = await AsyncClient.connect(server, tls=True)
    await client.send(GET)
    await client.read_to(b"https /")
    (connection,) = server.registry.connections
    transport = connection._transport
    assert isinstance(transport, PreambleTransport)
    assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
    await leave(server, client)

    assert transport.get_extra_info("ssl_object") is None

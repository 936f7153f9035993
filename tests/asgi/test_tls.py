"""TLS on both event loops, with real sockets: what it changes for an application is the scheme."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.preamble_transport import PreambleTransport
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from tests.asgi.calls import Caller, Cut, House, no_descriptor_lost, until, until_it_stands_still
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


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())
    while (message := await receive())["type"] != "http.disconnect":
        await send(part(message["body"], message["more_body"]))
        if not message["more_body"]:
            break


async def in_house(application: Any, **options: Any) -> House:
    scene = Scene(application, limits=options.pop("limits", None), timeouts=options.pop("timeouts", None))
    return await House(scene, tls=True, **options).open()


async def leave(house: House, *callers: Caller) -> None:
    for caller in callers:
        caller.close()
    await house.until_empty()
    house.close()


@on_both_loops
async def test_requests_are_served_one_after_the_other_and_know_their_scheme() -> None:
    house = await in_house(hello)
    caller = await Caller.connect(house, tls=True)
    for path in (b"/one", b"/two"):
        await caller.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
        assert (await caller.read_to(path)).endswith(b"\r\n\r\nhttps " + path)
    await leave(house, caller)


@on_both_loops
async def test_a_close_notify_of_the_client_is_answered_with_one() -> None:
    house = await in_house(hello)
    caller = await Caller.connect(house, tls=True)
    await caller.send(CLOSING_GET)

    assert (await caller.read_to_end()).endswith(b"https /")
    assert await caller.receive_raw() == b""
    await leave(house, caller)


@on_both_loops
async def test_bytes_may_come_in_any_pieces() -> None:
    house = await in_house(hello)
    caller = await Caller.connect(house, tls=True)
    for byte in caller.hello():
        await caller.send_raw(bytes([byte]))
        await turns(2)
    await caller.shake_hands()
    for byte in caller.encrypt(GET) + caller.encrypt(GET):
        await caller.send_raw(bytes([byte]))
        await turns(2)
    for _ in range(2):
        answer = await caller.read_to(b"https /")
        caller.received = answer.partition(b"https /")[2]
    await leave(house, caller)


@on_both_loops
async def test_a_large_body_comes_back_whole() -> None:
    house = await in_house(echo)
    caller = await Caller.connect(house, tls=True)
    body = bytes(range(256)) * 8192
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    await caller.shake_hands()
    sending = asyncio.create_task(_send_all(caller, head % len(body) + body))
    answer = await caller.read_to_end()
    await sending

    decoded = b""
    rest = answer.partition(b"\r\n\r\n")[2]
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        decoded += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    assert decoded == body
    await leave(house, caller)


async def _send_all(caller: Caller, data: bytes) -> None:
    for at in range(0, len(data), 100_000):
        await caller.send(data[at : at + 100_000])


@on_both_loops
async def test_one_large_message_of_the_application_arrives_whole() -> None:
    body = bytes(range(256)) * 8192

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(body))

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(CLOSING_GET)

    assert (await caller.read_to_end()).endswith(b"\r\n\r\n" + body)
    await leave(house, caller)


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

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(GET)
    if way != "FIN":
        await caller.say_goodbye()
    if way != "close_notify":
        caller.end_sending()
    # What comes after its own close_notify OpenSSL does not read for us, but it was encrypted and sent.
    sent = b""
    while data := await caller.receive_raw():
        sent += data

    assert messages == [{"type": "http.disconnect"}]
    assert len(sent) > len(b"HTTP/1.1 200 OK\r\n\r\n4\r\nall \r\n5\r\nof it\r\n0\r\n\r\n")
    assert ' 200 9 "' in house.scene.access_lines[0]
    assert "ERROR" not in house.scene.log
    await leave(house, caller)


@pytest.mark.parametrize("way", ["close_notify", "FIN"])
@on_both_loops
async def test_a_body_cut_short_is_never_passed_as_complete(way: str) -> None:
    messages: list[Any] = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        while not messages or messages[-1]["type"] != "http.disconnect":
            messages.append(await receive())

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfive!")
    await until(lambda: messages, "the application has the first part")
    if way == "FIN":
        caller.end_sending()
    else:
        await caller.say_goodbye()
    await until(lambda: messages[-1]["type"] == "http.disconnect", "it is told")

    assert not any(message.get("more_body") is False for message in messages)
    assert [line.split('" ')[1].split()[0] for line in house.scene.access_lines] == ["400"]
    await leave(house, caller)


@on_both_loops
async def test_a_body_that_only_a_close_delimits_ends_by_a_close_notify() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"half", True))
        await send(part(b"whole"))

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(OLD_GET)

    assert (await caller.read_to_end()).endswith(b"\r\n\r\nhalfwhole")
    await leave(house, caller)


@on_both_loops
async def test_a_body_that_only_a_close_delimits_ends_without_one_when_it_is_not_whole() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(part(b"half", True))

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(OLD_GET)
    with pytest.raises((ConnectionResetError, Cut)):
        await caller.read_to_end()
    await leave(house, caller)


@on_both_loops
async def test_a_refusal_reaches_a_client_that_is_still_sending() -> None:
    house = await in_house(hello, limits=Limits(body=1000))
    for _ in range(3):
        caller = await Caller.connect(house, tls=True)
        await caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
        for _ in range(20):
            await caller.send(b"x" * 65536)
            await turns(2)
        answer = await caller.read_to_end()
        caller.close()

        assert answer.startswith(b"HTTP/1.1 413 ")
    await leave(house)


@on_both_loops
async def test_lingering_is_bounded_in_time() -> None:
    house = await in_house(hello, limits=Limits(body=1000))
    caller = await Caller.connect(house, tls=True)
    await caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n")
    await caller.read_to_end()

    def is_closed() -> bool:
        for connection in tuple(house.registry.connections):
            connection.sweep(house.registry.clock.now)
        house.registry.clock.now += 3
        return not house.registry.connections

    await until(is_closed, "it is closed though the client is silent")
    await leave(house, caller)


# ── who does not speak TLS, or not well ──


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
    house = await in_house(hello)
    with no_descriptor_lost():
        caller = await Caller.connect(house, first=first)
        try:
            while await caller.receive_raw():
                pass
        except ConnectionResetError:
            pass
        await leave(house, caller)

    log = house.scene.log
    assert "TLS with 127.0.0.1 failed: " in log
    assert not [level for level in ("INFO", "WARNING", "ERROR", "CRITICAL") if level in log]
    assert house.scene.access_lines == []


@on_both_loops
async def test_a_record_that_cannot_be_decrypted_is_answered_with_an_alert() -> None:
    """RFC 8446 §5.2: "terminate the connection with a bad_record_mac alert"."""
    messages = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        messages.append(await receive())

    house = await in_house(application)
    with no_descriptor_lost():
        caller = await Caller.connect(house, tls=True)
        await caller.send(GET)
        await until(lambda: house.registry.exchanges, "the application is called")
        await caller.send_raw(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            await caller.read_to_end()
        await leave(house, caller)

    assert messages == [{"type": "http.disconnect"}]
    assert [line.split('" ')[1].split()[0] for line in house.scene.access_lines] == ["499"]
    assert "TLS with 127.0.0.1 failed: decryption failed or bad record mac" in house.scene.log
    assert "ERROR" not in house.scene.log


@on_both_loops
async def test_a_client_that_does_not_know_our_authority_is_not_logged() -> None:
    house = await in_house(hello)
    caller = await Caller.connect(house, tls=True)
    caller._tls = ssl.create_default_context().wrap_bio(
        caller._incoming, caller._outgoing, server_hostname="shop.example"
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        await caller.shake_hands()
    await caller._flush()
    await leave(house, caller)

    assert not [level for level in ("INFO", "WARNING", "ERROR") if level in house.scene.log]


@pytest.mark.parametrize("handshake", ["none", "half", "done"])
@on_both_loops
async def test_a_client_that_falls_silent_before_its_first_request_is_closed_in_time(handshake: str) -> None:
    house = await in_house(hello, timeouts=Timeouts(10, 75, 30, 60, 0, 60))
    caller = await Caller.connect(house, tls=True)
    if handshake == "half":
        await caller.send_raw(caller.hello()[:100])
    elif handshake == "done":
        await caller.shake_hands()
    await until(lambda: house.registry.connections, "it is counted")
    (connection,) = house.registry.connections
    await until(lambda: not connection._has_input(), "all that it sent has been read")
    connection.sweep(100.0)
    connection.sweep(110.0)
    assert house.registry.connections
    connection.sweep(112.0)

    await until(lambda: not house.registry.connections, "it is closed")
    assert house.scene.log == ""
    await leave(house, caller)


@on_both_loops
async def test_two_hundred_incomplete_handshakes_delay_no_client() -> None:
    house = await in_house(hello, most=1000)
    with no_descriptor_lost():
        silent = []
        for _ in range(200):
            silent.append(await Caller.connect(house, tls=True))
            await silent[-1].send_raw(silent[-1].hello()[:50])
        caller = await Caller.connect(house, tls=True)
        await caller.send(GET)
        await caller.read_to(b"https /")
        assert len(house.registry.connections) == 201
        await leave(house, caller, *silent)


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

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True, receive_buffer=65536)
    await caller.send(CLOSING_GET)
    await until(lambda: sent, "it has begun")
    await until_it_stands_still(lambda: sent)
    (connection,) = house.registry.connections

    assert sent < 8 << 20, "what the kernel's buffers hold, and a bound of ours"
    assert connection._transport.get_write_buffer_size() < 3 * 65536
    assert len(await caller.read_to_end()) > 32 << 20
    await leave(house, caller)


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

    house = await in_house(application, timeouts=Timeouts(10, 10, 10, 10, 0, 10))
    caller = await Caller.connect(house, tls=True, receive_buffer=65536)
    await caller.send(GET)
    await until(
        lambda: any(one._transport.get_write_buffer_size() for one in house.registry.connections), "full"
    )
    (connection,) = house.registry.connections
    await until_it_stands_still(connection._transport.get_write_buffer_size)
    for second in range(13):
        connection.sweep(float(second))
        # It is not asked whether there is room: the transport has what it was given.
        connection.written += 1
        connection._transport.write(b"y")
        await turns()

    await until(lambda: not house.registry.connections, "it is closed")
    go_on.set()
    await leave(house, caller)


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

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    total = 64 << 20
    await caller.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)
    sent = 0

    async def upload() -> None:
        nonlocal sent
        while sent < total:
            await caller.send(b"x" * 65536)
            sent += 65536

    uploading = asyncio.create_task(upload())
    await until_it_stands_still(lambda: sent)
    assert sent < 32 << 20
    (connection,) = house.registry.connections
    assert connection.driver._exchange is not None
    assert connection.driver._exchange.unread < 2 * 65536 + 65536

    gate.set()
    await uploading
    await caller.read_to(b"%d" % total)
    await leave(house, caller)


@on_both_loops
async def test_what_comes_after_a_close_notify_is_not_kept() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await gate.wait()
        await hello(scope, receive, send)

    house = await in_house(application)
    caller = await Caller.connect(house, tls=True)
    await caller.send(GET)
    await caller.say_goodbye()
    await caller.send_raw(b"x" * 10_000_000)
    (connection,) = house.registry.connections
    assert connection._transport._preamble.session._incoming.pending < 2 * 65536
    gate.set()
    caller.reset()
    await leave(house)


@on_both_loops
async def test_a_connection_that_ended_keeps_no_session() -> None:
    house = await in_house(hello)
    caller = await Caller.connect(house, tls=True)
    await caller.send(GET)
    await caller.read_to(b"https /")
    (connection,) = house.registry.connections
    transport = connection._transport
    assert isinstance(transport, PreambleTransport)
    assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
    await leave(house, caller)

    assert transport.get_extra_info("ssl_object") is None

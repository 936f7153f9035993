"""What the connections of a worker share."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from appserve.asgi.exchange import Exchange
from appserve.asgi.http1 import Http1Driver
from appserve.asgi.stream import Stream
from tests.asgi.fakes import Scene, on_both_loops, turns

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})


async def silent(scope: Any, receive: Any, send: Any) -> None:
    pass


def count_sweeps(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    seen: list[Stream] = []
    sweep = Stream.sweep

    def count(protocol: Stream, now: float) -> None:
        seen.append(protocol)
        sweep(protocol, now)

    monkeypatch.setattr(Stream, "sweep", count)
    return seen


@pytest.mark.pure
@on_both_loops
async def test_a_sweep_looks_only_at_connections_whose_time_may_have_come() -> None:
    scene = Scene(hello)
    with pytest.MonkeyPatch.context() as monkeypatch:
        seen = count_sweeps(monkeypatch)
        clients = [scene.connect() for _ in range(50)]
        for client in clients:
            client.feed(GET)
        await turns()

        async def sweep() -> int:
            seen.clear()
            scene.registry.clock.now += 1.0
            scene.registry.sweep()
            await turns()
            return len(seen)

        assert await sweep() == 50, "they have just had a response"
        assert [await sweep() for _ in range(20)] == [0] * 20
        clients[7].feed(GET)
        await turns()
        assert await sweep() == 1
        assert sum([await sweep() for _ in range(60)]) == 49, "each once, when it has been idle for 75 s"
    assert [client.closing for client in clients].count(False) == 1, "the one that was used since"


@pytest.mark.parametrize("abort_fails", [False, True])
@on_both_loops
async def test_an_internal_error_in_one_connection_s_sweep_ends_that_connection(abort_fails: bool) -> None:
    def fail() -> int:
        raise ZeroDivisionError

    scene = Scene(hello)
    clients = [scene.connect() for _ in range(3)]
    clients[1].get_write_buffer_size = fail  # type: ignore[method-assign]
    if abort_fails:
        clients[1].abort = fail  # type: ignore[method-assign, assignment]
    for _ in range(33):
        scene.registry.clock.now += 1.0
        scene.registry.sweep()
    await turns()

    assert [client.closing for client in (clients[0], clients[2])] == [True, True], "the others go on"
    assert clients[1].protocol not in scene.registry.connections
    assert scene.log.count("internal error: closed a connection") == 1
    assert "ZeroDivisionError" in scene.log


# ── exchanges ──


@on_both_loops
async def test_the_application_is_called_with_scope_receive_and_send_in_a_task_of_its_own() -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], await receive(), asyncio.current_task()))
        await hello(scope, receive, send)

    scene = Scene(application)
    client = scene.connect()
    client.feed(GET)
    (running,) = scene.registry.exchanges.values()
    await turns()

    assert seen == [("/", {"type": "http.request", "body": b"", "more_body": False}, running)]
    assert client.sent.endswith(b"hello") and scene.row.current_request() == b"GET /"
    assert running.done() and not scene.registry.exchanges


@pytest.mark.parametrize(
    "error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()]
)
@on_both_loops
async def test_whatever_an_application_raises_ends_its_own_exchange_only(error: BaseException) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/raise":
            raise error
        await hello(scope, receive, send)

    scene = Scene(application)
    first, second = scene.connect(), scene.connect()
    first.feed(b"GET /raise HTTP/1.1\r\nHost: a\r\n\r\n")
    second.feed(GET)
    await turns()

    assert first.sent.startswith(b"HTTP/1.1 500 ") and second.sent.endswith(b"hello")
    assert f"GET /raise: it raised {type(error).__name__}" in scene.log


@on_both_loops
async def test_an_application_that_is_not_awaitable_is_a_failure_of_its_own() -> None:
    scene = Scene(lambda scope, receive, send: None)
    client = scene.connect()
    client.feed(GET)
    await turns()

    assert client.sent.startswith(b"HTTP/1.1 500 ") and "it raised TypeError" in scene.log


@on_both_loops
async def test_the_memory_of_a_request_and_of_a_connection_does_not_wait_for_the_collector() -> None:
    scene = Scene(hello)
    gc.collect()
    gc.disable()
    try:
        before = count(Exchange), count(Http1Driver)
        client = scene.connect()
        client.feed(GET)
        task = weakref.ref(*scene.registry.exchanges.values())
        assert (count(Exchange), count(Http1Driver)) == (before[0] + 1, before[1] + 1)
        await turns()
        assert task() is None and count(Exchange) == before[0]
        client.reset()
        await turns()
        assert count(Http1Driver) == before[1]
    finally:
        gc.enable()


def count(kind: type) -> int:
    return sum(type(one) is kind for one in gc.get_objects())

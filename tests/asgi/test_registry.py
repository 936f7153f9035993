"""What the connections of a worker share."""

from typing import Any

import pytest

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

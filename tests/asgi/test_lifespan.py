"""The lifespan of an application."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from appserve.asgi.lifespan import Lifespan
from appserve.errors import AppStartError
from tests.asgi.fakes import MemoryLog, on_both_loops, turns

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Obedient:
    """An application whose lifespan goes well; `heard` is what it was sent."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope = scope
        while True:
            message = await receive()
            self.heard.append(message["type"])
            if message["type"] == "lifespan.startup":
                scope["state"]["pool"] = self
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


@pytest.mark.parametrize("raises", [False, True])
@on_both_loops
async def test_an_application_that_does_not_wait_for_shutdown_keeps_its_state(raises: bool) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        scope["state"]["pool"] = 1
        await send({"type": "lifespan.startup.complete"})
        if raises:
            raise RuntimeError

    lifespan = Lifespan(application, "auto", MemoryLog())
    await lifespan.startup()
    assert lifespan.state == {"pool": 1}
    await turns()
    assert lifespan.state == {"pool": 1}

    await lifespan.shutdown(5)


@on_both_loops
async def test_startup_state_and_shutdown() -> None:
    application = Obedient()
    lifespan = Lifespan(application, "auto", MemoryLog())
    assert lifespan.state is None

    await lifespan.startup()
    assert application.heard == ["lifespan.startup"]
    assert lifespan.state == {"pool": application}
    await turns()
    assert application.heard == ["lifespan.startup"]

    await lifespan.shutdown(5)
    assert application.heard == ["lifespan.startup", "lifespan.shutdown"]


@on_both_loops
async def test_the_scope_is_that_of_the_specification() -> None:
    application = Obedient()
    await Lifespan(application, "auto", MemoryLog()).startup()

    assert application.scope == {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {"pool": application},
    }


@on_both_loops
async def test_startup_waits_for_the_answer() -> None:
    gate = asyncio.Event()

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await gate.wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()

    starting = asyncio.ensure_future(Lifespan(application, "auto", MemoryLog()).startup())
    await turns(20)
    assert not starting.done()

    gate.set()

    await starting


@on_both_loops
async def test_startup_and_shutdown_run_in_one_task_and_context() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        variable.set("set at startup")
        task = asyncio.current_task()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        seen.append((variable.get(), task is asyncio.current_task()))
        await send({"type": "lifespan.shutdown.complete"})

    lifespan = Lifespan(application, "on", MemoryLog())
    await lifespan.startup()
    await lifespan.shutdown(5)

    assert seen == [("set at startup", True)]


@pytest.mark.parametrize("mode", ["auto", "on"])
@on_both_loops
async def test_a_failed_startup_is_an_error_with_the_message_of_the_application(mode: str) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "Traceback:\n  x\nNoDatabase: refused\n"})

    with pytest.raises(AppStartError) as caught:
        await Lifespan(application, mode, MemoryLog()).startup()

    assert caught.value.message == "the application failed to start: NoDatabase: refused"
    assert caught.value.detail == "Traceback:\n  x\nNoDatabase: refused\n"


@on_both_loops
async def test_a_failed_startup_without_a_message_is_an_error_as_well() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})
        raise RuntimeError("frameworks raise it after the message")

    log = MemoryLog()
    with pytest.raises(AppStartError, match="the application failed to start"):
        await Lifespan(application, "auto", log).startup()
    assert log.text == ""


@on_both_loops
async def test_an_application_that_refuses_the_scope_has_no_lifespan_and_that_is_one_log_line() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        raise ValueError("only http is spoken here")

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()
    await lifespan.shutdown(5)

    assert lifespan.state is None
    assert (
        "INFO     the application has no lifespan (it raised ValueError: only http is spoken here)"
        in log.text
    )
    assert log.text.count("\n") == 1


@on_both_loops
async def test_an_application_that_returns_has_no_lifespan() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        pass

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()

    assert lifespan.state is None
    assert "the application has no lifespan (it returned)" in log.text


@on_both_loops
async def test_a_startup_that_breaks_is_served_without_and_its_traceback_is_a_warning() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        raise ConnectionError("no database")

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()

    assert lifespan.state is None
    assert "WARNING" in log.text
    assert "Traceback (most recent call last)" in log.text
    assert "ConnectionError: no database" in log.text


@pytest.mark.parametrize("receives", [False, True])
@on_both_loops
async def test_without_a_lifespan_nothing_starts_when_one_is_demanded(receives: bool) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        if receives:
            await receive()
        raise ConnectionError("no database")

    with pytest.raises(AppStartError, match="ConnectionError: no database") as caught:
        await Lifespan(application, "on", MemoryLog()).startup()
    assert "Traceback (most recent call last)" in caught.value.detail


@on_both_loops
async def test_an_application_that_returns_does_not_start_when_a_lifespan_is_demanded() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        pass

    with pytest.raises(AppStartError, match="ended without an answer"):
        await Lifespan(application, "on", MemoryLog()).startup()


@on_both_loops
async def test_nothing_is_sent_when_it_is_off() -> None:
    application = Obedient()
    lifespan = Lifespan(application, "off", MemoryLog())
    await lifespan.startup()
    await lifespan.shutdown(5)

    assert application.heard == []
    assert lifespan.state is None


@on_both_loops
async def test_a_startup_that_hangs_can_be_cancelled() -> None:
    cancelled = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    starting = asyncio.ensure_future(Lifespan(application, "auto", MemoryLog()).startup())
    await turns()
    starting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await starting
    assert cancelled == [True]


@on_both_loops
async def test_a_shutdown_that_hangs_ends_with_its_time() -> None:
    ended = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()
    await lifespan.shutdown(0.01)

    assert ended == [True]
    assert "did not finish its lifespan shutdown within 0.0 s" in log.text


@pytest.mark.parametrize("failure", ["message", "raise"])
@on_both_loops
async def test_a_failed_shutdown_is_logged(failure: str) -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if failure == "raise":
            raise RuntimeError("cannot flush")
        await send({"type": "lifespan.shutdown.failed", "message": "cannot flush"})

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()
    await lifespan.shutdown(5)

    assert "ERROR" in log.text
    assert "cannot flush" in log.text


@on_both_loops
async def test_a_lifespan_that_breaks_while_serving_is_logged_and_sent_no_shutdown() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise RuntimeError("a background task broke")

    log = MemoryLog()
    lifespan = Lifespan(application, "auto", log)
    await lifespan.startup()
    await turns()
    await lifespan.shutdown(5)

    assert "the application's lifespan failed while it served" in log.text
    assert "a background task broke" in log.text


@on_both_loops
async def test_a_message_that_is_not_due_raises_out_of_its_send() -> None:
    mistakes = []

    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        for message in ({"type": "http.response.start"}, {"type": "lifespan.shutdown.complete"}, {}, None):
            try:
                await send(message)  # type: ignore[arg-type]  # that is the point
            except Exception as error:
                mistakes.append(type(error).__name__)
        await send({"type": "lifespan.startup.complete"})

    await Lifespan(application, "auto", MemoryLog()).startup()

    assert mistakes == ["AppMistake"] * 4


@on_both_loops
async def test_sys_exit_in_a_startup_is_its_failure() -> None:
    async def application(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        raise SystemExit(1)

    with pytest.raises(AppStartError, match="SystemExit: 1"):
        await Lifespan(application, "on", MemoryLog()).startup()

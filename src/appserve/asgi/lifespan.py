"""The lifespan of an application: its startup before the first request, its shutdown after the last.

One task runs the lifespan call from startup to shutdown, on the loop that serves the requests, so that what
the application opened in it (task groups, context variables) is closed where it was opened.

What an application may do with the lifespan scope, and what follows:

    startup.complete            it has a lifespan: shutdown will be sent
    startup.failed              the worker does not start, with the application's message
    returns, or raises before   it has no lifespan. Frameworks that refuse an unknown scope do this, so one
    its first receive()         line tells it
    raises after receive()      something broke that was meant to work. The specification has the server go
                                on; the traceback is logged as a warning

The last two end the start of the worker in the mode `on`.

Source: asgiref "Lifespan Protocol" 2.0.
"""

import asyncio
from enum import Enum
from typing import Any

from appserve.asgi.exchange import AsgiApplication, Message
from appserve.errors import AppMistake, AppStartError
from appserve.observe.log import Level, Log
from appserve.tracebacks import application_traceback

LIFESPAN_SPEC_VERSION = "2.0"

CANCEL_SECONDS = 1.0
"""How long a lifespan call may take to end when it has said all, or was cancelled."""


class LifespanState(Enum):
    """Where the lifespan call is."""

    NEW = "new"
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    OVER = "over"  # nothing more is sent


class Lifespan:
    """One lifespan call. `state` is the application's scope["state"], of which requests get copies."""

    def __init__(self, application: AsgiApplication, mode: str, log: Log, absent: Level = Level.INFO) -> None:
        """`mode` is auto, on or off; `absent` the level at which it is logged that there is none."""
        self._application = application
        self._mode = mode
        self._log = log
        self._absent = absent
        self._stage = LifespanState.NEW
        self._received = 0  # messages that the application was given
        self._completed = False  # startup was
        self._failure: str | None = None
        self._state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None
        self._answered = asyncio.Event()
        self._ordered = asyncio.Event()

    @property
    def state(self) -> dict[str, Any] | None:
        """None unless startup was completed. An application that has then nothing to wait for, and returns,
        has a state all the same."""
        return self._state if self._completed else None

    async def startup(self) -> None:
        """Send lifespan.startup and wait for the answer, as long as it takes; cancelling this ends the call.

        Raises AppStartError if the application says that it cannot start.
        """
        if self._mode == "off":
            return
        self._stage = LifespanState.STARTING
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self._answered.wait()
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if self._failure is not None:
            await self._cancel()
            lines = self._failure.strip().splitlines() or ["it gave no reason"]
            raise AppStartError(
                f"the application failed to start: {lines[-1].strip()}",
                self._failure if len(lines) > 1 else "",
            )

    async def shutdown(self, seconds: float) -> None:
        """Send lifespan.shutdown, if startup was completed, and wait for the end; takes up to `seconds`."""
        if self._stage is not LifespanState.STARTED:
            return
        self._stage = LifespanState.STOPPING
        self._answered.clear()
        self._ordered.set()
        to_end = min(CANCEL_SECONDS, seconds / 4)
        to_answer = seconds - 2 * to_end
        try:
            await asyncio.wait_for(self._answered.wait(), to_answer)
        except TimeoutError:
            self._log.error(f"the application did not finish its lifespan shutdown within {to_answer:.1f} s")
        await self._cancel(to_end)

    async def _cancel(self, seconds: float = CANCEL_SECONDS) -> None:
        """Wait so long for the call to end, if it has said all that it can say; then cancel it."""
        task = self._task
        if task is None or task.done():
            return
        if self._answered.is_set():
            await asyncio.wait([task], timeout=seconds)
        self._stage = LifespanState.OVER
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=seconds)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": LIFESPAN_SPEC_VERSION},
            "state": self._state,
        }
        error: BaseException | None = None
        try:
            await self._application(scope, self._receive, self._send)
        except BaseException as raised:  # a sys.exit() in a lifespan is its failure, not the loop's end
            error = raised
        stage, self._stage = self._stage, LifespanState.OVER
        if stage is LifespanState.STARTING and self._failure is None:
            self._judge_refusal(error)
        elif stage in {LifespanState.STARTED, LifespanState.STOPPING} and error is not None:
            when = "while it served" if stage is LifespanState.STARTED else "at shutdown"
            self._log.block(
                Level.ERROR, f"the application's lifespan failed {when}", application_traceback(error)
            )
        self._answered.set()

    def _judge_refusal(self, error: BaseException | None) -> None:
        """The call ended without an answer to startup."""
        if self._mode == "on":
            self._failure = (
                "its lifespan ended without an answer" if error is None else application_traceback(error)
            )
        elif error is not None and self._received:
            self._log.block(
                Level.WARNING,
                "the application's lifespan failed at startup: serving without it (--lifespan on makes this "
                "fatal)",
                application_traceback(error),
            )
        else:
            how = "it returned" if error is None else f"it raised {type(error).__name__}: {error}"
            self._log.record(self._absent, f"the application has no lifespan ({how})")

    async def _receive(self) -> Message:
        self._received += 1
        if self._received == 1:
            return {"type": "lifespan.startup"}
        await self._ordered.wait()
        self._ordered.clear()  # there is one shutdown; whoever receives again waits for ever
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        stage = self._stage
        if stage is LifespanState.STARTING and kind == "lifespan.startup.complete":
            self._stage = LifespanState.STARTED
            self._completed = True
        elif stage is LifespanState.STARTING and kind == "lifespan.startup.failed":
            self._failure = _text(message)
        elif stage is LifespanState.STOPPING and kind == "lifespan.shutdown.failed":
            self._log.block(Level.ERROR, "the application failed to shut down", _text(message))
        elif not (stage is LifespanState.STOPPING and kind == "lifespan.shutdown.complete"):
            raise AppMistake(f"unexpected ASGI message type {kind!r} while the lifespan is {stage.value}")
        self._answered.set()


def _text(message: Message) -> str:
    text = message.get("message", "")
    return text if isinstance(text, str) else repr(text)

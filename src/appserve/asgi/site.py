"""What all connections of one ASGI worker share: the application, the limits, the logs, the counts."""

import asyncio
import contextvars
import math
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from appserve.asgi.exchange import AsgiApplication, Exchange
from appserve.asgi.scope import Field
from appserve.connection.waiting import DeadlineQueue
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.forwarded import Forwarding
from appserve.http.messages import Limits, RequestHead
from appserve.http.timeouts import Timeouts
from appserve.observe.access import AccessLog
from appserve.observe.log import Level, Log
from appserve.observe.refusals import Refusals
from appserve.observe.scoreboard import ScoreboardRow
from appserve.observe.tally import Tally
from appserve.tracebacks import application_traceback

if TYPE_CHECKING:
    from appserve.asgi.protocol import HttpProtocol


ATTENTION = 0.5
"""Of a longer pause between two looks at the clients the application was the cause; see Site.attend."""


class Site:
    """Made once per worker. Everything in it is used by the event loop's thread only.

    state        the lifespan's state, of which each request gets a copy; None without a lifespan
    context      what requests start from: nothing that one application call sets is seen by another
    forwarding   reads what proxies say; None if nothing of it is heeded
    attended     seconds that the loop has had an eye on its clients
    connections  those that are open
    waiting      when each has to be looked at
    exchanges    those whose application runs, which may be longer than its response takes
    departed     called when a connection or an exchange has ended, if somebody wants to know
    """

    __slots__ = (
        "_lines_wait",
        "_looked",
        "access",
        "application",
        "attended",
        "connections",
        "context",
        "cutting",
        "date_fields",
        "departed",
        "exchanges",
        "fields",
        "forked",
        "forwarding",
        "keep_alive",
        "label",
        "limits",
        "log",
        "loop",
        "most_exchanges",
        "refusals",
        "root_path",
        "row",
        "scheme",
        "state",
        "tally",
        "timeouts",
        "waiting",
    )

    def __init__(
        self,
        application: AsgiApplication,
        loop: asyncio.AbstractEventLoop,
        fields: Fields[Field, Field],
        limits: Limits,
        timeouts: Timeouts,
        date_fields: DateFields,
        log: Log,
        access: AccessLog | None,
        row: ScoreboardRow,
    ) -> None:
        self.application = application
        self.loop = loop
        self.fields = fields
        self.limits = limits
        self.timeouts = timeouts
        self.date_fields = date_fields
        self.log = log
        self.access = access
        self.row = row
        self.scheme = "http"
        self.root_path = ""
        self.forwarding: Forwarding | None = None
        self.most_exchanges = 0  # that may run at a time; 0 is any number
        self.attended = 0.0
        self._looked = math.inf  # when it was renewed last
        self.state: dict[str, Any] | None = None
        self.context = contextvars.copy_context()
        self.connections: set[HttpProtocol] = set()
        self.waiting: DeadlineQueue[HttpProtocol] = DeadlineQueue()
        self.exchanges: set[Exchange] = set()
        self.departed: Callable[[], None] | None = None
        self.keep_alive = True  # else each response closes its connection
        self.forked = False  # this process is a child that the application forked, and no worker
        self.cutting = False  # the time to leave is over: what runs is cancelled, what comes is answered 503
        self.tally = Tally(row)
        self.refusals = Refusals(log, row)
        self.label = b""  # what the scoreboard shows
        self._lines_wait = False

    def attend(self, now: float) -> None:
        """The loop turns at `now` (monotonic); to be called a few times a second. While the application holds
        the loop up, `attended` stands still: no client is charged for that."""
        self.attended += min(max(0.0, now - self._looked), ATTENTION)
        self._looked = now

    def forget(self, connection: "HttpProtocol") -> None:
        """The connection is closed."""
        self.connections.discard(connection)
        self.waiting.forget(connection)
        if self.departed is not None:
            self.departed()

    def sweep(self) -> None:
        """Look at the waits that may have lasted too long; about once a second. An internal error ends one
        connection, and the others go on."""
        now = self.attended
        for connection in self.waiting.take(now):
            if connection not in self.connections:
                continue
            try:
                connection.sweep(now)
                self.waiting.rest(connection, connection.due(now))
            except Exception:
                self.log.block(
                    Level.CRITICAL, "internal error, a connection is dropped", traceback.format_exc()
                )
                with suppress(Exception):
                    connection.abort()
                self.forget(connection)

    def disown(self) -> None:
        """Runs in a child that the application forked: it has no part in the worker's connections."""
        self.forked = True
        try:
            null = os.open(os.devnull, os.O_RDWR)
            for connection in self.connections:
                connection.disown(null)
            os.close(null)
        except OSError:
            pass

    def show(self, label: bytes) -> None:
        """Tell the scoreboard what is being served: if the loop stalls now, this is likely to be why."""
        self.label = label
        self.row.set_request(label)

    def write_lines_soon(self) -> None:
        """Have the access log written: the lines of one turn of the loop leave together, in the next."""
        if not self._lines_wait:
            self._lines_wait = True
            self.loop.call_soon(self._write_lines)

    def _write_lines(self) -> None:
        self._lines_wait = False
        if self.access is not None:
            self.access.flush()

    def log_failure(self, exchange: Exchange, error: BaseException) -> None:
        """Log what an application call raised, unless the client's leaving or ours brought it about."""
        if exchange.disconnect_sent:
            # It knew that the client had left; what it raised since is how it took that.
            label = exchange.head.line.label.decode("latin-1")
            self.log.debug(f"{label}: {type(error).__name__} of the application after its client had left")
        elif not (self.cutting and isinstance(error, asyncio.CancelledError)):
            self.complain(exchange.head, f"it raised {type(error).__name__}", error)

    def complain(self, head: RequestHead[Field], problem: str, error: BaseException | None = None) -> None:
        """Log that the application did wrong. Query strings stay out of the log: they carry secrets."""
        self.tally.app_errors += 1
        headline = f"application error in {head.line.label.decode('latin-1')}: {problem}"
        if error is None:
            self.log.error(headline)
        else:
            self.log.block(Level.ERROR, headline, application_traceback(error))

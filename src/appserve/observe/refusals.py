"""Refused requests and dropped fields: counted, and logged without filling the log.

A client can cause refusals without limit, so each cause gets at most one line a minute, with the number of
suppressed lines; all of them are in the log at level debug, and in the counters of the scoreboard.
"""

import time
from _thread import allocate_lock  # threading would be imported for this alone in a worker without threads
from collections.abc import Callable

from appserve.errors import Cause, Rejected
from appserve.http.fields import Oddities
from appserve.observe.log import Level, Log
from appserve.observe.scoreboard import REFUSALS, REFUSED, ScoreboardRow

INTERVAL = 60.0
"""Seconds between two lines about one cause."""

NEVER = float("-inf")


class Refusals:
    """The refusals of one process; any thread may add one. `clock` gives monotonic seconds."""

    __slots__ = ("_clock", "_held_back", "_lock", "_log", "_next", "_oddities_next", "_words")

    def __init__(self, log: Log, row: ScoreboardRow, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._words = row.words
        self._clock = clock
        self._lock = allocate_lock()
        self._next = [NEVER] * len(Cause)  # when the next line may be written
        self._held_back = [0] * len(Cause)
        self._oddities_next = NEVER

    def add(self, peer: str, reason: str) -> None:
        """A connection of `peer` (its address, "" for that of a unix socket) was refused before its first
        request. `reason` holds no bytes of the peer: what was seen, and the rule.
        """
        with self._lock:
            self._words[REFUSED] += 1
        self._add(Cause.PROXY_HEADER, Level.WARNING, f"refused a connection from {_name(peer)}: {reason}")

    def add_request(self, peer: str, rejected: Rejected) -> None:
        """A request of `peer` was refused."""
        # Clients disconnect all the time: an aborted upload is not suspicious.
        level = Level.DEBUG if rejected.cause is Cause.INCOMPLETE else Level.INFO
        self._add(rejected.cause, level, f"refused a request from {_name(peer)}: {rejected}")

    def _add(self, cause: Cause, level: Level, line: str) -> None:
        with self._lock:
            self._words[REFUSALS + cause] += 1
            now = self._clock()
            if now < self._next[cause]:
                self._held_back[cause] += 1
                level = Level.DEBUG
            else:
                self._next[cause] = now + INTERVAL
                if self._held_back[cause]:
                    line += f"; {self._held_back[cause]} more for the same cause since the last such line"
                    self._held_back[cause] = 0
        self._log.record(level, line)

    def report(self, oddities: Oddities) -> None:
        """Log what was dropped or ignored since the last call. To be called about once a second."""
        if oddities.dropped_field and self._clock() >= self._oddities_next:
            self._oddities_next = self._clock() + INTERVAL
            name = oddities.dropped_field.decode("latin-1")
            oddities.dropped_field = b""
            self._log.info(
                f"dropped the request field {name}: the application could not distinguish its underscore "
                "from a hyphen (logged once a minute)"
            )
        if oddities.own_transfer_encoding:
            oddities.own_transfer_encoding = False
            self._log.warning(
                "ignored Transfer-Encoding of the application: the server frames responses itself "
                "(logged once per worker)"
            )
        if oddities.websocket_offered:
            oddities.websocket_offered = False
            self._log.warning(
                "ignored a WebSocket handshake: WebSocket is not supported; the application was called with "
                "a plain HTTP request (logged once per worker)"
            )


def _name(peer: str) -> str:
    return peer or "a local client"

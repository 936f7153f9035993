"""The state of the server as a whole: it starts, serves, is degraded, has an outage, or stops.

Each change is logged once, and an outage again and again. A server that had one for `give_up` seconds
should end, so that whoever runs it can try elsewhere; but only if something failed in that time, because a
slow import is no reason to give up.
"""

import math
from collections.abc import Iterator, Mapping
from enum import Enum

from appserve.master import worker_table
from appserve.master.events import Note, RosterTimeouts, workers_text
from appserve.observe.log import Level


class Standing(Enum):
    """The states of the server."""

    STARTING = "starting"  # nothing was ever READY
    SERVING = "serving"
    DEGRADED = "degraded"  # some slot fails, others serve
    OUTAGE = "outage"  # no worker is READY
    GRACEFUL = "graceful stop"
    QUICK = "quick stop"
    FORCED = "forced stop"
    STOPPED = "stopped"


STOPS = frozenset({Standing.GRACEFUL, Standing.QUICK, Standing.FORCED})

STANDING: Mapping[Standing, frozenset[Standing]] = {
    Standing.STARTING: frozenset({Standing.SERVING, Standing.GRACEFUL, Standing.QUICK}),
    Standing.SERVING: frozenset({Standing.DEGRADED, Standing.OUTAGE, Standing.GRACEFUL, Standing.QUICK}),
    Standing.DEGRADED: frozenset({Standing.SERVING, Standing.OUTAGE, Standing.GRACEFUL, Standing.QUICK}),
    Standing.OUTAGE: frozenset({Standing.SERVING, Standing.DEGRADED, Standing.GRACEFUL, Standing.QUICK}),
    Standing.GRACEFUL: frozenset({Standing.QUICK, Standing.STOPPED}),
    Standing.QUICK: frozenset({Standing.FORCED, Standing.STOPPED}),
    Standing.FORCED: frozenset({Standing.STOPPED}),
    Standing.STOPPED: frozenset(),
}


class Health:
    """The standing, and since when no worker is READY."""

    def __init__(self, now: float, timeouts: RosterTimeouts) -> None:
        self._timeouts = timeouts
        self.standing = Standing.STARTING
        self._down_since = now
        self._failures = 0  # since then
        self._remind_at = math.inf

    @property
    def is_stopping(self) -> bool:
        return self.standing in STOPS or self.standing is Standing.STOPPED

    @property
    def _is_down(self) -> bool:
        return self.standing in (Standing.STARTING, Standing.OUTAGE)

    def to(self, standing: Standing) -> None:
        self.standing = worker_table.step(STANDING, self.standing, standing)

    def next_stop(self, *, graceful: bool) -> Standing | None:
        """What a request to stop means now: each further one is more urgent. None: no more can be done."""
        match self.standing:
            case Standing.GRACEFUL:
                return Standing.QUICK
            case Standing.QUICK:
                return Standing.FORCED
            case Standing.FORCED | Standing.STOPPED:
                return None
            case _:
                return Standing.GRACEFUL if graceful else Standing.QUICK

    def count_failure(self) -> None:
        self._failures += 1

    def on_ready(self) -> None:
        """A worker is READY, perhaps the first."""
        if self.standing is Standing.STARTING:
            self.to(Standing.SERVING)

    def assess(self, ready: int, planned: int, is_failing: bool, now: float) -> list[Note]:
        """How many are READY, and whether a slot without a READY worker fails; gives what to log."""
        if self.standing is Standing.STARTING:
            return []
        standing = Standing.DEGRADED if is_failing else Standing.SERVING
        if ready == 0:
            standing = Standing.OUTAGE
        if standing is self.standing:
            return self._remind(now)
        self.to(standing)
        count = f"{ready} of {workers_text(planned)} ready"
        if standing is Standing.OUTAGE:
            self._down_since, self._failures = now, 0
            self._remind_at = now + self._timeouts.outage_reminder
            return [Note(Level.ERROR, "outage: no worker is ready")]
        if standing is Standing.DEGRADED:
            return [Note(Level.WARNING, f"degraded: {count}")]
        return [Note(Level.INFO, f"recovered: {count}")]

    def down_for(self, now: float) -> float:
        """Seconds since the last worker was READY, if none is."""
        return now - self._down_since if self._is_down else 0.0

    def is_down_too_long(self, now: float) -> bool:
        return self._is_down and self._failures > 0 and now >= self._down_since + self._timeouts.give_up

    def deadlines(self) -> Iterator[float]:
        """When to look again although nothing happened."""
        if self.standing is Standing.OUTAGE:
            yield self._remind_at
        if self._is_down and self._failures:
            yield self._down_since + self._timeouts.give_up

    def _remind(self, now: float) -> list[Note]:
        if self.standing is not Standing.OUTAGE or now < self._remind_at or self.is_down_too_long(now):
            return []
        self._remind_at = now + self._timeouts.outage_reminder
        return [Note(Level.ERROR, f"outage: no worker is ready since {self.down_for(now):.0f} s")]

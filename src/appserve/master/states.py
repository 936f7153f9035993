"""The states of a worker, of the server and of a reload, and which may follow which.

The roster moves only along these tables: `step` holds it to them, and tests check that every step is taken.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import TypeVar

S = TypeVar("S", bound=Enum)

#: Told of each step, as (before, after).
Watch = Callable[[Enum, Enum], None]


def watch_nothing(before: Enum, after: Enum) -> None:
    """For those who do not want to know."""


def step(table: Mapping[S, frozenset[S]], before: S, after: S, watch: Watch) -> S:
    """`after`, which has to be a state that may follow `before`."""
    assert after in table[before], f"{before} → {after}"
    watch(before, after)
    return after


class Life(Enum):
    """The states of one worker."""

    ASKED = "asked"  # Spawn was decided, no pid yet
    REVOKED = "revoked"  # and is not wanted any more
    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"  # told to leave, by us or by a signal
    SUSPECT = "suspect"  # about to be killed, writes its stacks
    KILLED = "killed"
    GONE = "gone"


LIFE: Mapping[Life, frozenset[Life]] = {
    Life.ASKED: frozenset({Life.BOOTING, Life.REVOKED, Life.GONE}),
    Life.REVOKED: frozenset({Life.DRAINING, Life.GONE}),
    Life.BOOTING: frozenset({Life.READY, Life.DRAINING, Life.GONE}),
    Life.READY: frozenset({Life.DRAINING, Life.SUSPECT, Life.GONE}),
    Life.DRAINING: frozenset({Life.SUSPECT, Life.KILLED, Life.GONE}),
    Life.SUSPECT: frozenset({Life.KILLED, Life.GONE}),
    Life.KILLED: frozenset({Life.GONE}),
    Life.GONE: frozenset(),
}


class Standing(Enum):
    """The states of the server."""

    STARTING = "starting"  # nothing was ever READY
    SERVING = "serving"
    DEGRADED = "degraded"  # some slot fails, others serve
    OUTAGE = "outage"  # nobody is READY
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


class Roll(Enum):
    """The states of a reload."""

    IDLE = "idle"
    READING = "reading settings"
    CANARY = "canary"  # the first worker of the new generation boots
    ROLLING = "rolling"  # each new one that is READY retires an old one


ROLL: Mapping[Roll, frozenset[Roll]] = {
    Roll.IDLE: frozenset({Roll.READING}),
    Roll.READING: frozenset({Roll.CANARY, Roll.ROLLING, Roll.IDLE}),
    Roll.CANARY: frozenset({Roll.ROLLING, Roll.IDLE}),
    Roll.ROLLING: frozenset({Roll.READING, Roll.IDLE}),
}

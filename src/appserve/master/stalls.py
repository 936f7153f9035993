"""Which workers are late: to be ready, or to make progress. Pure; the time is an argument.

A worker that boots: an import that waits for a database, or for a lock, logs nothing by itself, and is no
reason to kill. So the worker writes its stacks into its black box after LOOK_AFTER and again at --timeout,
and the log gets them. Times are seconds of the monotonic clock.

A worker that serves: its progress is watched, and times are nanoseconds of that clock.

Progress is what the scoreboard shows. Where the loop stands still while the application runs (sync), it is
the begin of the call, and then each piece of the response that the application hands over; else it is a turn
of the loop. So a call may take as long as it likes while it hands over pieces. No worker has to answer.

When the master itself was paused (SIGSTOP, a frozen container), so were its workers, most likely: the clock
went on while no process could run. A turn that comes later than it should by more than TOLERATED shows
how much was lost, and no worker is charged for it.
"""

from collections import deque
from collections.abc import Iterable

from appserve.observe.scoreboard import BUSY_SINCE_NS, TICK_NS, ScoreboardRow, WorkerState
from appserve.values import Value

#: How late a turn may be on a busy machine before it counts as a pause; nanoseconds.
TOLERATED = 1_000_000_000

#: A loop that is idle turns about once a second, and owes nothing before that; nanoseconds.
TICK = 1_000_000_000

#: Seconds until a look at a worker that is not ready yet.
LOOK_AFTER = 10.0

#: How long a worker has to write its stacks, also on a busy machine.
WRITING = 2.0

_WORKING = (WorkerState.READY, WorkerState.DRAINING)
_PAUSES_KEPT = 64


class _Pause(Value):
    ended: int
    lost: int


class StallWatch:
    """How long workers make no progress, without the time in which the master was paused."""

    def __init__(self, now: int) -> None:
        self._turned = now
        self._pauses: deque[_Pause] = deque(maxlen=_PAUSES_KEPT)

    def turned(self, now: int, waited: int) -> int:
        """The loop turned after a wait that should have taken at most `waited`; gives what was lost, 0
        normally."""
        late = now - self._turned - waited
        self._turned = now
        if late <= TOLERATED:
            return 0
        self._pauses.append(_Pause(now, late))
        return late

    def stalled_for(self, row: ScoreboardRow, now: int, *, by_call: bool = True) -> int:
        """How long this worker has made no progress. 0 for a worker that boots or is gone.

        `by_call`: whether its loop cannot turn while the application runs.
        """
        if row.state not in _WORKING:
            return 0
        since = row.stall_reference_ns if by_call else row.words[TICK_NS]
        if not by_call or not row.words[BUSY_SINCE_NS]:
            since += TICK
        return max(0, now - since - self._lost_since(since))

    def _lost_since(self, moment: int) -> int:
        return sum(pause.lost for pause in self._pauses if pause.ended > moment)


def is_stalled(stalled: int, timeout: float) -> bool:
    """Whether a stall is longer than --timeout; 0 switches it off."""
    return timeout > 0 and stalled >= timeout * 1e9


def next_look(stalls: Iterable[tuple[int, float]]) -> float:
    """Seconds until the first of these (stalled for, timeout) could be overdue."""
    left = [timeout - stalled / 1e9 for stalled, timeout in stalls if timeout > 0]
    return max(0.0, min(left, default=float("inf")))


class Look(Value):
    """When the master looks at a worker that still boots: to request its stacks, or to log them (`reads`)."""

    at: float
    reads: bool


def boot_looks(born: float, timeout: float) -> list[Look]:
    """All looks at a worker that was forked at `born`, in order."""
    moments = sorted({LOOK_AFTER, timeout} - {0.0})
    return [Look(born + moment + wait, wait > 0) for moment in moments for wait in (0.0, WRITING)]

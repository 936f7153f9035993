"""Which workers are late: to be ready, or to make progress. Pure; the time is an argument.

A worker that boots: an import that waits for a database, or for a lock, says nothing by itself, and is no
reason to kill. So the worker writes its stacks into its black box after LOOK_AFTER and again at --timeout,
and the log gets them. Times are seconds of the monotonic clock.

A worker that serves: its progress is judged, and times are nanoseconds of that clock.

Progress is what the scoreboard shows. Where the loop stands still while the application runs (sync), it is
the begin of the call, and then each piece of the response that the application hands over; else it is a turn
of the loop. So a call may take as long as it likes while it hands over pieces. No worker is asked.

When the master itself was paused (SIGSTOP, a frozen container), so were its workers, most likely: the clock
went on and nobody could do anything. A turn that comes later than it should by more than TOLERATED tells
how much was lost, and no worker is charged for it.
"""

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum

from appserve.observe.scoreboard import BUSY_SINCE_NS, TICK_NS, ScoreboardRow, WorkerState
from appserve.values import Value

#: How late a turn may be on a busy machine before it counts as a pause; nanoseconds.
TOLERATED = 1_000_000_000

#: A loop that is idle turns about once a second, and owes nothing before that; nanoseconds.
TICK = 1_000_000_000

#: Seconds until a look at a worker that is not ready yet.
LOOK_AFTER = 10.0

#: How long stacks are waited for: as a rule, and on a machine that is very busy.
WRITING = 0.3
LONGEST_WRITING = 3.0

_WORKING = (WorkerState.READY, WorkerState.DRAINING)
_PAUSES_KEPT = 64


class _Pause(Value):
    ended: int
    lost: int


class StallWatch:
    """Remembers when the master was paused, and judges rows with that."""

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
        """How long this worker has made no progress. A worker that boots or is gone is not judged: 0.

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


class Step(Enum):
    """What is to be done."""

    DUMP = "have it write its stacks"
    READ = "log them, if they are there"
    LAST_READ = "log what is there"


class BootWatch:
    """The looks at one worker that was born at `born`, until it is ready."""

    __slots__ = ("_give_up_at", "_moments", "_read_at")

    def __init__(self, born: float, timeout: float) -> None:
        moments = {LOOK_AFTER, timeout} - {0.0}
        self._moments = sorted((born + moment for moment in moments), reverse=True)
        self._read_at = self._give_up_at = math.inf

    def next_at(self) -> float:
        """When the next step is due; infinite if never."""
        if self._read_at < math.inf:
            return self._read_at
        return self._moments[-1] if self._moments else math.inf

    def step(self, now: float) -> Step | None:
        """What is to be done now. After READ without stacks it is asked again."""
        if now >= self._read_at:
            self._read_at = now + WRITING
            return Step.READ if now < self._give_up_at else Step.LAST_READ
        if self._read_at == math.inf and now >= self.next_at():
            self._moments.pop()
            self._read_at, self._give_up_at = now + WRITING, now + LONGEST_WRITING
            return Step.DUMP
        return None

    def done(self) -> None:
        """The stacks were logged."""
        self._read_at = self._give_up_at = math.inf

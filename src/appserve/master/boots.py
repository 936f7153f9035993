"""When to look at a worker that is not ready yet. Pure; times are monotonic seconds.

An import that waits for a database, or for a lock, says nothing by itself, and is no reason to kill. So the
worker writes its stacks into its black box after LOOK_AFTER and again at --timeout, and the log gets them.
"""

import math
from enum import Enum

LOOK_AFTER = 10.0

#: How long stacks are waited for: as a rule, and on a machine that is very busy.
WRITING = 0.3
LONGEST_WRITING = 3.0


class Step(Enum):
    """What is to be done."""

    DUMP = "have it write its stacks"
    READ = "log them, if they are there"
    LAST_READ = "log what is there"


class BootWatch:
    """The looks at one worker that was born at `born`."""

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

"""How long a connection may wait for its peer, decided without a clock.

A worker sweeps its connections about once a second and asks each one's Watch; there is no timer per
request, so waiting costs a busy connection nothing. The price is the sweep's grain: a limit of 30 s
ends a wait after 30 to 32 s.
"""

from dataclasses import dataclass
from enum import IntEnum


class Waiting(IntEnum):
    """What a connection waits for. The time spent in APPLICATION is never the peer's fault."""

    APPLICATION = 0
    IDLE = 1  # for the first byte of a request
    HEAD = 2  # for the rest of a request head
    BODY = 3  # for more of a request body
    READER = 4  # for the peer to take what was written


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds allowed for each wait; 0 means for ever.

    idle   from the end of a response (or from the accept) to the first byte of the next request
    head   from a head's first byte to its last, however it trickles
    body   without any byte of the body
    write  without the peer taking any byte
    """

    idle: float
    head: float
    body: float
    write: float

    def limit(self, waiting: Waiting) -> float:
        """Seconds that this wait may last."""
        if waiting is Waiting.IDLE:
            return self.idle
        if waiting is Waiting.HEAD:
            return self.head
        if waiting is Waiting.BODY:
            return self.body
        if waiting is Waiting.READER:
            return self.write
        return 0.0


class Watch:
    """Notices that a connection has been in the same wait, without progress, for too long."""

    __slots__ = ("_mark", "_since", "_waiting")

    def __init__(self) -> None:
        self._waiting = Waiting.APPLICATION
        self._mark = 0
        self._since = 0.0

    def overdue(self, waiting: Waiting, mark: int, now: float, patience: Patience) -> bool:
        """Whether the wait has lasted longer than `patience` allows.

        `mark` is any number that changes with progress: for IDLE and HEAD how many requests came before,
        for BODY the bytes received, for READER the bytes taken. `now` is monotonic seconds.
        """
        if waiting is not self._waiting or mark != self._mark:
            self._waiting = waiting
            self._mark = mark
            self._since = now
            return False
        allowed = patience.limit(waiting)
        return allowed > 0 and now - self._since > allowed

"""How long a connection may wait for its peer, decided without a clock.

A worker sweeps about once a second and asks the WaitTimer of each connection whose wait may be over
(connection/waiting.py); there is no timer per request, so waiting costs a busy connection nothing. The price
is the sweep's grain: a limit of 30 s ends a wait after 30 to 32 s.
"""

import math
from dataclasses import dataclass
from enum import IntEnum

from appserve.errors import Rejected

LINGER_SILENCE = 2.0
"""Seconds without a byte after which a peer that had been sending is taken to have seen our last response."""

LINGER_LONGEST = 30.0
"""Seconds for which it may go on sending: an upload that was refused, by a client that reads when it has
sent all of it."""


READER_LOOKS = 8
"""How often a reader is looked at in the time that it may take nothing; so its wait ends an eighth late."""


class WaitFor(IntEnum):
    """What a connection waits for. The time spent in APPLICATION is never the peer's fault."""

    APPLICATION = 0
    FIRST = 1  # for the first byte of the first request
    IDLE = 2  # for the first byte of a further one
    HEAD = 3  # for the rest of a request head
    BODY = 4  # for more of a request body
    READER = 5  # for the peer to take what was written
    END = 6  # for the peer to stop sending, after it has taken our last response


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds allowed for each wait; 0 means for ever.

    first      from the accept to the first byte of the first request
    idle       from the end of a response to the first byte of the next request
    head       from a head's first byte to its last, however it trickles
    body       without any byte of the body
    body_rate  bytes a second that a body has to come at, on average over the last one to three times `body`
    write      without the peer taking any byte
    """

    first: float
    idle: float
    head: float
    body: float
    body_rate: int
    write: float

    def limit(self, waiting: WaitFor) -> float:
        """Seconds that this wait may last without progress."""
        if waiting is WaitFor.FIRST:
            return self.first
        if waiting is WaitFor.IDLE:
            return self.idle
        if waiting is WaitFor.HEAD:
            return self.head
        if waiting is WaitFor.BODY:
            return self.body
        if waiting is WaitFor.READER:
            return self.write
        if waiting is WaitFor.END:
            return LINGER_SILENCE
        return 0.0


class WaitTimer:
    """Notices that a connection has been in the same wait for too long."""

    __slots__ = (
        "_is_silent",
        "_mark",
        "_next_at",
        "_next_mark",
        "_since",
        "_waiting",
        "_window_at",
        "_window_mark",
    )

    def __init__(self) -> None:
        self._waiting = WaitFor.APPLICATION
        self._begin(0, 0.0)

    def _begin(self, mark: int, now: float) -> None:
        self._mark = self._window_mark = self._next_mark = mark
        self._since = now  # the last progress
        self._is_silent = True  # there was none when it was looked at last
        # The rate is judged from the beginning of a window, which moves on to the next mark when that is old
        # enough; for other waits it is the beginning of the wait.
        self._window_at = self._next_at = now

    def expired(self, waiting: WaitFor, mark: int, now: float, timeouts: Timeouts) -> bool:
        """Whether the wait has lasted longer than `timeouts` allows, or goes on too slowly.

        `mark` is any number that grows with progress: for FIRST, IDLE and HEAD how many requests came
        before, for BODY and END the bytes received, for READER the bytes taken. `now` is monotonic seconds.
        """
        if waiting is not self._waiting or mark < self._mark:
            self._waiting = waiting
            self._begin(mark, now)
            return False
        allowed = timeouts.limit(waiting)
        self._is_silent = mark == self._mark
        if not self._is_silent:
            self._mark = mark
            self._since = now
            if waiting is WaitFor.END:
                return now - self._window_at > LINGER_LONGEST
            if waiting is WaitFor.BODY and timeouts.body_rate and allowed:
                return self._is_slow(allowed, now, timeouts.body_rate)
            return False
        return allowed > 0 and now - self._since > allowed

    def _is_slow(self, least: float, now: float, rate: int) -> bool:
        """Whether less than `rate` bytes a second came in the window, which is `least` seconds long, and up
        to three times as long: the average since the beginning would let a burst pay for all that follows."""
        took = now - self._window_at
        is_slow = took > least and self._mark - self._window_mark < rate * took
        if now - self._next_at >= least:
            self._window_at, self._window_mark = self._next_at, self._next_mark
            self._next_at, self._next_mark = now, self._mark
        return is_slow

    def rejection(self, timeouts: Timeouts) -> Rejected:
        """What a request is answered whose head, or body, was found overdue."""
        if self._waiting is not WaitFor.BODY:
            return Rejected(408, f"request head incomplete after {timeouts.head:g} s (--head-timeout)")
        if self._is_silent:
            return Rejected(408, f"no data of the request body for {timeouts.body:g} s (--body-timeout)")
        rate = timeouts.body_rate
        return Rejected(408, f"request body slower than {rate} bytes a second (--body-rate)")

    def due(self, now: float, timeouts: Timeouts) -> float:
        """The earliest time at which the wait that was looked at last may be overdue, unless something
        happens on the connection before; inf for never."""
        allowed = timeouts.limit(self._waiting)
        if not allowed:
            return math.inf
        due = self._since + allowed
        # That a reader takes something of what the kernel holds is no event.
        return min(due, now + allowed / READER_LOOKS) if self._waiting is WaitFor.READER else due

    @property
    def since(self) -> float:
        """When the last progress of the wait was seen."""
        return self._since

    def has_seen(self, waiting: WaitFor, mark: int) -> bool:
        """Whether this is the wait, and the progress, that `expired` was given last."""
        return waiting is self._waiting and mark == self._mark

"""Whether a worker keeps its connections, or sends each client back to the queue that all workers share.

A connection that is kept alive belongs to one worker, so its next request waits for whatever that worker is
doing, while siblings may be idle. Nothing can be handed over in that moment: the thread that could do it is
in the application. What can be done is to keep fewer connections where requests would wait: a response with
`Connection: close` makes its client connect again, to a worker that is free.

So there is one rule: every response closes if requests were held up for long within the last MEMORY seconds,
here or in a sibling. In a sync worker a call of the application holds up all other requests; in a threads
worker only the want of a free thread does. Siblings count because a long call may come to any worker: those
that had none of late would collect the clients that others let go.
"""

from appserve.observe.scoreboard import BUSY_SINCE_NS, HELD_UP_NS, Scoreboard, ScoreboardRow
from appserve.wsgi.service import KeepAlive

MEMORY_NS = 10_000_000_000
"""For so long it counts that requests were held up."""

LONG_NS = 300_000_000
"""Being held up for longer than this is worse than a new connection now and then, which takes far less."""

LONG_TLS_NS = 1_000_000_000
"""The same where a new connection begins with a handshake: with it come round trips, and calculations."""


class KeepAlivePolicy:
    """Sets `keep_alive.closes` for one worker. Times are monotonic nanoseconds."""

    def __init__(
        self,
        keep_alive: KeepAlive,
        board: Scoreboard,
        row: ScoreboardRow,
        *,
        has_one_thread: bool,
        is_tls: bool,
    ) -> None:
        """`row` is the worker's own of the `board`."""
        self._keep_alive = keep_alive
        self._never_keeps = keep_alive.closes
        self._board = board
        self._row = row
        self._has_one_thread = has_one_thread
        self._long = LONG_TLS_NS if is_tls else LONG_NS

    def end(self) -> None:
        """From now on each response is its connection's last."""
        self._never_keeps = self._keep_alive.closes = True

    def update(self, now: int, held_up: int) -> None:
        """Once a second: requests were held up here for `held_up` ns at most since the last time."""
        if held_up > self._long:
            self._row.words[HELD_UP_NS] = now
        siblings = self._board.siblings(self._row)
        self._keep_alive.closes = self._never_keeps or (
            bool(siblings)
            and (
                self._is_recent(self._row, now) or any(self._is_recent(sibling, now) for sibling in siblings)
            )
        )

    def _is_recent(self, row: ScoreboardRow, now: int) -> bool:
        """Whether requests are held up for long in the worker of this row, or were of late."""
        since = row.words[BUSY_SINCE_NS]
        if self._has_one_thread and since and now - since > self._long:
            return True
        at = row.words[HELD_UP_NS]
        return at > 0 and now - at < MEMORY_NS

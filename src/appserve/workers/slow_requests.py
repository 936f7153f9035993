"""What the log says of a thread whose call of the application makes no progress.

A thread that is stuck in the application cannot be ended: Python has no way to do it, and whatever it holds
(locks, a database's connection) would stay held. It can be told of, with the request and the line that it
hangs in, while the other threads go on serving.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from appserve.observe.counters import Counters
from appserve.observe.log import Level, Log
from appserve.tracebacks import application_stack


@dataclass(frozen=True, slots=True)
class _Told:
    """A stall that was logged: when the call began (which identifies it), the progress before the stall,
    both in monotonic ns, and the request line."""

    since: int
    stalled_since: int
    request: str


class SlowRequests:
    """Logs calls of the application that have made no progress for `limit` seconds (--timeout); 0 disables.

    Progress is what it is in a sync worker: each piece of the response that the application hands over. A
    stall is logged once when it is noticed, with the thread's stack, and again when it is over.
    """

    def __init__(self, limit: float, log: Log, slot: int) -> None:
        self._limit = int(limit * 1e9)
        self._log = log
        self._slot = slot
        self._told: dict[Counters, _Told] = {}

    def look(self, threads: Sequence[Counters], now_ns: int) -> None:
        """Once a second."""
        if not self._limit:
            return
        for thread in threads:
            since, progressed = thread.since, thread.stall_reference_ns
            told = self._told.get(thread)
            if told is not None and (told.since, told.stalled_since) != (since, progressed):
                del self._told[thread]
                self._log_end(thread, told, has_returned=told.since != since)
                told = None
            if told is None and since and now_ns - progressed > self._limit:
                self._log_stall(thread, since, progressed, now_ns)

    def _log_end(self, thread: Counters, told: _Told, *, has_returned: bool) -> None:
        """The thread may have had other calls since, all of them within a second after the last look."""
        if has_returned:
            seconds = (thread.ended - told.since) / 1e9
            self._log.warning(f"{self._who(thread)} returned after {seconds:.1f} s: {told.request}")
        else:
            seconds = (thread.progressed - told.stalled_since) / 1e9
            self._log.warning(
                f"{self._who(thread)} makes progress again after {seconds:.1f} s: {told.request}"
            )

    def _log_stall(self, thread: Counters, since: int, progressed: int, now_ns: int) -> None:
        request = thread.label.decode("latin-1")
        client = (thread.connection and thread.connection.peer) or "a local client"
        frame = sys._current_frames().get(thread.ident)
        stack = application_stack(frame) if frame is not None else ""
        del frame
        if (thread.since, thread.stall_reference_ns) != (since, progressed):
            return  # it has made progress meanwhile
        self._told[thread] = _Told(since, progressed, request)
        self._log.block(
            Level.WARNING,
            f"{self._who(thread)} has made no progress for {(now_ns - progressed) / 1e9:.1f} s "
            f"(--timeout {self._limit / 1e9:g}), serving {request} from {client} "
            f"for {(now_ns - since) / 1e9:.1f} s",
            stack,
        )

    def _who(self, thread: Counters) -> str:
        return f"worker {self._slot} (pid {os.getpid()}), {thread.name},"

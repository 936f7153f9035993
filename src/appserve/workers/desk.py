"""What each thread of a worker is doing, and a word in the log about one that does not come back.

A thread that is stuck in the application cannot be ended: Python has no way to do it, and whatever it holds
(locks, a database's connection) would stay held. It can be told of, with the request and the line that it
hangs in, while the other threads go on serving.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from appserve.observe.log import Level, Log
from appserve.observe.tally import Counts, Showcase
from appserve.tracebacks import application_stack
from appserve.wsgi.connection import WsgiConnection
from appserve.wsgi.service import Service


class Desk(Counts):
    """The place of one thread: what it does and has done, for others to read. Only the thread itself writes.

    connection   the one that it had last; its own to touch only while the thread has it
    service      what its connections share, with this desk to count at
    """

    __slots__ = ("_showcase", "connection", "ident", "name", "service")

    def __init__(self, name: str, showcase: Showcase, service: Service) -> None:
        super().__init__()
        self._showcase = showcase
        self.name = name
        self.ident = 0
        self.connection: WsgiConnection | None = None
        self.service = service.counted_by(self)

    def begin(self, label: bytes, now_ns: int) -> None:
        # hot: bench threads-hello.
        self.label = label
        self.since = now_ns
        if not self._showcase.since:
            self._showcase.put(label, now_ns)

    @property
    def client(self) -> str:
        """The address that the current or last request came from, "" for that of a unix socket."""
        return "" if self.connection is None else self.connection.peer


@dataclass(frozen=True, slots=True)
class _Told:
    """What the log was told of: the how-manieth request of a thread, since when, and its line."""

    number: int
    since: int
    request: str


class StuckWatch:
    """Tells of requests that have been in the application for longer than `limit` seconds; 0 tells of none.

    Once when it is noticed, with the thread's stack, and again when it is over.
    """

    def __init__(self, desks: Sequence[Desk], limit: float, log: Log, slot: int) -> None:
        self._desks = desks
        self._limit = int(limit * 1e9)
        self._log = log
        self._slot = slot
        self._told: dict[Desk, _Told] = {}

    def look(self, now_ns: int) -> None:
        """Once a second."""
        if not self._limit:
            return
        for desk in self._desks:
            number, since = desk.requests, desk.since
            told = self._told.get(desk)
            if told is not None and told.number != number:
                del self._told[desk]
                # It may have had others since, but all of them within the second since we looked.
                age = (desk.ended - told.since) / 1e9
                self._log.warning(f"{self._who(desk)} came back after {age:.1f} s: {told.request}")
                told = None
            if told is None and since and not desk.paused and now_ns - since > self._limit:
                self._tell(desk, number, since, now_ns)

    def _tell(self, desk: Desk, number: int, since: int, now_ns: int) -> None:
        request = desk.label.decode("latin-1")
        client = desk.client or "a local client"
        frame = sys._current_frames().get(desk.ident)
        stack = application_stack(frame) if frame is not None else ""
        del frame
        if desk.requests != number or desk.since != since:
            return  # it was coming back
        self._told[desk] = _Told(number, since, request)
        self._log.block(
            Level.WARNING,
            f"{self._who(desk)} has been in the application for {(now_ns - since) / 1e9:.1f} s: "
            f"{request}, from {client} (see --timeout)",
            stack,
        )

    def _who(self, desk: Desk) -> str:
        return f"worker {self._slot} (pid {os.getpid()}), {desk.name},"

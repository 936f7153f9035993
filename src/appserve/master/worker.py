"""One worker of the roster: its states, and what is decided at each step of its end.

    ASKED ─spawned→ BOOTING ─ready→ READY ─retire→ DRAINING ─exited→ GONE
      └revoked→ REVOKED ─spawned→ DRAINING   └overdue→ SUSPECT ─dumped→ KILLED ─exited→ GONE

Every way to end a worker has a limit of time and a next one that is harder.
"""

import math
from dataclasses import dataclass

from appserve.master.decisions import (
    Dump,
    Interrupt,
    Kill,
    LeaveBehind,
    Patience,
    Quit,
    Reason,
    Retire,
    Stop,
)
from appserve.master.states import LIFE, Life, Watch, step


@dataclass(slots=True)
class Worker:
    """One process, or the request for one."""

    ticket: int
    slot: int
    generation: int
    asked_at: float
    patience: Patience
    watch: Watch
    state: Life = Life.ASKED
    pid: int = 0
    ready_at: float = math.inf
    #: When the present state has to be over.
    deadline: float = math.inf
    reason: Reason = Reason.GRACE_OVER

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"

    def become(self, state: Life) -> None:
        self.state = step(LIFE, self.state, state, self.watch)

    def retire(self, graceful: float, now: float) -> Retire:
        """Let it finish what it has, within `graceful` seconds."""
        self.drain(graceful, now)
        return Retire(self.pid, self.patience.linger, graceful)

    def drain(self, graceful: float, now: float) -> None:
        """It leaves within `graceful` seconds, because of an order or by itself."""
        if self.state is Life.READY:
            self.become(Life.DRAINING)
        self.deadline = min(self.deadline, now + graceful + self.patience.grace_margin)

    def interrupt(self, now: float) -> Interrupt:
        """End it before it was READY."""
        self.become(Life.DRAINING)
        self.deadline = now + self.patience.quick
        return Interrupt(self.pid)

    def stop(self, graceful: float, now: float) -> Stop:
        """Let it finish what it has and what waits, within `graceful` seconds; it may be leaving already."""
        self.drain(graceful, now)
        return Stop(self.pid, self.patience.linger, graceful)

    def quit(self, now: float) -> Quit:
        """Let it leave now; it may be leaving already."""
        if self.state is Life.READY:
            self.become(Life.DRAINING)
        self.deadline = min(self.deadline, now + self.patience.quick + self.patience.quick_margin)
        return Quit(self.pid, self.patience.quick)

    def suspect(self, reason: Reason, now: float) -> Dump:
        """Have it write its stacks, before it is killed."""
        self.become(Life.SUSPECT)
        self.reason = reason
        self.deadline = now + self.patience.dump
        return Dump(self.pid)

    def kill(self, reason: Reason, now: float) -> Kill:
        self.become(Life.KILLED)
        self.deadline = now + self.patience.death
        return Kill(self.pid, reason)

    def press(self, now: float) -> Dump | Kill | LeaveBehind:
        """Its time is over: what is harder than what was tried."""
        match self.state:
            case Life.DRAINING:
                return self.suspect(Reason.GRACE_OVER, now)
            case Life.SUSPECT:
                return self.kill(self.reason, now)
            case _:
                return LeaveBehind(self.pid)

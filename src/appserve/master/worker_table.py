"""The roster's table: every worker from its request to its exit, and the generations that they are of.

Facts, no rules: which workers there are, which slots are empty, which workers are too many, how far a reload
is. The rules are in roster.py.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from appserve.master import events
from appserve.observe.log import Level
from appserve.workers.channel import QuitOrder, RetireOrder, StopOrder

S = TypeVar("S", bound=Enum)


def step(table: Mapping[S, frozenset[S]], before: S, after: S) -> S:
    """`after`, which has to be a state that may follow `before`."""
    assert after in table[before], f"{before} → {after}"
    return after


class Life(Enum):
    """The states of one worker."""

    REQUESTED = "requested"  # Spawn was decided, no pid yet
    REVOKED = "revoked"  # and is not wanted any more
    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"  # leaves, because of an order or a signal
    SUSPECT = "suspect"  # about to be killed, writes its stacks
    KILLED = "killed"
    GONE = "gone"


LIFE: Mapping[Life, frozenset[Life]] = {
    Life.REQUESTED: frozenset({Life.BOOTING, Life.REVOKED, Life.GONE}),
    Life.REVOKED: frozenset({Life.DRAINING, Life.GONE}),
    Life.BOOTING: frozenset({Life.READY, Life.DRAINING, Life.GONE}),
    Life.READY: frozenset({Life.DRAINING, Life.SUSPECT, Life.GONE}),
    Life.DRAINING: frozenset({Life.SUSPECT, Life.KILLED, Life.GONE}),
    Life.SUSPECT: frozenset({Life.KILLED, Life.GONE}),
    Life.KILLED: frozenset({Life.GONE}),
    Life.GONE: frozenset(),
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


@dataclass(slots=True)
class Worker:
    """One process, or the request for one."""

    ticket: int
    slot: int
    generation: int
    requested_at: float
    timeouts: events.RosterTimeouts
    state: Life = Life.REQUESTED
    pid: int = 0
    ready_at: float = math.inf
    #: When the present state has to be over, and what the log says if the worker is killed then.
    deadline: float = math.inf
    why: str = ""
    ordered: bool = False  # to leave

    def __str__(self) -> str:
        return f"worker {self.slot} (pid {self.pid})"

    @property
    def was_ready(self) -> bool:
        return self.ready_at < math.inf

    def become(self, state: Life) -> None:
        self.state = step(LIFE, self.state, state)

    def leave(self, order: RetireOrder | StopOrder | QuitOrder, now: float) -> events.Order:
        """Order it to leave; it may be leaving already."""
        self.ordered = True
        self.drain(order.deadline, now, quick=isinstance(order, QuitOrder))
        return events.Order(self.pid, order)

    def drain(self, seconds: float, now: float, *, quick: bool = False) -> None:
        """It leaves within `seconds`, because of an order or by itself."""
        if self.state is Life.READY:
            self.become(Life.DRAINING)
        margin = self.timeouts.quick_margin if quick else self.timeouts.grace_margin
        self.deadline = min(self.deadline, now + seconds + margin)
        limit = "quick stop" if quick else "--graceful-timeout"
        self.why = f"still busy: {limit} ({seconds:g} s) exceeded"

    def interrupt(self, now: float) -> events.Interrupt:
        """End it before it was READY."""
        self.become(Life.DRAINING)
        self.deadline = now + self.timeouts.quick
        self.why = "still busy: the time to stop while booting exceeded"
        self.ordered = True
        return events.Interrupt(self.pid)

    def suspect(self, why: str, now: float) -> events.Dump:
        """Have it write its stacks, before it is killed."""
        self.become(Life.SUSPECT)
        self.why = why
        self.deadline = now + self.timeouts.dump
        return events.Dump(self.pid)

    def kill(self, why: str, now: float) -> events.Kill:
        self.become(Life.KILLED)
        self.deadline = now + self.timeouts.death
        return events.Kill(self.pid, why)

    def press(self, now: float) -> events.Dump | events.Kill | None:
        """Its time is over: what is harder than what was tried. None: nothing is."""
        match self.state:
            case Life.DRAINING:
                return self.suspect(self.why, now)
            case Life.SUSPECT:
                return self.kill(self.why, now)
            case _:
                return None


@dataclass(slots=True)
class Early:
    """What came of a pid before it was known which worker has it."""

    is_ready: bool = False
    exit: events.Exit | None = None


class WorkerTable:
    """All workers, by ticket and by pid."""

    def __init__(self, timeouts: events.RosterTimeouts) -> None:
        self._timeouts = timeouts
        self._early: dict[int, Early] = {}
        self._last_ticket = 0
        self.workers: dict[int, Worker] = {}
        self.by_pid: dict[int, Worker] = {}

    def __len__(self) -> int:
        """How many processes there are or were requested, whatever their state."""
        return len(self.workers)

    def request(self, slot: int, generation: int, now: float) -> Worker:
        """A new worker, which is about to be forked."""
        self._last_ticket += 1
        worker = Worker(self._last_ticket, slot, generation, now, self._timeouts)
        self.workers[worker.ticket] = worker
        return worker

    def identify(self, worker: Worker, pid: int) -> Early:
        """The worker got its pid; gives what came of that pid before."""
        worker.pid = pid
        self.by_pid[pid] = worker
        early = self._early.pop(pid, Early())
        self._drop_early()
        return early

    def early(self, pid: int) -> Early:
        """Where to note what comes of a pid that no worker has yet; dropped when no worker can have it."""
        early = self._early.setdefault(pid, Early())
        self._drop_early()
        return early

    def remove(self, worker: Worker) -> None:
        """The process is gone, or never came."""
        worker.become(Life.GONE)
        del self.workers[worker.ticket]
        self.by_pid.pop(worker.pid, None)
        self._drop_early()

    def those(self, *states: Life) -> list[Worker]:
        return [worker for worker in self.workers.values() if worker.state in states]

    @property
    def ready_count(self) -> int:
        return len(self.those(Life.READY))

    @property
    def working_count(self) -> int:
        """How many boot or serve, or were requested; the others leave."""
        return len(self.those(Life.REQUESTED, Life.REVOKED, Life.BOOTING, Life.READY))

    @property
    def covered(self) -> set[int]:
        """Slots with a READY worker, of whatever generation."""
        return {worker.slot for worker in self.those(Life.READY)}

    def deadlines(self) -> Iterator[float]:
        """When the present state of each has to be over."""
        return (worker.deadline for worker in self.workers.values())

    def overrun(self, now: float) -> list[Worker]:
        """Those whose deadline is over."""
        return [worker for worker in self.workers.values() if now >= worker.deadline]

    def has_older_than(self, generation: int) -> bool:
        return any(worker.generation < generation for worker in self.workers.values())

    def empty_slots(self, slots: set[int], generation: int) -> list[int]:
        """Those of `slots` without a worker of this generation; first those without any READY worker."""
        filled = {
            worker.slot
            for worker in self.those(Life.REQUESTED, Life.BOOTING, Life.READY)
            if worker.generation == generation
        }
        covered = self.covered
        return sorted(slots - filled, key=lambda number: (number in covered, number))

    def surplus(self, slots: set[int], generation: int) -> Worker | None:
        """A READY worker without a place: in none of `slots`, or of another generation.

        Those whose successor is READY come first.
        """
        ready = self.those(Life.READY)
        present = {worker.slot for worker in ready if worker.generation == generation}
        return min(
            (worker for worker in ready if worker.generation != generation or worker.slot not in slots),
            key=lambda worker: (worker.slot not in present, worker.slot),
            default=None,
        )

    def _drop_early(self) -> None:
        if not self.those(Life.REQUESTED, Life.REVOKED):
            self._early.clear()


class Rollout:
    """A reload as states: the generation in charge, and the candidate for its place.

        IDLE ─requested→ READING ─settings→ CANARY ─ready→ ROLLING ─all replaced→ IDLE

    Whatever fails before the canary is READY leads back to where it was before. Requests that come meanwhile
    wait, as one.
    """

    def __init__(self, table: WorkerTable) -> None:
        self._table = table
        self.state = Roll.IDLE
        self.generation = 1
        self.latest = 1
        self.is_waiting = False  # a reload was requested and has not begun
        self._plan: events.Plan | None = None

    def to(self, state: Roll) -> None:
        self.state = step(ROLL, self.state, state)

    def request(self, *, is_starting: bool) -> list[events.Note]:
        """A reload is requested; gives the note for the log if it cannot begin at once."""
        self.is_waiting = True
        if self.state is not Roll.IDLE:
            return [events.Note(Level.INFO, "reload deferred: another reload is in progress")]
        if is_starting:
            return [events.Note(Level.INFO, "reload deferred: no worker is ready yet")]
        return []

    def begin(self) -> events.Reread:
        """The reload that waits begins."""
        self.is_waiting = False
        self.to(Roll.READING)
        return events.Reread()

    def nominate(self, plan: events.Plan) -> None:
        """There are settings for a new generation."""
        self.latest += 1
        self._plan = plan
        self.to(Roll.CANARY)

    def is_canary(self, worker: Worker) -> bool:
        return self.state is Roll.CANARY and worker.generation == self.latest

    def commit(self) -> events.Plan:
        """The candidate is in charge from now on; gives its plan."""
        assert self._plan is not None
        plan, self._plan = self._plan, None
        self.generation = self.latest
        self.to(Roll.ROLLING)
        return plan

    def rest(self) -> None:
        """There is no candidate any more: back to replacing old workers, if there are any, or to nothing."""
        self._plan = None
        self.to(Roll.ROLLING if self._table.has_older_than(self.generation) else Roll.IDLE)

    def give_up(self, why: str) -> list[events.Decision]:
        """The candidate cannot boot."""
        self.rest()
        text = f"generation {self.latest} abandoned: {why}; generation {self.generation} keeps serving"
        return [events.Abandon(self.latest), events.Note(Level.ERROR, text)]

    def finish(self, planned: int) -> list[events.Note]:
        """See whether every old worker has been replaced."""
        table = self._table
        if self.state is not Roll.ROLLING or table.has_older_than(self.generation):
            return []
        if table.ready_count < planned:
            return []
        self.to(Roll.IDLE)
        return [
            events.Note(
                Level.INFO, f"generation {self.generation} serves with {events.workers_text(planned)}"
            )
        ]

    def cancel(self) -> None:
        """The server stops."""
        self._plan = None
        self.is_waiting = False
        if self.state is not Roll.IDLE:
            self.to(Roll.IDLE)

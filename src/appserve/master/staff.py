"""The roster's book: every worker from its request to its exit.

Facts about it, no rules: who is there, which slots are empty, who is too many. The rules are in roster.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from appserve.master.decisions import Exit, Patience
from appserve.master.states import Life, Watch
from appserve.master.worker import Worker


@dataclass(slots=True)
class Early:
    """What was said of a pid before anybody told whose it is."""

    is_ready: bool = False
    exit: Exit | None = None


class Staff:
    """All workers, by ticket and by pid."""

    def __init__(self, patience: Patience, watch: Watch) -> None:
        self._patience = patience
        self._watch = watch
        self._early: dict[int, Early] = {}
        self._last_ticket = 0
        self.workers: dict[int, Worker] = {}
        self.by_pid: dict[int, Worker] = {}

    def __len__(self) -> int:
        """How many processes there are or were asked for, whatever their state."""
        return len(self.workers)

    def request(self, slot: int, generation: int, now: float) -> Worker:
        """A worker that is about to be asked for."""
        self._last_ticket += 1
        worker = Worker(self._last_ticket, slot, generation, now, self._patience, self._watch)
        self.workers[worker.ticket] = worker
        return worker

    def identify(self, worker: Worker, pid: int) -> Early:
        """The worker got its pid; gives what was said of that pid before."""
        worker.pid = pid
        self.by_pid[pid] = worker
        early = self._early.pop(pid, Early())
        self._drop_early()
        return early

    def early(self, pid: int) -> Early:
        """Where to note what is said of a pid that nobody claimed yet; forgotten if nobody can claim it."""
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
        """How many boot or serve, or were asked for; the others are on their way out."""
        return len(self.those(Life.ASKED, Life.REVOKED, Life.BOOTING, Life.READY))

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
        """Those of `slots` without a worker of this generation; first those where nobody at all is READY."""
        filled = {
            worker.slot
            for worker in self.those(Life.ASKED, Life.BOOTING, Life.READY)
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
        if not self.those(Life.ASKED, Life.REVOKED):
            self._early.clear()

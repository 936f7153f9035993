"""A reload as states: which generation is in charge, and how far the next one is.

    IDLE ─asked→ READING ─settings→ CANARY ─ready→ ROLLING ─all replaced→ IDLE

Whatever fails before the canary is READY leads back to where it was before. Requests that come meanwhile
wait, as one.
"""

from appserve.master import worker_table
from appserve.master.events import Abandon, Decision, Note, Plan, Reread, workers_text
from appserve.master.worker_table import ROLL, Roll, Worker, WorkerTable
from appserve.observe.log import Level


class Rollout:
    """The generation in charge, and the candidate for its place."""

    def __init__(self, table: WorkerTable) -> None:
        self._table = table
        self.state = Roll.IDLE
        self.generation = 1
        self.latest = 1
        self.is_waiting = False  # a reload was asked for and has not begun
        self._plan: Plan | None = None

    def to(self, state: Roll) -> None:
        self.state = worker_table.step(ROLL, self.state, state)

    def ask(self, *, is_starting: bool) -> list[Note]:
        """Somebody wants a reload; gives what should be said if it cannot begin at once."""
        self.is_waiting = True
        if self.state is not Roll.IDLE:
            return [Note(Level.INFO, "reload deferred: another reload is in progress")]
        if is_starting:
            return [Note(Level.INFO, "reload deferred: no worker is ready yet")]
        return []

    def begin(self) -> Reread:
        """The reload that waits begins."""
        self.is_waiting = False
        self.to(Roll.READING)
        return Reread()

    def nominate(self, plan: Plan) -> None:
        """There are settings for a new generation."""
        self.latest += 1
        self._plan = plan
        self.to(Roll.CANARY)

    def is_canary(self, worker: Worker) -> bool:
        return self.state is Roll.CANARY and worker.generation == self.latest

    def commit(self) -> Plan:
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

    def give_up(self, why: str) -> list[Decision]:
        """The candidate cannot boot."""
        self.rest()
        text = f"generation {self.latest} abandoned: {why}; generation {self.generation} keeps serving"
        return [Abandon(self.latest), Note(Level.ERROR, text)]

    def finish(self, planned: int) -> list[Note]:
        """See whether every old worker has been replaced."""
        table = self._table
        if self.state is not Roll.ROLLING or table.has_older_than(self.generation):
            return []
        if table.ready_count < planned:
            return []
        self.to(Roll.IDLE)
        return [Note(Level.INFO, f"generation {self.generation} serves with {workers_text(planned)}")]

    def cancel(self) -> None:
        """The server stops."""
        self._plan = None
        self.is_waiting = False
        if self.state is not Roll.IDLE:
            self.to(Roll.IDLE)

"""A simulated family for the roster: processes, a kernel and a clock that a seed drives, and the rules that
must hold.

The simulation trusts nothing that the roster says about itself. It keeps its own books (what lives, what is
READY, how often a slot failed) from the facts it feeds and the decisions it gets, and checks each decision
against them.
"""

import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from appserve.master import worker_table
from appserve.master.events import (
    Abandon,
    Commit,
    Decision,
    Dump,
    Exit,
    Halt,
    Interrupt,
    Kill,
    Note,
    Order,
    Plan,
    Reread,
    RosterTimeouts,
    Spawn,
)
from appserve.master.health import STOPS, Standing
from appserve.master.roster import Roster
from appserve.master.worker_table import Roll, S
from appserve.workers.channel import RetireOrder

#: How often each step from one state to another was taken.
Steps = Counter[tuple[object, object]]

TIMEOUT = RosterTimeouts(give_up=60.0, outage_reminder=20.0)


class Broken(AssertionError):
    """A rule of the roster does not hold."""


def check(holds: bool, rule: str) -> None:
    if not holds:
        raise Broken(rule)


@dataclass(eq=False)
class Process:
    ticket: int
    slot: int
    generation: int
    pid: int = 0
    ready: bool = False
    ready_at: float = math.inf
    gone: bool = False
    reported: bool = False  # spawned() was said
    told_ready: bool = False
    told_gone: bool = False
    how: Exit = field(default_factory=lambda: Exit(0))
    leaving: bool = False
    dumped_at: float = math.inf
    killed: bool = False


class WatchedRoster(Roster):
    """A Roster whose steps are counted."""

    def __init__(self, plan: Plan, now: float, timeouts: RosterTimeouts, steps: Steps) -> None:
        super().__init__(plan, now, timeouts)
        self._steps = steps
        _taken.clear()  # those of rosters in other tests

    def _settle(self, now: float) -> list[Decision]:
        """Every fact ends here."""
        decisions = super()._settle(now)
        self._steps.update(_taken)
        _taken.clear()
        return decisions


_taken: list[tuple[object, object]] = []


def _counted(table: Mapping[S, frozenset[S]], before: S, after: S) -> S:
    _taken.append((before, after))
    return _step(table, before, after)


_step, worker_table.step = worker_table.step, _counted


class WorkerHandles:
    """Feeds one roster for a while. `run()` raises Broken when a rule does not hold."""

    def __init__(
        self, seed: int, roster_type: type[WatchedRoster], steps: Counter[tuple[object, object]]
    ) -> None:
        self.random = random.Random(seed)
        self.now = 100.0
        workers, graceful = self.random.choice([1, 1, 2, 3, 4, 8]), self.random.choice([0.0, 2.0, 25.0])
        self.plan = Plan(workers, graceful, self.random.choice([1, 1, 2, 5]))
        self.bound = self.most_working()
        self.drainable = workers
        self.total_bound = self.bound + workers
        self.roster = roster_type(self.plan, self.now, TIMEOUT, steps)
        self.processes: list[Process] = []
        self.committed = 1
        self.candidate = 0
        self.plans = {1: self.plan}
        self.last_pid = 1000
        self.rereads = 0
        self.reload_asked = False
        self.ever_ready = False
        self.stopped_at = math.inf
        self.stops = 0
        self.halted: Halt | None = None
        self.ghost: Process | None = None
        self.failures: Counter[int] = Counter()
        self.not_before: dict[int, float] = {}
        self.failed_spawns: list[float] = []
        self.boot_fails = self.early_deaths = self.late = 0.0
        self.obedience = 1.0
        self.change_weather()

    # ── the world ──

    def living(self) -> list[Process]:
        """All that the roster has to count: a death counts when its pid is known to be ours."""
        return [process for process in self.processes if not (process.reported and process.told_gone)]

    def ready(self) -> list[Process]:
        """READY as far as the roster knows, and not retired."""
        return [one for one in self.living() if one.told_ready and one.reported and not one.leaving]

    def working(self) -> list[Process]:
        """Those that boot or serve."""
        return [one for one in self.living() if not one.leaving and one.dumped_at == math.inf]

    def most_working(self) -> int:
        return self.plan.workers + self.plan.surge

    def by_pid(self, pid: int) -> Process:
        for process in self.processes:
            if process.pid == pid and process.reported and not process.told_gone:
                return process
        raise Broken(f"a decision about pid {pid}, which is none of the living")

    def run(self, steps: int) -> None:
        self.take(self.roster.tick(self.now))
        for _ in range(steps):
            if self.halted is not None:
                break
            self.step()
        self.settle_down()

    def change_weather(self) -> None:
        """How this world behaves for a while: sometimes kindly, sometimes nothing boots and every process
        dies."""
        self.boot_fails = self.random.choice([0.0, 0.0, 0.1, 0.5, 0.97])
        self.early_deaths = self.random.choice([0.0, 0.05, 0.5, 1.0])
        self.obedience = self.random.choice([0.2, 0.9, 1.0])
        self.late = self.random.choice([0.0, 0.3])

    def step(self) -> None:
        kinds = [
            (self.pass_time, 6),
            (self.boot_one, 10),
            (self.die_one, 4),
            (self.obey_one, 8),
            (self.tell_one, 12),
            (self.answer_reread, 4),
            (self.ask_reload, 1 if self.random.random() < 0.5 else 0),
            (self.stall_one, 1),
            (self.foreign_exit, 1),
            (self.retire_one, 0.3),
            (self.change_weather, 0.5),
            (self.epidemic, 0.1),
            (self.standstill, 0.1),
            (self.ask_stop, 1 if self.random.random() < (0.04 if self.stops == 0 else 0.3) else 0),
        ]
        self.random.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def pass_time(self) -> None:
        wake = self.roster.next_deadline()
        if wake < math.inf and self.random.random() < 0.7:
            self.now = max(self.now, wake)
        else:
            self.now += self.random.choice([0.01, 0.3, 1.0, 7.0])
        self.take(self.roster.tick(self.now))

    def boot_one(self) -> None:
        """A fork answers: a pid or a refusal; the pid may arrive later than its fate."""
        waiting = [process for process in self.processes if not process.pid]
        if not waiting:
            return
        process = self.random.choice(waiting)
        if self.random.random() < 0.05:
            self.processes.remove(process)
            if process.generation == self.candidate:
                self.candidate = 0
            elif not self.stops and process.generation == self.committed and not process.leaving:
                self.count_failure(process.slot)
            self.take(self.roster.fork_failed(process.ticket, "no memory", self.now))
            return
        self.last_pid += 1
        process.pid = self.last_pid
        if self.random.random() >= self.late:
            self.tell_spawned(process)

    def tell_spawned(self, process: Process) -> None:
        process.reported = True
        # What was said of the pid before counts from here: first READY, then the exit.
        if process.told_ready:
            process.ready_at = self.now
            self.ever_ready = self.ever_ready or not self.stops
        proves_itself = process.told_ready and process.generation == self.candidate
        if process.told_gone and not proves_itself:
            self.account_exit(process)
        decisions = self.roster.spawned(process.ticket, process.pid, self.now)
        if process.told_gone:
            # Nothing may be said to the dead any more, except that the generation was committed.
            self.ghost = process if proves_itself else None
            self.processes.remove(process)
        self.take(decisions, self.ghost)
        self.ghost = None

    def tell_one(self) -> None:
        """Something that happened becomes known."""
        untold = [process for process in self.processes if process.pid and not process.reported]
        if untold and self.random.random() < 0.3:
            self.tell_spawned(self.random.choice(untold))
            return
        booting = [one for one in self.processes if one.pid and not one.ready and not one.gone]
        if not booting:
            return
        process = self.random.choice(booting)
        if self.random.random() < self.boot_fails:
            self.end(process, Exit(4) if self.random.random() < 0.5 else Exit(None, 11))
            return
        process.ready = True
        process.told_ready = True
        process.ready_at = self.now
        self.ever_ready = self.ever_ready or (process.reported and not self.stops)
        self.take(self.roster.ready(process.pid, self.now))

    def die_one(self) -> None:
        alive = [one for one in self.processes if one.ready and not one.gone]
        if not alive or self.random.random() > 0.4:
            return
        process = self.random.choice(alive)
        served = self.random.random() >= self.early_deaths
        ways = [
            Exit(None, 9, served),
            Exit(1, None, served),
            Exit(0, None, served),
            Exit(0, None, served, True),
        ]
        self.end(process, self.random.choice(ways))

    def end(self, process: Process, how: Exit) -> None:
        process.gone = True
        process.told_gone = True
        process.how = how
        if process.reported:
            self.account_exit(process)
            self.processes.remove(process)
        self.take(self.roster.exited(process.pid, how, self.now))

    def account_exit(self, process: Process) -> None:
        if process.leaving or process.dumped_at < math.inf or self.stops:
            return
        if process.generation == self.candidate:
            self.candidate = 0
            return
        if process.generation != self.committed:
            return
        ready = process.told_ready
        if not ready or (
            not (process.how.served or process.how.orderly)
            and self.now - process.ready_at < TIMEOUT.min_uptime
        ):
            self.count_failure(process.slot)
        else:
            self.failures[process.slot] = 0
            self.not_before[process.slot] = self.now

    def count_failure(self, slot: int) -> None:
        self.failures[slot] += 1
        delay = min(30.0, 0.25 * 2.0 ** (self.failures[slot] - 1))
        self.not_before[slot] = self.now + delay

    def obey_one(self) -> None:
        leaving = [one for one in self.processes if one.pid and one.reported and (one.leaving or one.killed)]
        if not leaving:
            return
        process = self.random.choice(leaving)
        if self.random.random() < (max(0.9, self.obedience) if process.killed else self.obedience):
            self.end(process, Exit(None, 9) if process.killed else Exit(0, None, True))

    def epidemic(self) -> None:
        """For some seconds every process dies as soon as it is forked: what the budget of forks is for."""
        self.late, until = 0.0, self.now + 8.0
        while self.now < until and self.halted is None:
            for process in list(self.processes):
                if not process.pid:
                    self.boot_one()
                elif not process.gone and self.halted is None:
                    self.end(process, Exit(None, 11))
            if self.halted is None:
                self.now = max(self.now, min(self.roster.next_deadline(), until))
                self.take(self.roster.tick(self.now))

    def stall_one(self) -> None:
        ready = [one for one in self.living() if one.reported and one.told_ready and not one.killed]
        if ready:
            self.take(self.roster.stalled(self.random.choice(ready).pid, "no progress", self.now))

    def standstill(self) -> None:
        """Every worker stalls as soon as it is READY, and none of them dies at once of its SIGKILL."""
        self.late = self.boot_fails = 0.0
        for _ in range(20):
            for process in list(self.processes):
                if self.halted is None and not process.pid:
                    self.boot_one()
            self.tell_one()
            self.stall_one()

    def foreign_exit(self) -> None:
        """A process that init adopted: its pid is not ours."""
        self.take(self.roster.exited(self.random.randrange(1, 1000), Exit(3), self.now))

    def retire_one(self) -> None:
        """A SIGTERM from outside."""
        ready = [one for one in self.ready() if not one.killed]
        if ready:
            process = self.random.choice(ready)
            process.leaving = True
            self.take(self.roster.retiring(process.pid, self.now))

    def ask_reload(self) -> None:
        self.reload_asked = self.reload_asked or not self.stops
        self.take(self.roster.reload(self.now))

    def answer_reread(self) -> None:
        if not self.rereads:
            return
        self.rereads -= 1
        if self.random.random() < 0.2:
            self.take(self.roster.settings_read(None, self.now))
            return
        workers = self.random.choice([1, 2, 3, 4, 5])
        plan = Plan(workers, self.plan.graceful, self.random.choice([1, 1, 2, 5]))
        self.candidate = max(self.plans) + 1
        self.plans[self.candidate] = plan
        self.take(self.roster.settings_read(plan, self.now))

    def ask_stop(self) -> None:
        graceful = self.random.random() < 0.6
        before = self.stops
        self.stops += 1
        self.stopped_at = min(self.stopped_at, self.now)
        self.candidate = 0
        decisions = self.roster.stop(self.now, graceful=graceful)
        self.take(decisions)
        if before == 0:
            reported = [one for one in self.processes if one.reported and not one.told_gone]
            check(
                all(one.leaving or one.dumped_at < math.inf for one in reported), "a stop is obeyed at once"
            )

    # ── what the roster decides ──

    def take(self, decisions: list[Decision], ghost: Process | None = None) -> None:
        check(self.halted is None or not decisions, "nothing is decided after the end")
        if self.roster.standing in STOPS:
            # A stop was ordered, or the first boot failed, or an outage was too long.
            self.stops = self.stops or 1
        for decision in decisions:
            self.take_one(decision)
        if ghost is not None:
            self.account_exit(ghost)
        self.check_rules()

    def take_one(self, decision: Decision) -> None:
        match decision:
            case Spawn():
                self.take_spawn(decision)
            case Order(pid, RetireOrder()):
                process = self.by_pid(pid)
                check(process.told_ready and not process.leaving, "only READY workers retire, once")
                process.leaving = True
                if not self.stops:
                    check(len(self.ready()) >= self.plan.workers, "unavailable none")
            case Interrupt(pid):
                process = self.by_pid(pid)
                check(not process.leaving, "interrupted once")
                process.leaving = True
            case Order(pid):
                check(self.stops > 0, "stopped only when asked")
                self.by_pid(pid).leaving = True
            case Dump(pid):
                process = self.by_pid(pid)
                check(process.dumped_at == math.inf, "one dump each")
                process.dumped_at = self.now
            case Kill(pid):
                process = self.by_pid(pid)
                check(not process.killed, "killed once")
                check(process.dumped_at < math.inf or self.stops > 1, "stacks before a kill")
                process.killed = True
            case Note(_, text) if text.endswith("abandoned"):
                process = self.by_pid(int(text.partition("pid ")[2].partition(")")[0]))
                check(process.killed, "only what was killed is left behind")
                process.told_gone = True
                self.processes.remove(process)
            case Reread():
                check(self.reload_asked and not self.stops, "settings are read when a reload was asked for")
                self.reload_asked = False
                self.rereads += 1
                check(self.rereads == 1, "one reload at a time")
            case Commit(generation):
                check(generation == self.candidate, "only the candidate is committed")
                proof = [*self.ready(), *([self.ghost] if self.ghost else [])]
                check(any(one.generation == generation for one in proof), "the canary is READY first")
                self.commit(generation)
            case Abandon(generation):
                check(generation > self.committed, "the generation in charge is never given up")
                self.candidate = 0
            case Halt():
                self.halted = decision
            case Note():
                pass

    def commit(self, generation: int) -> None:
        self.committed, self.candidate = generation, 0
        drainable = max(self.plan.workers, self.plans[generation].workers)
        self.plan = self.plans[generation]
        self.bound = max(self.bound, self.most_working())
        self.total_bound = max(self.total_bound, self.most_working() + drainable)
        self.drainable = drainable
        self.failures.clear()
        self.not_before.clear()

    def take_spawn(self, spawn: Spawn) -> None:
        check(not self.stops, "nothing is forked during a stop")
        check(spawn.generation in (self.committed, self.candidate), "of a generation that is wanted")
        siblings = [
            one
            for one in self.living()
            if one.slot == spawn.slot
            and one.generation == spawn.generation
            and not one.leaving
            and one.dumped_at == math.inf
        ]
        check(not siblings, "a slot has one worker of a generation")
        if spawn.generation == self.committed:
            check(spawn.slot <= self.plan.workers, "no slot beyond the plan")
            check(self.now >= self.not_before.get(spawn.slot, -math.inf) - 1e-6, "back-off is kept")
            if self.failures[spawn.slot]:
                self.failed_spawns.append(self.now)
                recent = [at for at in self.failed_spawns if at > self.now - TIMEOUT.budget_period]
                most = max(plan.workers for plan in self.plans.values()) + TIMEOUT.budget_spare
                check(len(recent) <= 2 * most, "the fork budget is kept")
        self.processes.append(Process(spawn.ticket, spawn.slot, spawn.generation))

    def check_rules(self) -> None:
        living, working = self.living(), self.working()
        # What was too much for a plan that has shrunk was not for the one before.
        check(len(working) <= self.bound, f"{len(working)} workers boot or serve, at most {self.bound}")
        check(len(living) <= self.total_bound, f"{len(living)} processes, at most {self.total_bound}")
        if len(working) <= self.most_working():
            self.bound = self.most_working()
        if len(living) <= self.most_working() + self.drainable:
            self.total_bound = self.most_working() + self.drainable
        if self.halted is not None:
            check(not living, "the end comes when all are gone")
            self.check_halt(self.halted)
            return
        wake = self.roster.next_deadline()
        check(wake > self.now, "no deadline is left behind")
        check(self.roster.ready_count <= len(living), "the count of READY is of the living")
        standing = self.roster.standing
        if standing in STOPS:
            check(bool(living), "a stop ends with the last process")
        elif not living:
            check(wake < self.now + 31.0, "a worker is spawned, or soon will be")
        else:
            self.check_slots(living)
        for one in living:
            if one.leaving or one.dumped_at < math.inf:
                check(
                    one.killed or wake < self.now + 60.0 or not one.reported,
                    "a worker that drains has a deadline",
                )

    def check_slots(self, living: list[Process]) -> None:
        """After an exit a slot is filled at once, if there is room; after a failure when the delay ends."""
        most = self.most_working()
        if len(self.working()) >= most or len(living) >= most + self.drainable:
            return
        filled = {
            one.slot
            for one in living
            if one.generation == self.committed and not one.leaving and one.dumped_at == math.inf
        }
        for slot in range(1, self.plan.workers + 1):
            if slot not in filled:
                check(self.failures[slot] > 0, "a worker that served is replaced at once")
                late = self.now > self.not_before[slot] + 1e-6
                check(
                    not late or self.budget_may_be_spent(),
                    "a slot that failed is tried again when it is time",
                )

    def budget_may_be_spent(self) -> bool:
        recent = sum(at > self.now - TIMEOUT.budget_period for at in self.failed_spawns)
        return recent >= min(plan.workers for plan in self.plans.values()) + TIMEOUT.budget_spare

    def check_halt(self, halt: Halt) -> None:
        if halt.code == 0:
            check(self.stopped_at < math.inf, "a clean end was asked for")
        elif halt.code == 70:
            check(self.now >= 100.0, "gave up")
        else:
            check(not self.ever_ready, "failing workers end only a server that never served")

    def settle_down(self) -> None:
        """Be kind from now on: every process boots, lives and obeys. Everything must come to rest."""
        self.boot_fails = self.early_deaths = self.late = 0.0
        self.obedience = 1.0
        for _ in range(2000):
            if self.halted is not None:
                return
            for process in list(self.processes):
                if process.pid and not process.reported:
                    self.tell_spawned(process)
            waiting = [one for one in self.processes if not one.pid]
            if waiting:
                self.boot_one()
            elif self.rereads:
                self.answer_reread()
            elif any(one.leaving or one.killed for one in self.processes):
                self.obey_one()
            elif any(one.pid and not one.ready for one in self.processes):
                self.tell_one()
            elif self.is_at_rest():
                return
            else:
                self.now = max(self.now, min(self.roster.next_deadline(), self.now + 5.0))
                self.take(self.roster.tick(self.now))
        raise Broken("a kind world does not come to rest")

    def is_at_rest(self) -> bool:
        ready = self.ready()
        if self.roster.standing is not Standing.SERVING or self.roster.roll is not Roll.IDLE:
            return False
        if self.reload_asked or self.stops or len(ready) != self.plan.workers:
            return False
        check(all(one.generation == self.committed for one in ready), "all are of the same generation")
        check(len({one.slot for one in ready}) == self.plan.workers, "one worker in each slot")
        check(self.roster.ready_count == len(ready), "the roster counts as the world does")
        check(len(self.living()) == len(ready), "all are accounted for")
        return True

"""The roster: which workers are started, retired, stopped and killed, and when. Decisions only, no I/O.

Facts are method calls with the time as an argument; every call gives the decisions that follow.
Nothing here forks, kills, logs, sleeps or looks at a clock, so each rule is tested in four lines and the
whole is fuzzed with random orders of facts (tests/master/test_roster_fuzz.py).

Its parts are worker_table.py (every worker and its states, and those of a reload), health.py (the server as a
whole) and respawn.py (delays and budget). Here are the rules between them.

A slot is a place that should have a worker of the present generation; its number is the worker's name. While
one leaves and its successor comes, a slot has two.

* Never more than workers + surge that boot or serve, and never a worker retired (by a reload or a smaller
  number) unless as many as planned are READY without it: unavailable none. Workers that drain do not hold up
  their successors, or a reload would take as long as all streams one after the other; beside those that boot
  or serve there may be as many of them as the larger of this generation and the one before has workers. What
  even SIGKILL does not end (it waits for a dead disk) is left behind and counts no more.
* The old generation is in charge until the canary is READY, whatever happens to the canary; from then on
  every new worker is of the new one. No old worker retires before. A second reload waits for the first,
  unless that is stuck: workers of the new generation fail, or the canary boots for longer than `canary`.
* A fork that fails is a failure like others: it delays its slot, and what runs goes on.
* The first boot fails fast: a worker that exits before any was ever READY ends the server with its exit
  code; signals get three tries. Later only an outage of `give_up` seconds ends it.
* A stop is obeyed at once in every state. GRACEFUL, QUICK, FORCED: each further request moves one step on.

Left open for what comes: other reasons to retire (recycling, scaling) are workers that `WorkerTable.surplus`
names and a plan with another number; SUSPECT can lead back to READY.
"""

import math
from collections.abc import Callable

from appserve.errors import ExitCode
from appserve.master.events import (
    MOST_PROCESSES,
    Commit,
    Decision,
    Exit,
    Halt,
    Note,
    Plan,
    RosterTimeouts,
    Spawn,
    workers_text,
)
from appserve.master.health import STOPS, Health, Standing
from appserve.master.respawn import Respawn, no_jitter
from appserve.master.worker_table import Life, Roll, Rollout, Worker, WorkerTable
from appserve.observe.log import Level
from appserve.workers.channel import QuitOrder, RetireOrder, StopOrder

#: Why a worker is killed that had no time left to leave.
FORCED = "stopped by force"


class Roster:
    """The state of all workers and the rules about it.

    `jitter` gives a factor near 1 for each delay.
    """

    def __init__(
        self,
        plan: Plan,
        now: float,
        timeouts: RosterTimeouts | None = None,
        jitter: Callable[[], float] = no_jitter,
    ) -> None:
        timeouts = timeouts or RosterTimeouts()
        self.plan = plan
        self._drainable = plan.workers  # how many may drain beside those that boot or serve
        self._timeouts = timeouts
        self._table = WorkerTable(timeouts)
        self._respawn = Respawn(plan.workers, timeouts, jitter)
        self._rollout = Rollout(self._table)
        self._health = Health(now, timeouts)
        self._verdict = Halt(ExitCode.CLEAN, "")
        self._wake_at = now
        self._out: list[Decision] = []

    @property
    def standing(self) -> Standing:
        return self._health.standing

    @property
    def roll(self) -> Roll:
        return self._rollout.state

    @property
    def generation(self) -> int:
        """The one in charge."""
        return self._rollout.generation

    @property
    def ready_count(self) -> int:
        return self._table.ready_count

    @property
    def is_stopping(self) -> bool:
        return self._health.is_stopping

    # ── facts ──

    def tick(self, now: float) -> list[Decision]:
        """Time has passed. To be called first of all, and when `next_deadline()` is over."""
        return self._settle(now)

    def spawned(self, ticket: int, pid: int, now: float) -> list[Decision]:
        """The fork for `ticket` gave `pid`. Its READY and its exit may have come before."""
        worker = self._table.workers.get(ticket)
        if worker is None:
            return self._settle(now)
        early = self._table.identify(worker, pid)
        if worker.state is Life.REQUESTED:
            worker.become(Life.BOOTING)
            if early.is_ready:
                self._become_ready(worker, now)
        elif early.exit is None:
            self._end_early(worker, now)
        if early.exit is not None:
            self._on_exit(worker, early.exit, now)
        return self._settle(now)

    def fork_failed(self, ticket: int, why: str, now: float) -> list[Decision]:
        """No process for `ticket`: the system refused. Normal under load; what runs goes on."""
        worker = self._table.workers.get(ticket)
        if worker is not None:
            wanted = worker.state is Life.REQUESTED
            self._note(Level.ERROR, f"cannot fork worker {worker.slot}: {why}")
            canary = self._rollout.is_canary(worker)
            self._table.remove(worker)
            if wanted and canary:
                self._give_up_candidate(f"it could not be forked ({why})")
            elif wanted and worker.generation == self.generation:
                self._count_failure(worker.slot, now)
        return self._settle(now)

    def wanted(self, ticket: int) -> Worker | None:
        """The worker of a Spawn that was not carried out yet; None if it is not wanted any more: then call
        `withdrawn`."""
        worker = self._table.workers.get(ticket)
        return worker if worker is not None and worker.state is Life.REQUESTED else None

    def withdrawn(self, ticket: int, now: float) -> list[Decision]:
        """No process for `ticket`: it was not wanted any more, so none was forked."""
        worker = self._table.workers.get(ticket)
        if worker is not None and worker.state is Life.REVOKED:
            self._table.remove(worker)
        return self._settle(now)

    def ready(self, pid: int, now: float) -> list[Decision]:
        """The worker could serve."""
        worker = self._table.by_pid.get(pid)
        if worker is None:
            self._table.early(pid).is_ready = True
        elif worker.state is Life.BOOTING:
            self._become_ready(worker, now)
        return self._settle(now)

    def retiring(self, pid: int, now: float) -> list[Decision]:
        """The worker accepts nothing more: because of an order, or of a signal from outside."""
        worker = self._table.by_pid.get(pid)
        if worker is not None and worker.state is Life.READY:
            worker.drain(self.plan.graceful, now)
        return self._settle(now)

    def exited(self, pid: int, how: Exit, now: float) -> list[Decision]:
        """The process is gone and reaped. A pid that is not ours (a process that init adopted) is ignored."""
        worker = self._table.by_pid.get(pid)
        if worker is not None:
            self._on_exit(worker, how, now)
        else:
            self._table.early(pid).exit = how
        return self._settle(now)

    def stalled(self, pid: int, why: str, now: float) -> list[Decision]:
        """The worker makes no progress: past --timeout. `why` is for the log."""
        worker = self._table.by_pid.get(pid)
        if worker is not None and worker.state in (Life.READY, Life.DRAINING):
            self._out.append(worker.suspect(why, now))
        return self._settle(now)

    def reload(self, now: float) -> list[Decision]:
        """A reload is requested."""
        if self.is_stopping:
            self._note(Level.INFO, "reload ignored: the server stops")
        else:
            self._out += self._rollout.request(is_starting=self.standing is Standing.STARTING)
        return self._settle(now)

    def settings_read(self, plan: Plan | None, now: float) -> list[Decision]:
        """The answer to Reread: what the new generation should be; None if the settings cannot be used."""
        if self.roll is Roll.READING:
            if plan is None:
                self._rollout.rest()
            else:
                self._rollout.nominate(plan)
        return self._settle(now)

    def stop(self, now: float, *, graceful: bool) -> list[Decision]:
        """A stop is requested; each further request is more urgent than the last."""
        manner = self._health.next_stop(graceful=graceful)
        if manner is not None:
            self._begin_stop(manner, now)
        return self._settle(now)

    def fail(self, code: int, reason: str, now: float) -> list[Decision]:
        """The master itself cannot go on."""
        self._give_up(code, reason, now)
        return self._settle(now)

    def next_deadline(self) -> float:
        """When `tick` has something to do, if no fact comes before; infinite if never."""
        return self._wake_at

    # ── one worker and its failures ──

    def _become_ready(self, worker: Worker, now: float) -> None:
        worker.become(Life.READY)
        worker.ready_at = now
        took = now - worker.requested_at
        self._note(Level.INFO, f"{worker} ready in {took:.2f} s, generation {worker.generation}")
        self._health.on_ready()
        if self._rollout.is_canary(worker):
            self._commit(now)

    def _on_exit(self, worker: Worker, how: Exit, now: float) -> None:
        was, canary = worker.state, self._rollout.is_canary(worker)
        self._table.remove(worker)
        if self.is_stopping or was in (Life.DRAINING, Life.SUSPECT, Life.KILLED):
            return
        if canary:
            self._give_up_candidate(f"its first worker failed ({how})")
        elif worker.generation != self.generation:
            pass  # its successor is on the way
        elif self._is_failure(worker, was, how, now):
            if not self._is_first_boot() or not self._ends_first_boot(worker, how, now):
                self._count_failure(worker.slot, now)
        else:
            self._respawn.clear(worker.slot)

    def _is_failure(self, worker: Worker, was: Life, how: Exit, now: float) -> bool:
        if was is Life.BOOTING:
            return True
        return not how.served and not how.orderly and now - worker.ready_at < self._timeouts.min_uptime

    def _end_early(self, worker: Worker, now: float) -> None:
        """End a worker that never served."""
        if worker.state is Life.REQUESTED:
            worker.become(Life.REVOKED)
            return
        interrupt = worker.interrupt(now)
        forced = self.standing is Standing.FORCED
        self._out.append(worker.kill(FORCED, now) if forced else interrupt)

    def _count_failure(self, number: int, now: float) -> None:
        self._health.count_failure()
        delay = self._respawn.count_failure(number, now)
        failures = self._respawn.failures(number)
        times = "once" if failures == 1 else f"{failures} times in a row"
        self._note(Level.WARNING, f"worker {number} failed {times}, next try in {delay:.2f} s")

    def _is_first_boot(self) -> bool:
        return self.standing is Standing.STARTING

    def _ends_first_boot(self, worker: Worker, how: Exit, now: float) -> bool:
        """Nothing was ever READY. An exit code would be the same next time; a signal may be bad luck."""
        times = self._respawn.failures(worker.slot) + 1
        if how.code is not None:
            self._give_up(how.server_code, f"{worker} failed before any was ready ({how})", now)
        elif times >= self._timeouts.boot_attempts:
            reason = f"worker {worker.slot} died {times} times before any was ready ({how})"
            self._give_up(ExitCode.GAVE_UP, reason, now)
        return self.is_stopping

    def _give_up(self, code: int, reason: str, now: float) -> None:
        if not self.is_stopping:
            self._verdict = Halt(code, reason)  # logged at the end, once
            self._begin_stop(Standing.QUICK, now)

    # ── new workers and retired ones ──

    def _commit(self, now: float) -> None:
        """The canary is READY: from now on everything is of its generation."""
        before, workers = self.generation, self.plan.workers
        self.plan = self._rollout.commit()
        self._drainable = max(workers, self.plan.workers)
        self._respawn.resize(self.plan.workers)
        self._out.append(Commit(self.generation))
        self._note(Level.INFO, f"generation {self.generation} replaces generation {before}")
        for worker in self._table.those(Life.REQUESTED, Life.BOOTING):
            if worker.generation < self.generation:
                self._end_early(worker, now)

    def _give_up_candidate(self, why: str) -> None:
        self._out += self._rollout.give_up(why)

    def _advance_reload(self, now: float) -> None:
        rollout = self._rollout
        canary = next(filter(rollout.is_canary, self._table.workers.values()), None)
        if self.roll is Roll.CANARY and canary is None and self._has_room():
            canary = self._spawn(1, rollout.latest, now)
        if rollout.is_waiting and canary is not None:
            limit = canary.requested_at + self._timeouts.canary
            if now < limit:
                self._wake_by(limit)
            else:
                self._give_up_candidate("it was not ready in time, and another reload was requested")
                self._end_early(canary, now)
        if rollout.is_waiting and self._has_room_for_reload():
            self._out.append(rollout.begin())

    def _has_room_for_reload(self) -> bool:
        if self.roll is Roll.ROLLING:
            return bool(self._respawn.failing)
        return self.roll is Roll.IDLE and self.standing is not Standing.STARTING

    def _retire_surplus(self, now: float) -> None:
        while (victim := self._table.surplus(self._respawn.slots, self.generation)) and self._may_retire():
            order = RetireOrder(self._timeouts.linger, self.plan.graceful)
            self._out.append(victim.leave(order, now))

    def _may_retire(self) -> bool:
        """Unavailable none: as many as planned are READY without the one that leaves."""
        return self.ready_count > self.plan.workers

    def _has_room(self) -> bool:
        """Whether one more worker may be requested."""
        most = self.plan.workers + self.plan.surge
        total = min(most + self._drainable, MOST_PROCESSES)
        return self._table.working_count < most and len(self._table) < total

    def _empty_slots(self) -> list[int]:
        return self._table.empty_slots(self._respawn.slots, self.generation)

    def _spawn_missing(self, now: float) -> None:
        for number in self._empty_slots():
            if not self._has_room():
                return
            until = self._respawn.wait_until(number, now)
            if until > now:
                self._wake_by(until)
            else:
                self._spawn(number, self.generation, now)

    def _spawn(self, number: int, generation: int, now: float) -> Worker:
        worker = self._table.request(number, generation, now)
        self._out.append(Spawn(worker.ticket, number, generation))
        return worker

    # ── the whole ──

    def _begin_stop(self, manner: Standing, now: float) -> None:
        self._health.to(manner)
        if self._verdict.code == ExitCode.CLEAN:
            self._note(Level.INFO, f"{manner.value} of {workers_text(len(self._table))}")
        self._rollout.cancel()
        # Those that retire as well: with no other worker left, what waits may be theirs.
        serving = self._table.those(Life.READY, Life.DRAINING)
        for worker in self._table.those(Life.REQUESTED, Life.BOOTING):
            self._end_early(worker, now)
        if manner is Standing.GRACEFUL:
            stop = StopOrder(self._timeouts.linger, self.plan.graceful)
            self._out += [worker.leave(stop, now) for worker in serving]
        elif manner is Standing.QUICK:
            leaving = self._table.those(Life.READY, Life.DRAINING)
            self._out += [worker.leave(QuitOrder(self._timeouts.quick), now) for worker in leaving]
        else:
            leaving = self._table.those(Life.DRAINING, Life.SUSPECT)
            self._out += [worker.kill(FORCED, now) for worker in leaving]

    def _settle(self, now: float) -> list[Decision]:
        """What follows from the facts so far. Ends every call."""
        self._wake_at = math.inf
        self._enforce_deadlines(now)
        if not self.is_stopping:
            self._assess(now)
        if not self.is_stopping:
            self._retire_surplus(now)
            self._spawn_missing(now)
            self._out += self._rollout.finish(self.plan.workers)
            self._advance_reload(now)
        if self.standing in STOPS and not self._table:
            self._health.to(Standing.STOPPED)
            self._out.append(self._verdict)
        for deadline in (*self._health.deadlines(), *self._table.deadlines()):
            self._wake_by(deadline)
        out, self._out = self._out, []
        return out

    def _enforce_deadlines(self, now: float) -> None:
        for worker in self._table.overrun(now):
            decision = worker.press(now)
            if decision is not None:
                self._out.append(decision)
            else:
                self._note(Level.ERROR, f"{worker} did not exit after SIGKILL: abandoned")
                self._table.remove(worker)

    def _assess(self, now: float) -> None:
        """How the server stands, and whether an outage has lasted too long."""
        health = self._health
        uncovered = self._respawn.failing - self._table.covered
        self._out += health.assess(self.ready_count, self.plan.workers, bool(uncovered), now)
        if health.is_down_too_long(now):
            self._give_up(ExitCode.GAVE_UP, f"no worker was ready for {health.down_for(now):.0f} s", now)

    def _wake_by(self, deadline: float) -> None:
        self._wake_at = min(self._wake_at, deadline)

    def _note(self, level: Level, text: str) -> None:
        self._out.append(Note(level, text))

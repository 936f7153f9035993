"""The roster under random orders of facts: the rules hold, every legal step is taken, and seeded bugs are
found."""

from collections import Counter

import pytest

from appserve.master.events import Decision, Exit
from appserve.master.health import STANDING, Standing
from appserve.master.worker_table import LIFE, ROLL, Life, Roll, Worker
from tests.master.simulated import Steps, WatchedRoster, WorkerHandles
from tests.soak import rounds

RUNS = rounds(400, 20_000)
STEPS = 150


def run_family(seed: int, roster_type: type[WatchedRoster], steps: Steps) -> None:
    WorkerHandles(seed, roster_type, steps).run(STEPS)


def test_the_rules_hold_and_every_legal_step_is_taken():
    steps: Steps = Counter()

    for seed in range(RUNS):
        try:
            run_family(seed, WatchedRoster, steps)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error

    legal = {(one, other) for table in (LIFE, STANDING, ROLL) for one in table for other in table[one]}
    assert set() == legal - set(steps)
    assert set() == set(steps) - legal


class RetiresBeforeItsSuccessorIsReady(WatchedRoster):
    def _may_retire(self) -> bool:
        return self.ready_count >= self.plan.workers


class NeverForgetsFailures(WatchedRoster):
    def tick(self, now: float) -> list[Decision]:
        self._respawn.clear = lambda number: None  # type: ignore[method-assign]  # the bug
        return super().tick(now)


class ForgetsFailuresAtEachReady(WatchedRoster):
    def _become_ready(self, worker: Worker, now: float) -> None:
        super()._become_ready(worker, now)
        self._respawn.clear(worker.slot)


class SpawnsTwice(WatchedRoster):
    def _empty_slots(self) -> list[int]:
        filled = {worker.slot for worker in self._table.those(Life.BOOTING, Life.READY)}
        return sorted(self._respawn.slots - filled)


class HasNoBudget(WatchedRoster):
    def _settle(self, now: float) -> list[Decision]:
        self._respawn._tries.clear()
        return super()._settle(now)


class HasNoDelay(WatchedRoster):
    def _count_failure(self, number: int, now: float) -> None:
        super()._count_failure(number, now)
        self._respawn._slots[number].not_before = now


class SpawnsWhileItStops(WatchedRoster):
    def _settle(self, now: float) -> list[Decision]:
        if self.is_stopping and self._table:
            self._spawn_missing(now)
        return super()._settle(now)


class TrustsACanaryThatFailed(WatchedRoster):
    def _give_up_candidate(self, why: str) -> None:
        if self.roll is Roll.CANARY:
            self._commit(0.0)


class EndsWhenAWorkerCannotBoot(WatchedRoster):
    def _is_first_boot(self) -> bool:
        return True


class ForgetsExitsBeforeThePidIsKnown(WatchedRoster):
    def exited(self, pid: int, how: Exit, now: float) -> list[Decision]:
        return super().exited(pid, how, now) if pid in self._table.by_pid else self._settle(now)


class ForgetsReadyBeforeThePidIsKnown(WatchedRoster):
    def ready(self, pid: int, now: float) -> list[Decision]:
        return super().ready(pid, now) if pid in self._table.by_pid else self._settle(now)


class ForgetsASecondReload(WatchedRoster):
    def reload(self, now: float) -> list[Decision]:
        return super().reload(now) if self.roll is Roll.IDLE else self._settle(now)


class StartsOneMoreThanTheSurge(WatchedRoster):
    def _has_room(self) -> bool:
        return self._table.working_count <= self.plan.workers + self.plan.surge


class LetsProcessesPileUp(WatchedRoster):
    def _has_room(self) -> bool:
        return self._table.working_count < self.plan.workers + self.plan.surge


class WaitsForThoseThatDrain(WatchedRoster):
    def _has_room(self) -> bool:
        return len(self._table) < self.plan.workers + self.plan.surge


class WaitsForEverForTheStuck(WatchedRoster):
    def _enforce_deadlines(self, now: float) -> None:
        pass


class ForgetsThatATicketWasRevoked(WatchedRoster):
    def spawned(self, ticket: int, pid: int, now: float) -> list[Decision]:
        worker = self._table.workers.get(ticket)
        if worker is not None and worker.state is Life.REVOKED:
            worker.state = Life.REQUESTED
        return super().spawned(ticket, pid, now)


class FinishesAReloadEarly(WatchedRoster):
    def _spawn_missing(self, now: float) -> None:
        super()._spawn_missing(now)
        if self.roll is Roll.ROLLING:
            self._rollout.to(Roll.IDLE)


class ReplacesTheOldWithTheCandidate(WatchedRoster):
    def _spawn(self, number: int, generation: int, now: float) -> Worker:
        return super()._spawn(number, self._rollout.latest, now)


class NeverGivesUp(WatchedRoster):
    def _give_up(self, code: int, reason: str, now: float) -> None:
        if self.standing is Standing.STARTING:
            super()._give_up(code, reason, now)


BUGS = [
    RetiresBeforeItsSuccessorIsReady,
    NeverForgetsFailures,
    ForgetsFailuresAtEachReady,
    SpawnsTwice,
    HasNoBudget,
    HasNoDelay,
    SpawnsWhileItStops,
    TrustsACanaryThatFailed,
    EndsWhenAWorkerCannotBoot,
    ForgetsExitsBeforeThePidIsKnown,
    ForgetsReadyBeforeThePidIsKnown,
    ForgetsASecondReload,
    StartsOneMoreThanTheSurge,
    LetsProcessesPileUp,
    WaitsForThoseThatDrain,
    WaitsForEverForTheStuck,
    ForgetsThatATicketWasRevoked,
    FinishesAReloadEarly,
    ReplacesTheOldWithTheCandidate,
    NeverGivesUp,
]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_seeded_bug_is_found(bug: type[WatchedRoster]) -> None:
    for seed in range(RUNS):
        try:
            run_family(seed, bug, Counter())
        except (AssertionError, KeyError):
            return

    raise AssertionError(f"{bug.__name__} was not found in {RUNS} runs")

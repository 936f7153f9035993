"""The rules of the roster, a few facts and a few decisions each."""

import math
from typing import TypeVar

import pytest

from appserve.errors import ExitCode
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
from appserve.master.health import STANDING, Standing
from appserve.master.roster import FORCED, Roster
from appserve.master.worker_table import LIFE, ROLL, Life, Roll
from appserve.workers.channel import QuitOrder, RetireOrder, StopOrder

T = TypeVar("T")

CRASH = Exit(None, 11)
KILLED_AFTER_SERVING = Exit(None, 9, served=True)


def only(kind: type[T], decisions: list[Decision]) -> list[T]:
    return [decision for decision in decisions if isinstance(decision, kind)]


def orders(kind: type[object], decisions: list[Decision]) -> list[Order]:
    return [decision for decision in only(Order, decisions) if isinstance(decision.order, kind)]


def notes(decisions: list[Decision]) -> list[str]:
    return [note.text for note in only(Note, decisions)]


class Scene:
    """A roster, a clock, and short ways to say what happens."""

    def __init__(self, workers: int = 2, graceful: float = 25.0, surge: int = 1) -> None:
        self.now = 1000.0
        self.roster = Roster(Plan(workers, graceful, surge), self.now)
        self.pids = iter(range(100, 10_000))
        self.spawns = only(Spawn, self.roster.tick(self.now))

    def after(self, seconds: float) -> list[Decision]:
        self.now += seconds
        decisions = self.roster.tick(self.now)
        self.spawns += only(Spawn, decisions)
        return decisions

    def fork(self) -> int:
        """The oldest Spawn is carried out; gives the pid."""
        pid = next(self.pids)
        self.say(self.roster.spawned(self.spawns.pop(0).ticket, pid, self.now))
        return pid

    def boot(self) -> int:
        """The same, and READY at once."""
        pid = self.fork()
        self.ready(pid)
        return pid

    def boot_all(self) -> list[int]:
        return [self.boot() for _ in range(len(self.spawns))]

    def ready(self, pid: int) -> list[Decision]:
        return self.say(self.roster.ready(pid, self.now))

    def exited(self, pid: int, how: Exit = CRASH) -> list[Decision]:
        return self.say(self.roster.exited(pid, how, self.now))

    def stop(self, *, graceful: bool = True) -> list[Decision]:
        return self.say(self.roster.stop(self.now, graceful=graceful))

    def reload(self, workers: int = 2, surge: int = 1) -> list[Decision]:
        """SIGHUP, and the settings that are read then; gives the decisions after that."""
        assert only(Reread, self.roster.reload(self.now)) == [Reread()]
        return self.say(self.roster.settings_read(Plan(workers, 25.0, surge), self.now))

    def say(self, decisions: list[Decision]) -> list[Decision]:
        self.spawns += only(Spawn, decisions)
        return decisions


# ── boot ──


def test_all_workers_are_spawned_at_once():
    assert [(one.ticket, one.slot, one.generation) for one in Scene(2).spawns] == [(1, 1, 1), (2, 2, 1)]


def test_the_first_ready_worker_makes_a_server():
    scene = Scene(2)
    pid = scene.fork()

    assert notes(scene.ready(pid)) == [f"worker 1 (pid {pid}) ready in 0.00 s, generation 1"]
    assert scene.roster.standing is Standing.SERVING


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        (3, ExitCode.APP_START),
        (4, ExitCode.APP_IMPORT),
        (5, ExitCode.CONFIG),
        (71, ExitCode.INTERNAL),
        (0, ExitCode.APP_START),
        (9, ExitCode.APP_START),
    ],
)
def test_the_first_exit_before_any_ready_ends_the_server(exit_code: int, expected: int) -> None:
    scene = Scene(2)
    first, second = scene.fork(), scene.fork()

    assert only(Interrupt, scene.exited(first, Exit(exit_code))) == [Interrupt(second)]
    (halt,) = only(Halt, scene.exited(second, Exit(None, 15)))
    assert halt.code == expected
    assert f"exit code {exit_code}" in halt.reason


def test_signals_get_three_tries_at_the_first_boot():
    scene = Scene(1)
    assert only(Halt, scene.exited(scene.fork(), CRASH)) == []
    assert only(Spawn, scene.after(0.25)) != []
    assert only(Halt, scene.exited(scene.fork(), CRASH)) == []
    assert only(Spawn, scene.after(0.5)) != []

    (halt,) = only(Halt, scene.exited(scene.fork(), CRASH))
    assert halt.code == ExitCode.GAVE_UP
    assert "SIGSEGV" in halt.reason


def test_after_a_first_ready_a_failed_boot_only_delays_the_slot():
    scene = Scene(2)
    scene.boot()

    decisions = scene.exited(scene.fork(), Exit(4))

    assert only(Halt, decisions) == []
    assert scene.roster.standing is Standing.DEGRADED
    assert only(Spawn, scene.after(0.25)) != []


# ── deaths ──


def test_a_worker_that_served_is_replaced_at_once():
    scene = Scene(2)
    first, _ = scene.boot_all()

    assert [
        (spawn.slot, spawn.generation) for spawn in only(Spawn, scene.exited(first, KILLED_AFTER_SERVING))
    ] == [(1, 1)]


def test_a_worker_that_lived_long_is_replaced_at_once_though_it_served_nothing():
    scene = Scene(1)
    pid = scene.boot()
    scene.after(5.0)

    assert only(Spawn, scene.exited(pid)) != []


def test_a_worker_that_drained_by_itself_has_not_failed():
    scene = Scene(1)

    assert only(Spawn, scene.exited(scene.boot(), Exit(0, orderly=True))) != []


def test_a_death_soon_after_ready_with_nothing_served_is_a_failure():
    scene = Scene(1)

    decisions = scene.exited(scene.boot())

    assert only(Spawn, decisions) == []
    assert "worker 1 failed once, next try in 0.25 s" in notes(decisions)


def test_delays_double_up_to_thirty_seconds_and_are_forgotten_by_a_good_worker():
    scene = Scene(2)
    scene.boot()
    scene.exited(scene.boot(), Exit(1))
    delays = [scene.roster.next_deadline() - scene.now]
    for _ in range(8):
        scene.after(scene.roster.next_deadline() - scene.now)
        scene.exited(scene.fork(), Exit(1))
        delays.append(scene.roster.next_deadline() - scene.now)
    assert delays == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]

    scene.after(30.0)
    pid = scene.boot()
    assert only(Spawn, scene.exited(pid, KILLED_AFTER_SERVING)) != []
    scene.exited(scene.boot())
    assert scene.roster.next_deadline() - scene.now == 0.25


def test_slots_fail_each_for_itself():
    scene = Scene(2)
    first, second = scene.boot_all()
    scene.exited(first)
    scene.after(0.25)
    scene.exited(scene.fork(), Exit(1))

    assert "worker 2 failed once, next try in 0.25 s" in notes(scene.exited(second))


def test_jitter_is_a_factor_that_is_injected():
    roster = Roster(Plan(1, 25.0), 0.0, jitter=lambda: 1.5)
    (spawn,) = only(Spawn, roster.tick(0.0))
    roster.spawned(spawn.ticket, 7, 0.0)
    roster.ready(7, 0.0)
    roster.exited(7, CRASH, 0.0)

    assert roster.next_deadline() == 0.375


def test_all_slots_together_are_bound_by_the_budget():
    scene = Scene(8)
    for pid in scene.boot_all():
        scene.exited(pid)
    spawned, end = 0, scene.now + 10.0
    while scene.now < end:
        spawned += len(scene.spawns)
        while scene.spawns:
            scene.exited(scene.fork(), Exit(1))
        scene.after(min(scene.roster.next_deadline(), end) - scene.now)

    assert spawned <= 2 * (8 + 4)


def test_a_worker_that_dies_in_place_of_another_process_means_nothing():
    scene = Scene(1)
    scene.boot()

    assert scene.exited(4711, Exit(3)) == []


def test_a_fork_that_fails_is_tried_again_later_and_others_go_on():
    scene = Scene(2)
    scene.boot()
    wanted = scene.spawns.pop(0)

    decisions = scene.say(scene.roster.fork_failed(wanted.ticket, "no memory", scene.now))

    assert "cannot fork worker 2: no memory" in notes(decisions)
    assert only(Halt, decisions) == []
    assert [spawn.slot for spawn in only(Spawn, scene.after(0.25))] == [2]


def test_a_fork_that_fails_at_the_first_boot_does_not_end_the_server():
    scene = Scene(1)

    assert only(Halt, scene.roster.fork_failed(scene.spawns.pop(0).ticket, "no memory", scene.now)) == []
    assert only(Spawn, scene.after(0.25)) != []


# ── facts in another order ──


def test_an_exit_that_arrives_before_its_pid_counts():
    scene = Scene(2)
    scene.boot()

    assert scene.exited(500, Exit(1)) == []
    decisions = scene.say(scene.roster.spawned(scene.spawns.pop(0).ticket, 500, scene.now))

    assert "worker 2 failed once, next try in 0.25 s" in notes(decisions)


def test_a_ready_that_arrives_before_its_pid_counts():
    scene = Scene(1)

    assert scene.ready(500) == []
    decisions = scene.roster.spawned(scene.spawns.pop(0).ticket, 500, scene.now)

    assert notes(decisions) == ["worker 1 (pid 500) ready in 0.00 s, generation 1"]


def test_a_worker_that_is_spawned_after_a_stop_is_sent_away():
    scene = Scene(1)
    wanted = scene.spawns.pop(0)
    assert only(Halt, scene.stop()) == []

    assert scene.roster.spawned(wanted.ticket, 500, scene.now) == [Interrupt(500)]
    assert only(Halt, scene.exited(500)) == [Halt(0, "")]


def test_a_request_that_was_revoked_may_be_withdrawn():
    scene = Scene(1)
    wanted = scene.spawns.pop(0)
    assert scene.roster.wanted(wanted.ticket)
    scene.stop()

    assert not scene.roster.wanted(wanted.ticket)
    assert scene.roster.withdrawn(wanted.ticket, scene.now) == [Halt(0, "")]


def test_a_worker_that_is_spawned_after_a_forced_stop_is_killed_at_once():
    scene = Scene(1)
    wanted = scene.spawns.pop(0)
    for _ in range(3):
        scene.stop()

    assert scene.roster.spawned(wanted.ticket, 500, scene.now) == [Kill(500, FORCED)]


def test_an_unknown_ticket_is_ignored():
    scene = Scene(1)
    scene.boot()

    assert scene.roster.spawned(4711, 500, scene.now) == []
    assert scene.roster.fork_failed(4711, "no memory", scene.now) == []
    assert scene.roster.withdrawn(4711, scene.now) == []


# ── stalls ──


def test_a_worker_without_progress_writes_its_stacks_and_is_killed():
    scene = Scene(1)
    pid = scene.boot()

    decisions = scene.say(scene.roster.stalled(pid, "no progress", scene.now))

    assert only(Dump, decisions) == [Dump(pid)]
    assert only(Kill, decisions) == []
    assert len(only(Spawn, decisions)) == 1, "its successor need not wait"
    assert scene.roster.next_deadline() == scene.now + 0.3
    assert only(Kill, scene.after(0.3)) == [Kill(pid, "no progress")]
    assert only(Spawn, scene.exited(pid, Exit(None, 9))) == []


def test_a_worker_is_suspected_once():
    scene = Scene(1)
    pid = scene.boot()
    scene.roster.stalled(pid, "no progress", scene.now)

    assert only(Dump, scene.roster.stalled(pid, "no progress", scene.now)) == []


def test_a_worker_that_even_sigkill_does_not_end_is_left_behind():
    scene = Scene(1)
    pid = scene.boot()
    scene.say(scene.roster.stalled(pid, "no progress", scene.now))
    scene.boot()
    scene.after(0.3)

    assert notes(scene.after(5.0)) == [f"worker 1 (pid {pid}) did not exit after SIGKILL: abandoned"]
    scene.stop(graceful=False)
    scene.after(3.0)
    scene.after(0.3)
    assert only(Halt, scene.after(5.0)) == [Halt(0, "")]


# ── standing ──


def test_degraded_outage_and_recovery_are_reported():
    scene = Scene(2)
    first, second = scene.boot_all()

    assert "degraded: 1 of 2 workers ready" in notes(scene.exited(first))
    assert "outage: no worker is ready" in notes(scene.exited(second))
    scene.after(0.25)
    assert "degraded: 1 of 2 workers ready" in notes(scene.ready(scene.fork()))
    assert "recovered: 2 of 2 workers ready" in notes(scene.ready(scene.fork()))


def test_a_long_outage_ends_the_server():
    scene = Scene(1)
    scene.exited(scene.boot())
    reminders = []
    while scene.roster.standing is Standing.OUTAGE:
        decisions = scene.after(scene.roster.next_deadline() - scene.now)
        reminders += [
            text for text in notes(decisions) if text.startswith("outage: no worker is ready since")
        ]
        if scene.spawns and scene.roster.wanted(scene.spawns[0].ticket):
            scene.exited(scene.fork(), Exit(4))

    assert 120.0 <= scene.now - 1000.0 <= 121.0
    assert reminders == ["outage: no worker is ready since 60 s"]
    decisions = scene.after(0.0)
    assert scene.roster.standing is Standing.STOPPED


def test_an_outage_in_which_nothing_fails_is_waited_for():
    """An application may take minutes to import."""
    scene = Scene(1)
    scene.exited(scene.boot(), KILLED_AFTER_SERVING)
    scene.fork()

    assert only(Halt, scene.after(600.0)) == []
    assert scene.roster.standing is Standing.OUTAGE


# ── stop ──


def test_a_graceful_stop_shares_the_queue_among_the_ready_and_interrupts_the_rest():
    scene = Scene(3)
    ready = scene.boot()
    booting = scene.fork()

    decisions = scene.stop()

    assert orders(StopOrder, decisions) == [Order(ready, StopOrder(1.0, 25.0))]
    assert orders(RetireOrder, decisions) == []
    assert only(Interrupt, decisions) == [Interrupt(booting)]
    assert "graceful stop of 3 workers" in notes(decisions)


def test_a_worker_that_retires_by_a_signal_from_outside_is_replaced_at_once():
    scene = Scene(1)
    first = scene.boot()

    decisions = scene.roster.retiring(first, scene.now)
    assert [spawn.slot for spawn in only(Spawn, decisions)] == [1]
    assert orders(RetireOrder, decisions) == [], "it knows"
    assert only(Dump, scene.after(25.5)) == [Dump(first)]


def test_a_worker_that_says_that_it_retires_when_it_was_ordered_to_changes_nothing():
    scene = Scene(2)
    old = scene.boot_all()
    scene.reload()
    scene.boot()

    assert scene.roster.retiring(old[0], scene.now) == []


def test_workers_that_retire_hear_of_a_graceful_stop():
    """With no other worker left, what waits may be theirs."""
    scene = Scene(1)
    first = scene.boot()
    scene.spawns += only(Spawn, scene.roster.retiring(first, scene.now))
    booting = scene.fork()

    decisions = scene.stop()
    assert orders(StopOrder, decisions) == [Order(first, StopOrder(1.0, 25.0))]
    assert only(Interrupt, decisions) == [Interrupt(booting)]


def test_a_quick_stop_cuts():
    scene = Scene(1)
    pid = scene.boot()

    assert orders(QuitOrder, scene.stop(graceful=False)) == [Order(pid, QuitOrder(2.0))]


def test_each_further_stop_is_more_urgent():
    scene = Scene(1)
    pid = scene.boot()

    assert orders(StopOrder, scene.stop()) == [Order(pid, StopOrder(1.0, 25.0))]
    assert orders(QuitOrder, scene.stop()) == [Order(pid, QuitOrder(2.0))]
    assert only(Kill, scene.stop()) == [Kill(pid, FORCED)]
    assert scene.stop() == []
    assert only(Halt, scene.exited(pid, Exit(None, 9))) == [Halt(0, "")]
    assert scene.stop() == []


def test_a_worker_that_does_not_exit_in_time_is_killed_and_the_exit_is_clean():
    scene = Scene(1)
    pid = scene.boot()
    scene.stop()

    assert scene.roster.next_deadline() == scene.now + 25.5
    assert only(Dump, scene.after(25.5)) == [Dump(pid)]
    assert only(Kill, scene.after(0.3)) == [Kill(pid, "still busy: --graceful-timeout (25 s) exceeded")]
    assert scene.exited(pid, Exit(None, 9)) == [Halt(0, "")]


def test_no_worker_is_replaced_during_a_stop():
    scene = Scene(2)
    first, second = scene.boot_all()
    scene.stop()

    assert only(Spawn, scene.exited(first, KILLED_AFTER_SERVING)) == []
    assert only(Halt, scene.exited(second)) == [Halt(0, "")]
    assert scene.roster.next_deadline() == math.inf


def test_a_master_that_cannot_go_on_ends_with_its_code():
    scene = Scene(1)
    pid = scene.boot()

    assert orders(QuitOrder, scene.roster.fail(6, "cannot listen", scene.now)) == [Order(pid, QuitOrder(2.0))]
    assert only(Halt, scene.exited(pid, Exit(0))) == [Halt(6, "cannot listen")]


# ── reload ──


def test_a_reload_begins_with_one_worker_and_retires_none_before_it_is_ready():
    scene = Scene(2)
    old = scene.boot_all()

    decisions = scene.reload()

    assert [(spawn.slot, spawn.generation) for spawn in only(Spawn, decisions)] == [(1, 2)]
    assert orders(RetireOrder, decisions) == []
    canary = scene.fork()
    decisions = scene.ready(canary)
    assert only(Commit, decisions) == [Commit(2)]
    assert orders(RetireOrder, decisions) == [Order(old[0], RetireOrder(1.0, 25.0))]


def test_a_reload_with_a_surge_of_one_starts_one_at_a_time():
    scene = Scene(3)
    old = scene.boot_all()
    scene.reload(3)
    scene.boot()

    for slot, pid in ((2, old[1]), (3, old[2])):
        assert [(spawn.slot, spawn.generation) for spawn in scene.spawns] == [(slot, 2)]
        assert orders(RetireOrder, scene.ready(scene.fork())) == [Order(pid, RetireOrder(1.0, 25.0))]
    assert scene.roster.roll is Roll.ROLLING, "it is over when the last old worker has left"
    for pid in old[:2]:
        scene.exited(pid, Exit(0))
    assert "generation 2 serves with 3 workers" in notes(scene.exited(old[2], Exit(0)))
    assert scene.roster.roll is Roll.IDLE


def test_workers_that_drain_do_not_hold_their_successors_up():
    """A reload takes as long as the longest stream, and not as long as all of them one after the other."""
    scene = Scene(3)
    old = scene.boot_all()
    scene.reload(3)
    leaving: list[int] = []

    for _ in range(3):
        leaving += [retire.pid for retire in orders(RetireOrder, scene.ready(scene.fork()))]

    assert leaving == old, "none of them has left"
    assert scene.spawns == []
    assert scene.roster.ready_count == 3


@pytest.mark.parametrize(("workers", "surge"), [(4, 1), (4, 2), (4, 4), (4, 9), (1, 1), (2, 5)])
def test_beside_as_many_workers_as_planned_no_more_than_the_surge_start(workers: int, surge: int) -> None:
    scene = Scene(workers, surge=surge)
    scene.boot_all()

    scene.reload(workers, surge)
    assert len(scene.spawns) == 1, "the canary is alone"
    scene.boot()

    assert len(scene.spawns) == min(surge, workers - 1)


def test_processes_that_are_stuck_do_not_pile_up():
    scene = Scene(2, surge=1)
    for started in range(2 + 1 + 2):
        assert scene.spawns != [], f"{started} processes are there"
        pid = scene.boot()
        scene.say(scene.roster.stalled(pid, "no progress", scene.now))

    assert scene.spawns == []
    scene.exited(pid, Exit(None, 9))
    assert len(scene.spawns) == 1


@pytest.mark.parametrize("how", [Exit(4), CRASH, Exit(0)])
def test_a_canary_that_fails_ends_the_reload_and_nothing_else(how: Exit) -> None:
    scene = Scene(2)
    scene.boot_all()
    scene.reload()

    decisions = scene.exited(scene.fork(), how)

    assert only(Abandon, decisions) == [Abandon(2)]
    assert only(Spawn, decisions) == orders(RetireOrder, decisions) == only(Halt, decisions) == []
    assert notes(decisions) == [
        f"generation 2 abandoned: its first worker failed ({how}); generation 1 keeps serving"
    ]
    assert scene.roster.standing is Standing.SERVING


def test_a_canary_that_cannot_be_forked_ends_the_reload():
    scene = Scene(1)
    scene.boot_all()
    scene.reload(1)

    decisions = scene.roster.fork_failed(scene.spawns.pop(0).ticket, "no memory", scene.now)

    assert only(Abandon, decisions) == [Abandon(2)]


def test_settings_that_are_refused_end_the_reload():
    scene = Scene(1)
    scene.boot_all()
    assert only(Reread, scene.roster.reload(scene.now)) == [Reread()]

    assert scene.roster.settings_read(None, scene.now) == []
    assert scene.roster.roll is Roll.IDLE


def test_a_worker_that_dies_while_the_canary_boots_is_replaced_by_the_old_generation():
    scene = Scene(2)
    first, _ = scene.boot_all()
    scene.reload()
    scene.fork()

    (spawn,) = only(Spawn, scene.exited(first, KILLED_AFTER_SERVING))
    assert spawn.generation == 1


def test_a_worker_that_dies_after_the_canary_is_ready_is_replaced_by_the_new_generation():
    scene = Scene(3)
    *_, third = scene.boot_all()
    scene.reload(3)
    scene.boot()

    (spawn,) = only(Spawn, scene.exited(third, KILLED_AFTER_SERVING))
    assert (spawn.slot, spawn.generation) == (3, 2)


def test_a_booting_worker_of_the_old_generation_is_ended_when_the_canary_is_ready():
    scene = Scene(2)
    first, _ = scene.boot_all()
    scene.reload()
    canary = scene.fork()
    scene.exited(first, KILLED_AFTER_SERVING)
    booting = scene.fork()

    assert only(Interrupt, scene.ready(canary)) == [Interrupt(booting)]


def test_a_canary_waits_until_there_is_room_for_it():
    scene = Scene(1)
    for _ in range(2):
        stuck = scene.boot()
        scene.say(scene.roster.stalled(stuck, "no progress", scene.now))
    scene.boot()

    assert only(Spawn, scene.reload(1)) == []
    assert [spawn.generation for spawn in only(Spawn, scene.exited(stuck, Exit(None, 9)))] == [2]


def test_a_failure_in_a_removed_slot_delays_no_other():
    scene = Scene(3)
    scene.boot()
    scene.boot()
    (wanted,) = scene.spawns
    scene.reload(1)
    scene.spawns.pop(0)
    scene.boot()

    assert not scene.roster.wanted(wanted.ticket)
    assert only(Note, scene.roster.fork_failed(wanted.ticket, "no memory", scene.now)) != []
    assert scene.roster.next_deadline() > scene.now + 1.0


def test_a_reload_may_raise_the_number_of_workers():
    scene = Scene(1)
    (old,) = scene.boot_all()
    scene.reload(3)
    while scene.spawns:
        scene.boot()
    scene.exited(old, Exit(0))
    scene.boot_all()

    assert scene.roster.ready_count == 3
    assert scene.roster.roll is Roll.IDLE


def test_a_reload_may_lower_the_number_of_workers():
    scene = Scene(4)
    old = scene.boot_all()
    scene.reload(2)
    pid = scene.fork()

    leaving = [retire.pid for retire in orders(RetireOrder, scene.ready(pid))]
    assert len(leaving) == 3, "two are READY without them"
    for pid in leaving:
        scene.exited(pid, Exit(0))
    scene.boot_all()
    (last,) = set(old) - set(leaving)
    scene.exited(last, Exit(0))
    assert scene.roster.ready_count == 2
    assert scene.roster.roll is Roll.IDLE


def test_reloads_during_a_reload_become_one_more():
    scene = Scene(1)
    (old,) = scene.boot_all()
    scene.reload(1)
    for _ in range(3):
        assert notes(scene.roster.reload(scene.now)) == ["reload deferred: another reload is in progress"]
    scene.boot()

    assert only(Reread, scene.exited(old, Exit(0))) == [Reread()]
    assert only(Reread, scene.say(scene.roster.settings_read(Plan(1, 25.0), scene.now))) == []


def test_a_reload_before_anything_was_ready_waits_for_that():
    scene = Scene(1)
    assert only(Reread, scene.roster.reload(scene.now)) == []

    assert only(Reread, scene.ready(scene.fork())) == [Reread()]


def test_a_canary_that_hangs_makes_room_for_the_next_reload():
    scene = Scene(1)
    scene.boot_all()
    scene.reload(1)
    canary = scene.fork()
    scene.after(10.0)
    scene.roster.reload(scene.now)

    assert scene.roster.next_deadline() == scene.now + 20.0
    decisions = scene.after(20.0)
    assert only(Interrupt, decisions) == [Interrupt(canary)]
    assert only(Reread, decisions) == [Reread()]


def test_a_roll_that_is_stuck_makes_room_for_the_next_reload():
    scene = Scene(2)
    scene.boot_all()
    scene.reload()
    scene.boot()
    scene.exited(scene.fork(), Exit(4))
    assert scene.roster.roll is Roll.ROLLING

    assert only(Reread, scene.roster.reload(scene.now)) == [Reread()]


def test_a_reload_ends_an_outage_at_once():
    scene = Scene(1)
    scene.exited(scene.boot())
    assert scene.roster.standing is Standing.OUTAGE

    (canary,) = only(Spawn, scene.reload(1))
    assert canary.generation == 2
    assert "recovered: 1 of 1 worker ready" in notes(scene.ready(scene.fork()))


def test_a_stop_during_a_reload_is_obeyed_at_once():
    scene = Scene(2)
    old = scene.boot_all()
    scene.reload()
    canary = scene.fork()

    decisions = scene.stop()

    assert only(Interrupt, decisions) == [Interrupt(canary)]
    assert [stop.pid for stop in orders(StopOrder, decisions)] == old
    assert scene.roster.roll is Roll.IDLE


def test_a_reload_during_a_stop_is_ignored():
    scene = Scene(1)
    scene.boot_all()
    scene.stop()

    assert scene.roster.reload(scene.now) == [Note(20, "reload ignored: the server stops")]


# ── tables ──


@pytest.mark.parametrize("table", [LIFE, STANDING, ROLL])
def test_every_state_is_in_its_table_and_can_be_left_unless_it_is_the_end(
    table: dict[object, set[object]],
) -> None:
    kinds = {type(state) for state in table}
    (kind,) = kinds

    assert set(table) == set(kind)  # type: ignore[call-overload]  # an Enum is iterable
    assert {state for state, following in table.items() if not following} <= {Life.GONE, Standing.STOPPED}
    for state, following in table.items():
        assert state not in following


def test_limits_can_be_shortened():
    scene = Scene(1)
    scene.roster = Roster(Plan(1, 25.0), 0.0, RosterTimeouts(give_up=1.0))
    (spawn,) = only(Spawn, scene.roster.tick(0.0))
    scene.roster.fork_failed(spawn.ticket, "no memory", 0.0)
    (spawn,) = only(Spawn, scene.roster.tick(0.5))
    scene.roster.fork_failed(spawn.ticket, "no memory", 0.5)

    (halt,) = only(Halt, scene.roster.tick(1.0))
    assert halt.code == ExitCode.GAVE_UP

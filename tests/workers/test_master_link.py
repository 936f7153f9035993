"""What a worker's loop learns from its leash: orders, SIGTERM and the end of its master."""

import math
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.config.settings import Settings
from appserve.observe.scoreboard import WorkerState
from appserve.workers.application import Application
from appserve.workers.channel import (
    Channel,
    ChannelMessage,
    Listening,
    QuitOrder,
    Ready,
    RetireOrder,
    Retiring,
    SiblingDied,
    StopOrder,
)
from appserve.workers.context import WorkerContext
from appserve.workers.master_link import LINGER, MasterLink, Phase
from tests.workers.context import make_context

NOW = 500.0
GRACEFUL = 25.0


class Case:
    """A leash with both ends of its channel and a clock that a test moves."""

    def __init__(self, folder: Path, context: WorkerContext, master: Channel) -> None:
        self.folder = folder
        self.context = context
        self.master = master
        self.now = NOW
        self.link = MasterLink(context, lambda: self.now)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    settings = Settings(application="app:app", graceful_timeout=GRACEFUL)
    context, master = make_context(tmp_path, settings)
    made = Case(tmp_path, context, master)
    yield made
    signal.setitimer(signal.ITIMER_REAL, 0)
    made.link.close()
    for number, handler in before.items():
        signal.signal(number, handler)
    context.channel.close()
    master.close()
    os.close(context.blackbox_fd)


def is_readable(fd: int) -> bool:
    poll = select.poll()  # select() is for descriptors below 1024
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def test_in_the_beginning_it_serves(case: Case) -> None:
    link = case.link

    assert not link.leaving
    assert not link.listening
    assert not link.orphaned
    assert link.channel_open
    assert (link.linger_until, link.deadline) == (math.inf, math.inf)


def test_ready_is_said_to_the_master_and_shown_on_the_scoreboard(case: Case) -> None:
    application = Application(print, "wsgi", "app:app", "it takes two arguments")
    case.link.announce_ready(application)

    (ready,) = case.master.receive()
    assert isinstance(ready, Ready)
    assert (ready.interface, ready.worker_class, ready.application) == ("wsgi", "sync", "app:app")
    assert ready.reason == "it takes two arguments"
    assert case.context.row.state is WorkerState.READY


def test_listeners_are_watched_when_the_master_says_so(case: Case) -> None:
    case.master.send(Listening())

    assert is_readable(case.link.channel_fd)
    case.link.on_channel()
    assert case.link.listening
    assert not case.link.leaving


def test_retire_sets_the_deadlines(case: Case) -> None:
    case.master.send(RetireOrder(1.5, 20.0))
    case.link.on_channel()

    assert case.link.stage is Phase.RETIRING
    assert (case.link.linger_until, case.link.deadline) == (NOW + 1.5, NOW + 20.0)
    assert case.context.row.state is WorkerState.DRAINING


def test_each_order_is_harder_than_those_before_it_and_is_not_taken_back(case: Case) -> None:
    context = [RetireOrder(1.5, 20.0), StopOrder(2.5, 90.0), QuitOrder(2.0)]
    stages = [Phase.RETIRING, Phase.STOPPING, Phase.QUITTING]
    for count, (order, stage) in enumerate(zip(context, stages, strict=True), 1):
        for message in (order, *context[:count]):
            case.master.send(message)
        case.link.on_channel()
        assert case.link.stage is stage

    assert (case.link.linger_until, case.link.deadline) == (NOW, NOW + 2.0)
    case.now += 1.0
    case.master.send(RetireOrder(9.0, 90.0))
    case.link.on_channel()
    assert case.link.stage is Phase.QUITTING
    assert case.link.deadline == NOW + 2.0


@pytest.mark.parametrize(
    ("order", "needs"),
    [(Listening(), True), (RetireOrder(), False), (StopOrder(), True), (QuitOrder(), False)],
)
def test_listeners_are_kept_as_long_as_they_may_be_needed(
    case: Case, order: ChannelMessage, needs: bool
) -> None:
    case.master.send(order)
    case.link.on_channel()

    assert case.link.needs_listeners is needs


def test_after_a_term_from_outside_the_listeners_may_be_needed_until_an_order_comes(case: Case) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert case.link.needs_listeners

    case.master.send(RetireOrder())
    case.link.on_channel()
    assert not case.link.needs_listeners


def test_the_master_learns_that_nothing_more_is_accepted(case: Case) -> None:
    case.link.announce_retiring()

    assert case.master.receive() == [Retiring()]


def test_the_death_of_a_sibling_is_reported_once(case: Case) -> None:
    assert not case.link.take_sibling_death()
    case.master.send(SiblingDied())
    case.link.on_channel()

    assert case.link.take_sibling_death()
    assert not case.link.take_sibling_death()


def test_a_term_from_outside_is_an_order_to_retire_and_wakes_the_loop(case: Case) -> None:
    assert not is_readable(case.link.wakeup_fd)

    os.kill(os.getpid(), signal.SIGTERM)

    assert is_readable(case.link.wakeup_fd)
    case.link.on_wakeup()
    assert not is_readable(case.link.wakeup_fd)
    assert case.link.stage is Phase.RETIRING
    assert (case.link.linger_until, case.link.deadline) == (NOW + LINGER, NOW + GRACEFUL)
    assert f"worker 3 (pid {os.getpid()}): SIGTERM received: retiring" in case.log
    assert case.master.receive() == [Retiring()]
    assert not case.link.orphaned


def test_a_term_wakes_the_loop_also_when_the_application_took_the_wakeup_descriptor(case: Case) -> None:
    """uvloop does."""
    signal.set_wakeup_fd(-1)

    os.kill(os.getpid(), signal.SIGTERM)

    assert is_readable(case.link.wakeup_fd)


def test_further_terms_change_nothing(case: Case) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    deadline = case.link.deadline
    case.now += 5.0
    os.kill(os.getpid(), signal.SIGTERM)

    assert case.link.deadline == deadline


def test_the_end_of_the_channel_is_the_end_of_the_master(case: Case) -> None:
    case.master.close()
    case.link.on_channel()

    assert case.link.orphaned
    assert not case.link.channel_open
    assert case.link.stage is Phase.STOPPING, "its siblings leave too"
    assert (case.link.linger_until, case.link.deadline) == (NOW, NOW + GRACEFUL)
    assert f"the master (pid {os.getppid()}) is gone: stopping" in case.log


def test_an_orphan_has_an_alarm_that_ends_it(case: Case) -> None:
    signal.signal(signal.SIGALRM, lambda *_: None)  # the application may have taken it
    case.master.close()
    case.link.on_channel()

    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert GRACEFUL < left <= GRACEFUL + 1.0


def test_orders_that_came_before_the_end_are_still_obeyed(case: Case) -> None:
    case.master.send(QuitOrder(2.0))
    case.master.close()
    case.link.on_channel()

    assert case.link.stage is Phase.QUITTING
    assert case.link.deadline == NOW + 2.0


def test_another_parent_is_the_end_of_the_master(tmp_path: Path, case: Case) -> None:
    context = case.context.replace(master_pid=1 if os.getppid() != 1 else 2)
    link = MasterLink(context, lambda: NOW)

    link.tick()

    assert link.orphaned
    assert link.deadline == NOW + GRACEFUL
    link.close()


def test_a_term_with_another_parent_is_the_death_signal(case: Case) -> None:
    case.link.close()
    link = MasterLink(case.context.replace(master_pid=1 if os.getppid() != 1 else 2), lambda: NOW)
    case.link = link

    os.kill(os.getpid(), signal.SIGTERM)

    assert link.orphaned
    assert link.linger_until == NOW


def test_a_tick_with_the_right_parent_is_nothing(case: Case) -> None:
    case.link.tick()

    assert not case.link.leaving
    assert case.log == ""

"""Whether a worker keeps its clients; the clock is an argument."""

import math
import time
from collections.abc import Callable
from typing import Any

import pytest

from appserve.connection import record
from appserve.wsgi import connection, exchange
from appserve.wsgi.connection import READ
from appserve.wsgi.keepalive_policy import BRIEF, HORIZON, TOO_LONG, KeepAlivePolicy
from tests.wsgi.talk import GET, Talk, hello, post

TalkTo = Callable[..., Talk]


def keep_alive_policy(**facts: bool) -> KeepAlivePolicy:
    return KeepAlivePolicy(siblings=3, **facts)


def test_one_long_call_lets_clients_go_until_it_is_forgotten():
    one = keep_alive_policy()
    one.called(2.0, 100.0)

    assert one.closes
    assert one.expected == pytest.approx(0.2)
    forgotten = 100.0 + HORIZON * math.log(0.2 / TOO_LONG)
    one.look(forgotten - 0.1)
    assert one.closes
    one.look(forgotten + 0.1)
    assert not one.closes


def test_a_connection_that_is_dear_is_kept_longer():
    dear, cheap = keep_alive_policy(is_tls=True), keep_alive_policy()
    for one in (dear, cheap):
        one.called(0.9, 100.0)

    assert (dear.closes, cheap.closes) == (False, True)
    dear.called(0.5, 100.5)
    assert dear.closes


@pytest.mark.parametrize(("seconds", "closes"), [(0.001, False), (0.01, False), (0.02, True), (0.2, True)])
def test_a_worker_that_is_always_busy_lets_clients_go_if_its_calls_are_long(seconds: float, closes: bool):
    one, now = keep_alive_policy(), 0.0
    while now < 60.0:
        now += seconds
        one.called(seconds, now)

    assert one.closes is closes
    assert one.expected == pytest.approx(seconds / 2, rel=0.05), "the mean rest of the call that is met"


def test_a_rare_call_of_a_tenth_of_a_second_is_no_reason():
    one = keep_alive_policy()
    for now in range(0, 600, 10):
        one.called(0.1, float(now))

    assert not one.closes


def test_without_siblings_nobody_is_sent_away():
    one = KeepAlivePolicy(siblings=0)
    one.called(100.0, 100.0)

    assert one.expected > TOO_LONG
    assert not one.closes


def test_where_others_can_be_served_during_a_call_only_what_blocks_them_counts():
    one = keep_alive_policy(is_one=False)
    one.called(100.0, 100.0)
    assert not one.closes

    one.blocked(0.5, 101.0)
    assert one.closes


def test_a_worker_that_was_held_for_weeks_can_say_so_and_forgets_it_within_minutes():
    one = keep_alive_policy()
    one.called(3e6, 100.0)
    assert one.expected * 1e9 < 1 << 64, "it has to fit a word of the scoreboard"

    one.look(100.0 + 300.0)
    assert not one.closes


def test_it_is_who_serves_now_that_counts_and_not_who_was_to():
    one = keep_alive_policy()
    one.called(2.0, 100.0)
    one.hear([])
    assert not one.closes

    one.hear([(0.0, 0.0)])
    assert one.closes


def test_what_siblings_have_met_may_come_here_too():
    one = keep_alive_policy()
    one.look(100.0)
    one.hear([(0.2, 0.0), (0.0, 0.0), (0.0, 0.0)])
    assert one.closes

    one.hear([(4 * TOO_LONG - 0.001, 0.0), (0.0, 0.0), (0.0, 0.0)])
    assert not one.closes


def test_a_sibling_s_call_counts_while_it_runs():
    one = keep_alive_policy()
    one.look(100.0)
    one.hear([(0.0, 0.5), (0.0, 0.0), (0.0, 0.0)])
    assert not one.closes

    one.hear([(0.0, 1.0), (0.0, 0.0), (0.0, 0.0)])
    assert one.closes


def test_a_sibling_s_running_call_is_no_wait_where_others_can_be_served_during_it():
    one = keep_alive_policy(is_one=False)
    one.look(100.0)
    one.hear([(0.0, 100.0)])
    assert not one.closes

    one.hear([(0.2, 100.0)])
    assert one.closes


def test_siblings_that_meet_nothing_do_not_outvote_what_was_met_here():
    one = keep_alive_policy()
    one.called(0.5, 100.0)
    one.hear([(0.0, 0.0)] * 15)

    assert one.closes


def test_without_keep_alive_and_at_the_end_every_answer_is_the_last():
    assert KeepAlivePolicy(keep_alive=False).closes

    one = KeepAlivePolicy()
    assert not one.closes
    one.end()
    one.look(1e9)
    one.called(0.0, 1e9)
    assert one.closes


def test_a_clock_that_stands_still_or_is_read_late_changes_nothing():
    one = keep_alive_policy()
    one.blocked(2.0, 100.0)
    one.look(100.0)
    one.look(90.0)

    assert one.expected == pytest.approx(0.2)


# ── in a connection ──


def test_an_answer_tells_a_client_that_it_better_comes_again(talk_to: TalkTo):
    talk = talk_to(hello)
    assert not talk.ask(GET).closes
    talk.service.keep_alive_policy.end()

    assert talk.ask(GET).closes
    assert talk.connection.lingers


@pytest.mark.pure
def test_calls_that_are_not_brief_are_counted(talk_to: TalkTo, monkeypatch: pytest.MonkeyPatch):
    counted = []
    took = [BRIEF]

    def called(self: KeepAlivePolicy, seconds: float, now: float) -> None:
        counted.append(round(seconds, 6))

    class Clock:
        now = 10**9

        def monotonic_ns(self) -> int:
            Clock.now += took[0]
            return Clock.now

        monotonic = time.monotonic
        time = time.time

    monkeypatch.setattr(KeepAlivePolicy, "called", called)
    for module in (exchange, connection, record):
        monkeypatch.setattr(module, "time", Clock())
    talk = talk_to(hello)
    # A call begins when the request was read, so the clock is asked twice: then, and at its end.
    talk.ask(post(b"body"))
    took[0] = BRIEF + 1000
    talk.ask(post(b"body"))

    assert counted == [round((BRIEF + 1000) / 1e9, 6)]


def late(talk: Talk) -> None:
    """What comes next has waited for too long."""
    talk.connection.late_at = 0


@pytest.mark.parametrize("request_", [GET, post(b"body"), post(b"a" * 300_000)])
def test_who_has_waited_too_long_is_asked_to_come_again(talk_to: TalkTo, request_: bytes):
    called: list[Any] = []

    def application(environ: Any, start_response: Any) -> Any:
        called.append(environ)
        return hello(environ, start_response)

    talk = talk_to(application)
    late(talk)
    talk.push(request_)
    (answer,) = talk.responses("GET")

    assert (answer.status, answer.values(b"retry-after"), answer.closes) == (503, [b"1"], False)
    assert called == []
    assert talk.needed is READ
    assert ' 503 20 "' in talk.access.text
    talk.tally.publish(1, 0, 0)
    assert talk.row.totals().responses == (0, 0, 0, 0, 1)
    assert talk.row.stall_reference_ns == 1, "it looks as if the application had been called"
    talk.connection.late_at = 1 << 62
    assert talk.ask(GET).status == 200, "the connection goes on"


def test_who_has_waited_too_long_and_left_is_recorded_as_such(talk_to: TalkTo):
    talk = talk_to(hello)
    late(talk)
    talk.client.sendall(GET)
    talk.client.close()
    talk.turn()

    assert ' 499 20 "' in talk.access.text

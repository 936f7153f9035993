"""Delays and budgets, with the clock as an argument."""

import pytest

from appserve.master.events import RosterTimeouts
from appserve.master.respawn import JITTER, Respawn, delay_after, jitter


def test_delays_double_from_a_quarter_of_a_second_to_thirty():
    assert [delay_after(failures) for failures in range(10)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_delay_after_many_failures_does_not_overflow():
    assert delay_after(1_000_000) == 30.0


def test_jitter_is_a_factor():
    assert delay_after(3, lambda: 0.8) == pytest.approx(0.8)


def make_respawn(slots: int = 3, spare: int = 2) -> Respawn:
    """All slots have failed, and their delays are over."""
    respawn = Respawn(slots, RosterTimeouts(budget_spare=spare, budget_period=10.0), lambda: 1.0)
    for slot in range(1, slots + 1):
        respawn.count_failure(slot, -100.0)
    return respawn


def test_tries_of_failed_slots_share_a_budget_for_each_period():
    respawn = make_respawn()
    tries = [respawn.wait_until(1 + number % 3, float(number)) for number in range(5)]

    assert tries == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert respawn.wait_until(1, 5.0) == 10.0
    assert respawn.wait_until(2, 9.9) == 10.0
    assert respawn.wait_until(2, 10.0) == 10.0
    assert respawn.wait_until(1, 10.5) == 11.0


def test_a_slot_that_did_not_fail_needs_no_budget():
    respawn = make_respawn(1, 0)
    assert respawn.wait_until(1, 0.0) == 0.0
    respawn.clear(1)

    assert respawn.wait_until(1, 1.0) == 1.0


def test_a_smaller_server_has_a_smaller_budget_at_once():
    respawn = make_respawn()
    for number in range(5):
        respawn.wait_until(1, float(number))
    respawn.resize(1)
    respawn.count_failure(1, -100.0)

    assert respawn.wait_until(1, 5.0) == 12.0, "when there are fewer than three in the last ten seconds"


def test_the_jitter_of_a_real_server_spreads_around_one():
    factors = [jitter() for _ in range(200)]

    assert all(1 - JITTER <= factor <= 1 + JITTER for factor in factors)
    assert min(factors) < 0.9
    assert max(factors) > 1.1

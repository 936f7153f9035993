"""Delays and budgets, with the clock as an argument."""

import pytest

from appserve.master.respawn import JITTER, Budget, delay_after, jitter


def test_delays_double_from_a_quarter_of_a_second_to_thirty():
    assert [delay_after(failures) for failures in range(10)] == [0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_delay_after_many_failures_does_not_overflow():
    assert delay_after(1_000_000) == 30.0


def test_jitter_is_a_factor():
    assert delay_after(3, lambda: 0.8) == pytest.approx(0.8)


def test_a_budget_gives_what_it_has_and_then_one_by_one():
    budget = Budget.full(5, 10.0, now=0.0)

    assert [budget.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert budget.next_at(0.0) == 2.0
    assert not budget.take(1.9)
    assert budget.take(2.0)
    assert not budget.take(2.0)


def test_a_token_is_there_when_next_at_said():
    budget = Budget.full(7, 10.0, now=0.0)
    now = 0.0
    for _ in range(50):
        while budget.take(now):
            pass
        now = budget.next_at(now)
        assert budget.take(now)


def test_a_budget_never_holds_more_than_its_size():
    budget = Budget.full(3, 10.0, now=0.0)

    assert sum(budget.take(1000.0) for _ in range(10)) == 3


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    budget = Budget.full(1, 10.0, now=100.0)

    assert budget.take(100.0)
    assert not budget.take(50.0)
    assert not budget.take(100.0)


def test_a_smaller_budget_takes_away_what_is_too_much():
    budget = Budget.full(9, 10.0, now=0.0)
    budget.resize(2)

    assert sum(budget.take(0.0) for _ in range(10)) == 2


def test_the_jitter_of_a_real_server_spreads_around_one():
    factors = [jitter() for _ in range(200)]

    assert all(1 - JITTER <= factor <= 1 + JITTER for factor in factors)
    assert min(factors) < 0.9
    assert max(factors) > 1.1

"""A test of many cases fails if one of them does."""

import pytest

from tests.conformance.faults import MOST, Faults


def test_nothing_is_reported_of_cases_that_hold():
    with Faults() as faults, faults.of("a"):
        pass


def test_every_case_is_tried_and_every_fault_reported():
    tried = []
    with pytest.raises(AssertionError) as reported, Faults() as faults:
        for name in ("a", "b", "c"):
            with faults.of(name):
                tried.append(name)
                assert name == "b", f"{name} does not hold"

    assert tried == ["a", "b", "c"]
    assert "a does not hold" in str(reported.value)
    assert "c does not hold" in str(reported.value)
    assert "── b" not in str(reported.value)


def test_after_many_faults_the_rest_is_not_tried():
    tried = 0
    with pytest.raises(AssertionError), Faults() as faults:
        for _ in range(10 * MOST):
            with faults.of("a"):
                tried += 1
                raise OSError

    assert tried == MOST

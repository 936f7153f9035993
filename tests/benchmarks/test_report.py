"""The arithmetic of the comparison."""

from dataclasses import replace

import pytest

from tests.benchmarks.contenders import PLAIN
from tests.benchmarks.load import BROWSER_FIELDS
from tests.benchmarks.report import Sample, markdown, ratios, verdicts

OURS = Sample(
    round=1,
    server="appserve-sync",
    case="hello",
    requests=1000,
    seconds=2.0,
    cpu=0.010,
    p50=0.001,
    p99=0.002,
    memory=20_000_000,
    start=0.1,
    broken=0,
    refused=0,
)
PEER = replace(OURS, server="granian-wsgi", cpu=0.020)


def test_cost_and_rate_are_for_one_request_and_one_second() -> None:
    assert (OURS.cost, OURS.rate) == (0.010 / 1000, 500.0)


def test_a_ratio_compares_servers_of_the_same_round_only() -> None:
    slow_round = [replace(OURS, round=2, cpu=0.1), replace(PEER, round=2, cpu=0.1)]
    alone = replace(OURS, round=3, cpu=9.0)
    other_case = replace(PEER, case="browser", cpu=9.0)
    samples = [OURS, PEER, *slow_round, alone, other_case]
    assert ratios(samples, "appserve-sync", "granian-wsgi", "hello") == [0.5, 1.0]


def test_a_target_is_met_by_the_median_of_the_rounds() -> None:
    samples = []
    for number, cpu in enumerate([0.010, 0.015, 0.020]):
        samples += [replace(OURS, round=number, cpu=cpu), replace(PEER, round=number)]
    (verdict,) = verdicts(samples, PLAIN, ["hello"])
    assert (verdict.least, verdict.ratio, verdict.greatest) == pytest.approx((0.5, 0.75, 1.0))
    assert verdict.met
    assert "| met |" in markdown(samples, PLAIN, ["hello"], "a machine")


def test_a_target_that_is_missed_is_called_so() -> None:
    page = markdown([replace(OURS, cpu=0.017), PEER], PLAIN, ["hello"], "a machine")
    assert "| 0.850 | 0.850 … 0.850 | MISSED |" in page


def test_a_browser_sends_sixteen_fields_with_host() -> None:
    assert len({name.lower() for name, _ in BROWSER_FIELDS} | {"host"}) == 16

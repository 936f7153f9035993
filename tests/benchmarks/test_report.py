"""The arithmetic of the comparison, and one run of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import PLAIN, is_not_compiled, main, read_options
from tests.benchmarks.cases import CASES
from tests.benchmarks.contenders import COMPILED, LIMITS, PEERS, Target, contenders, targets
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
    errors=0,
    unsent=0,
)
PEER = replace(OURS, server="granian-wsgi", cpu=0.020)
TARGET = Target("appserve-sync", "hello", "granian-wsgi", 0.8)


def test_cost_and_rate_are_for_one_request_and_one_second() -> None:
    assert (OURS.cost, OURS.rate) == (0.010 / 1000, 500.0)


def test_a_ratio_compares_servers_of_the_same_round_only() -> None:
    slow_round = [replace(OURS, round=2, cpu=0.1), replace(PEER, round=2, cpu=0.1)]
    alone = replace(OURS, round=3, cpu=9.0)
    other_case = replace(PEER, case="browser", cpu=9.0)
    samples = [OURS, PEER, *slow_round, alone, other_case]
    assert ratios(samples, TARGET) == [0.5, 1.0]


def test_a_ratio_can_compare_two_cases_of_one_server() -> None:
    target = Target("appserve-sync", "logged", "appserve-sync", 1.15, peer_case="real")
    samples = [replace(OURS, case="real"), replace(OURS, case="logged", cpu=0.011)]
    assert ratios(samples, target) == pytest.approx([1.1])


def test_a_target_is_reached_by_the_median_of_the_rounds() -> None:
    samples = []
    for number, cpu in enumerate([0.010, 0.015, 0.020]):
        samples += [replace(OURS, round=number, cpu=cpu), replace(PEER, round=number)]
    (verdict,) = verdicts(samples, [TARGET])
    assert (verdict.least, verdict.ratio, verdict.greatest) == pytest.approx((0.5, 0.75, 1.0))
    assert str(verdict) == "met"
    assert "| 0.75 | 0.50 … 1.00 | 0.80 | met |" in markdown(samples, CASES, [TARGET], "a machine")


def test_a_target_that_is_missed_is_called_so() -> None:
    page = markdown([replace(OURS, cpu=0.017), PEER], CASES, [TARGET], "a machine")
    assert "| 0.85 | 0.85 … 0.85 | 0.80 | MISSED |" in page


def test_a_page_begins_with_the_targets_and_real_is_the_first() -> None:
    wanted = [TARGET, replace(TARGET, case="real"), replace(TARGET, case="real", at_most=None)]
    samples = [OURS, PEER, replace(OURS, case="real"), replace(PEER, case="real")]
    lines = markdown(samples, CASES, wanted, "a machine").splitlines()
    summary = lines[: lines.index("## Details")]
    assert [line for line in summary if line.startswith("| ")][1:] == [
        "| real | appserve-sync | 10.0 | granian-wsgi | 20.0 | 0.50 | 0.50 … 0.50 | 0.80 | met |",
        "| hello | appserve-sync | 10.0 | granian-wsgi | 20.0 | 0.50 | 0.50 … 0.50 | 0.80 | met |",
    ]
    assert "| appserve-sync | granian-wsgi | 0.50 | 0.50 … 0.50 |" in lines


def test_cases_are_in_the_order_in_which_they_were_measured() -> None:
    page = markdown([replace(OURS, case="real"), OURS], CASES, [], "a machine")
    assert page.index("### real") < page.index("### hello")
    assert next(iter(CASES)) == "real"


def test_both_builds_have_targets_and_each_belongs_to_a_pair_that_is_compared() -> None:
    assert all(case in CASES and peer in PEERS[ours] for ours, case, peer in LIMITS)
    found = {(one.ours, one.case, one.peer): one.at_most for one in targets(list(CASES))}
    assert found["appserve-sync", "real", "granian-wsgi"] == 0.95
    assert found["appserve-sync" + COMPILED, "real", "granian-wsgi"] == 0.75
    assert found["appserve-asgi" + COMPILED, "logged", "appserve-asgi" + COMPILED] == 1.12


@pytest.mark.integration
def test_a_run_measures_every_case_and_writes_its_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--servers", "appserve-sync", "--rounds", "1", "--seconds", "0.1", "--connections", "4"]
    assert main([*arguments, "--results", str(tmp_path)]) == 0, capsys.readouterr()
    page = (tmp_path / "results.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("| logged | appserve-sync | ")]
    for case, details in CASES.items():
        assert f"### {case}: {details.about}" in page


def test_an_environment_is_found_from_where_the_command_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers are started elsewhere."""
    python = tmp_path / "compiled" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho /compiled/http1.so\n")
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    options = read_options(["--compiled", "compiled"], PLAIN)
    monkeypatch.chdir("/")
    assert options.compiled == tmp_path / "compiled"
    assert is_not_compiled(options.compiled) == ""
    (server,) = (one for one in contenders(options.compiled) if one.name == "appserve-sync" + COMPILED)
    assert server.command(8000, None)[0].startswith(str(tmp_path))


def test_an_environment_without_the_compiled_build_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--compiled", str(tmp_path), "--results", str(tmp_path)]) == 2
    assert "no environment with appserve" in capsys.readouterr().err

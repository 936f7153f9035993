"""What the rounds add up to: medians, ratios between servers of one round, and the targets."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Suite, Target


@dataclass(frozen=True)
class Sample:
    """One server, one case, one round."""

    round: int
    server: str
    case: str
    requests: int
    seconds: float
    cpu: float  # seconds on a CPU, of the whole process tree
    p50: float
    p99: float
    memory: int  # bytes
    start: float  # seconds from exec to the first right answer
    broken: int
    refused: int

    @property
    def cost(self) -> float:
        """CPU seconds for one request."""
        return self.cpu / self.requests

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


@dataclass(frozen=True)
class Verdict:
    """A target, and what was measured: the median, least and greatest ratio of the rounds."""

    target: Target
    counts: bool  # in this case
    case: str
    ratio: float
    least: float
    greatest: float

    @property
    def met(self) -> bool:
        return self.target.at_most is None or self.ratio <= self.target.at_most

    def __str__(self) -> str:
        if not self.counts or self.target.at_most is None:
            return "no target"
        return "met" if self.met else "MISSED"


def ratios(samples: Iterable[Sample], ours: str, peer: str, case: str) -> list[float]:
    """Our cost as a share of the peer's, one a round: what disturbs a round disturbs both."""
    costs = {(sample.server, sample.round): sample.cost for sample in samples if sample.case == case}
    rounds = sorted(number for server, number in costs if server == ours and (peer, number) in costs)
    return [costs[ours, number] / costs[peer, number] for number in rounds]


def verdicts(samples: Sequence[Sample], suite: Suite, cases: Iterable[str]) -> list[Verdict]:
    found = []
    for case in cases:
        for target in suite.targets:
            if shares := ratios(samples, target.ours, target.peer, case):
                counts = case in suite.target_cases
                found.append(Verdict(target, counts, case, median(shares), min(shares), max(shares)))
    return found


def markdown(samples: Sequence[Sample], suite: Suite, cases: Sequence[str], conditions: str) -> str:
    """The whole result as a page: a table a case, then the targets."""
    lines = ["# Benchmark", "", conditions, ""]
    for case in cases:
        lines += [f"## {case}", "", *_table([sample for sample in samples if sample.case == case]), ""]
    lines += ["## Targets", "", *_targets(verdicts(samples, suite, cases)), ""]
    return "\n".join(lines)


def _table(samples: Sequence[Sample]) -> list[str]:
    rows = [
        "| server | CPU µs/request | (least) | requests/s | p50 ms | p99 ms | memory MB | first answer ms |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for server in dict.fromkeys(sample.server for sample in samples):
        of = [sample for sample in samples if sample.server == server]
        cells = [
            server,
            f"{median(sample.cost for sample in of) * 1e6:.2f}",
            f"{min(sample.cost for sample in of) * 1e6:.2f}",
            f"{median(sample.rate for sample in of):,.0f}",
            _milliseconds(median(sample.p50 for sample in of)),
            _milliseconds(median(sample.p99 for sample in of)),
            f"{median(sample.memory for sample in of) / 1e6:.1f}",
            f"{median(sample.start for sample in of) * 1e3:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds else "–"


def _targets(found: Sequence[Verdict]) -> list[str]:
    rows = [
        "| case | CPU per request of | as a share of | at most | median | least … greatest | |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    rows += [
        f"| {one.case} | {one.target.ours} | {one.target.peer} | {_limit(one.target)} | {one.ratio:.3f} "
        f"| {one.least:.3f} … {one.greatest:.3f} | {one} |"
        for one in found
    ]
    return rows


def _limit(target: Target) -> str:
    return "" if target.at_most is None else f"{target.at_most:.2f}"


def describe_machine(cores: Sequence[int]) -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return (
        f"{model}, {platform.system()} {platform.release()}, {python}, "
        f"server on core {cores[0]}, load on core {cores[1]}"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def save(folder: Path, page: str, samples: Sequence[Sample], conditions: str) -> None:
    """Writes the page and the raw samples."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(page)
    raw = {"conditions": conditions, "samples": [asdict(sample) for sample in samples]}
    (folder / "results.json").write_text(json.dumps(raw, indent=1) + "\n")

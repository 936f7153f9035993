"""What the rounds add up to: medians, ratios between servers of one round, and the targets."""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tests.benchmarks.cases import Case
from tests.benchmarks.contenders import Target


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
    errors: int  # requests without a complete response
    unsent: int  # requests that were due, and for which no connection was free in time

    @property
    def cost(self) -> float:
        """CPU seconds for one request."""
        return self.cpu / self.requests

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def failures(self) -> str:
        return f"{self.errors} errors, {self.unsent} unsent"


@dataclass(frozen=True)
class Verdict:
    """A ratio and its target: the median, least and greatest of the rounds."""

    target: Target
    ratio: float
    least: float
    greatest: float

    def __str__(self) -> str:
        if self.target.at_most is None:
            return ""
        return "met" if self.ratio <= self.target.at_most else "MISSED"


def ratios(samples: Iterable[Sample], target: Target) -> list[float]:
    """Our cost as a share of the peer's, one a round: what disturbs a round disturbs both."""
    costs = {(sample.server, sample.case, sample.round): sample.cost for sample in samples}
    peer_case = target.peer_case or target.case
    found = []
    for (server, case, number), cost in sorted(costs.items()):
        peer = costs.get((target.peer, peer_case, number))
        if (server, case) == (target.ours, target.case) and peer:
            found.append(cost / peer)
    return found


def verdicts(samples: Sequence[Sample], targets: Iterable[Target]) -> list[Verdict]:
    found = []
    for target in targets:
        if shares := ratios(samples, target):
            found.append(Verdict(target, median(shares), min(shares), max(shares)))
    return found


def markdown(
    samples: Sequence[Sample], cases: Mapping[str, Case], targets: Sequence[Target], conditions: str
) -> str:
    """The whole result as a page: the targets, `real` first; then for each case its servers and what else is
    compared; then memory and start."""
    found = verdicts(samples, targets)
    lines = ["# Benchmark", "", *_summary(samples, found), "", "## Details", "", conditions, ""]
    for case in dict.fromkeys(sample.case for sample in samples):
        lines += [f"### {case}: {cases[case].about}", ""]
        lines += [*_costs([sample for sample in samples if sample.case == case]), ""]
        lines += _ratios([one for one in found if one.target.case == case and one.target.at_most is None])
    return "\n".join([*lines, "### Memory and start", "", *_sizes(samples), ""])


def _summary(samples: Sequence[Sample], found: Sequence[Verdict]) -> list[str]:
    """What has a target: CPU for a request, ours and the peer's."""
    limited = [one for one in found if one.target.at_most is not None]
    if not limited:
        return ["Nothing that has a target was compared."]
    cost = {
        (server, case): median(one.cost for one in of if one.case == case) * 1e6
        for server, of in _by_server(samples)
        for case in {one.case for one in of}
    }
    rows = [
        "| case | server | CPU µs/request | peer | µs | ratio | least … greatest | at most | |",
        "|---|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for one in sorted(limited, key=lambda one: one.target.case != "real"):
        target = one.target
        ours, peer = cost[target.ours, target.case], cost[target.peer, target.peer_case or target.case]
        rows.append(
            f"| {target.case} | {target.ours} | {ours:.1f} | {target.compared_with} | {peer:.1f} "
            f"| {one.ratio:.2f} | {one.least:.2f} … {one.greatest:.2f} | {target.at_most:.2f} | {one} |"
        )
    return rows


def _costs(samples: Sequence[Sample]) -> list[str]:
    rows = [
        "| server | CPU µs/request | least | requests/s | p50 ms | p99 ms | errors | unsent |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for server, of in _by_server(samples):
        cells = [
            server,
            f"{median(sample.cost for sample in of) * 1e6:.1f}",
            f"{min(sample.cost for sample in of) * 1e6:.1f}",
            f"{median(sample.rate for sample in of):,.0f}",
            _milliseconds(median(sample.p50 for sample in of)),
            _milliseconds(median(sample.p99 for sample in of)),
            str(sum(sample.errors for sample in of)),
            str(sum(sample.unsent for sample in of)),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _sizes(samples: Sequence[Sample]) -> list[str]:
    rows = ["| server | memory MB | first answer ms |", "|---|---:|---:|"]
    for server, of in _by_server(samples):
        memory, start = median(one.memory for one in of), median(one.start for one in of)
        rows.append(f"| {server} | {memory / 1e6:.1f} | {start * 1e3:.0f} |")
    return rows


def _by_server(samples: Sequence[Sample]) -> list[tuple[str, list[Sample]]]:
    names = dict.fromkeys(sample.server for sample in samples)
    return [(name, [sample for sample in samples if sample.server == name]) for name in names]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}" if seconds else "–"


def _ratios(found: Sequence[Verdict]) -> list[str]:
    """What is compared and has no target."""
    if not found:
        return []
    rows = [
        "| CPU of | as a share of | median | least … greatest |",
        "|---|---|---:|---:|",
    ]
    rows += [
        f"| {one.target.ours} | {one.target.compared_with} | {one.ratio:.2f} "
        f"| {one.least:.2f} … {one.greatest:.2f} |"
        for one in found
    ]
    return [*rows, ""]


def describe_machine(cores: tuple[int | None, int | None]) -> str:
    model = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    python = f"{platform.python_implementation()} {platform.python_version()}"
    server, load = cores
    where = "not pinned to cores" if server is None else f"server on core {server}, load on core {load}"
    return f"{model}, {platform.system()} {platform.release()}, {python}, {where}"


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

"""`make bench`: appserve beside its peers, one after the other, round after round.

Every round starts each server anew on one core, checks its answers, loads it from the other core and reads
what its processes have used. The rounds alternate between the servers, and a ratio compares two servers of
the same round, so that a machine that grows slow or busy does not favour anyone.
"""

import argparse
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.contenders import PLAIN, Contender, Suite
from tests.benchmarks.cost import cpu_seconds, memory_bytes
from tests.benchmarks.load import CASES, INSTALL_WRK, Measured, run_handshakes, run_wrk
from tests.benchmarks.report import Sample, describe_machine, markdown, save
from tests.benchmarks.running import Running, Unfit, running

WARM_UP = 1.0  # seconds of load before anything is measured
PACKAGES = ("appserve", "gunicorn", "uvicorn", "granian", "uvloop", "httptools")


def main(arguments: Sequence[str] | None = None, suite: Suite = PLAIN) -> int:
    options = read_options(arguments, suite)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if shutil.which("wrk") is None:
        print(INSTALL_WRK, file=sys.stderr)
        return 2
    if len(cores) < 2:
        print("two cores are needed, one for the server and one for the load", file=sys.stderr)
        return 2
    contenders = [one for one in suite.contenders if one.name in options.servers]
    missing = [one for one in contenders if not one.program.exists()]
    for one in missing:
        print(f"{one.name} is left out: {one.program} is not installed", file=sys.stderr)
    contenders = [one for one in contenders if one not in missing]
    conditions = describe(options, cores)
    print(conditions, flush=True)
    samples: list[Sample] = []
    try:
        for number in range(1, options.rounds + 1):
            for contender in contenders:
                samples += measure(contender, number, options, cores)
    except Unfit as fault:
        print(f"stopped: {fault}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    page = markdown(samples, suite, options.cases, conditions)
    save(options.results, page, samples, conditions)
    print(f"\n{page}\nwritten to {options.results}/results.md and results.json")
    return 0


def read_options(arguments: Sequence[str] | None, suite: Suite) -> argparse.Namespace:
    names = [one.name for one in suite.contenders]
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=suite.about)
    parser.add_argument("--rounds", type=int, default=5, help="of every server (default 5)")
    parser.add_argument("--seconds", type=float, default=3, help="of load for a case (default 3)")
    parser.add_argument("--connections", type=int, default=64, help="kept open by wrk (default 64)")
    parser.add_argument(
        "--servers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--cases", nargs="+", choices=suite.cases, default=suite.cases, help="which requests")
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of one second: a look, no measurement"
    )
    parser.add_argument("--results", type=Path, default=suite.results, help="folder of the results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 1
    return options


def describe(options: argparse.Namespace, cores: Sequence[int]) -> str:
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return (
        f"{describe_machine(cores)}; {options.rounds} rounds of {options.seconds:g} s, "
        f"{options.connections} connections; {versions}."
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def measure(
    contender: Contender, number: int, options: argparse.Namespace, cores: Sequence[int]
) -> list[Sample]:
    """One round of one server: every case, on a server that was just started."""
    samples = []
    with running(contender, cores[0]) as server:
        for case in options.cases:
            put_load_on(server, case, WARM_UP, options, cores)
            sample = measure_case(server, contender, number, case, options, cores)
            print(
                f"round {number}  {contender.name:14} {case:8} {sample.cost * 1e6:7.2f} µs CPU/request "
                f"{sample.rate:9,.0f} requests/s  p99 {sample.p99 * 1e3:6.2f} ms  "
                f"core {sample.cpu / sample.seconds:4.0%} used",
                flush=True,
            )
            samples.append(sample)
    return samples


def measure_case(
    server: Running,
    contender: Contender,
    number: int,
    case: str,
    options: argparse.Namespace,
    cores: Sequence[int],
) -> Sample:
    before = cpu_seconds(server.pid)
    load = put_load_on(server, case, options.seconds, options, cores)
    used = cpu_seconds(server.pid) - before
    if load.refused or not load.requests:
        raise Unfit(f"{contender.name}: case {case}: {load.requests} answers, {load.refused} of them errors")
    return Sample(
        round=number,
        server=contender.name,
        case=case,
        requests=load.requests,
        seconds=load.seconds,
        cpu=used,
        p50=load.p50,
        p99=load.p99,
        memory=memory_bytes(server.pid),
        start=server.start_seconds,
        broken=load.broken,
        refused=load.refused,
    )


def put_load_on(
    server: Running, case: str, seconds: float, options: argparse.Namespace, cores: Sequence[int]
) -> Measured:
    if CASES[case].handshakes:
        return run_handshakes(server.port, seconds=seconds, core=cores[1])
    return run_wrk(server.url, case, seconds=seconds, connections=options.connections, core=cores[1])


if __name__ == "__main__":
    sys.exit(main())

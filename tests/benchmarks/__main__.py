"""`make bench`: appserve beside its peers, one after the other, round after round.

Every round starts each server anew on one core and checks its answers. Then, case by case, the servers get
the load one after the other from the other core, and what their processes have used is read. A ratio
compares two servers in the same case of the same round, seconds apart, so that a machine that grows slow or
busy favours neither.
"""

import argparse
import compileall
import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import appserve
from tests.benchmarks import generator
from tests.benchmarks.cases import CASES, Case
from tests.benchmarks.contenders import COMPILED, Contender, Target, contenders, targets
from tests.benchmarks.cost import cpu_seconds, memory_bytes
from tests.benchmarks.generator import Measured
from tests.benchmarks.report import Sample, describe_machine, markdown, save
from tests.benchmarks.running import Running, Unfit, running, verify

WARM_UP = 0.5  # seconds of load before anything is measured
PACKAGES = ("appserve", "gunicorn", "uvicorn", "granian", "bjoern", "uvloop", "httptools")
LOG_LINE = 20  # bytes that an access log has at least for a request
LOG_LIMIT = 5.0  # seconds until the last line has been written
COMPILED_MODULE = "import appserve.http.http1 as module; print(module.__file__)"


@dataclass(frozen=True)
class Load:
    """How a case is loaded; `core` is where the load runs, None where it cannot be pinned."""

    seconds: float
    connections: int
    core: int | None


@dataclass(frozen=True)
class Suite:
    """What is compared in one run. `prepare` gives what puts the load on a server, and what to say of it."""

    about: str
    contenders: Callable[[Path | None], Sequence[Contender]]  # given the environment of the compiled build
    cases: Mapping[str, Case]
    targets: Callable[[Sequence[str]], Sequence[Target]]
    prepare: Callable[[Path], tuple[Callable[[Running, str, Load], Measured], str]]
    results: Path  # the folder, unless another one is asked for


def plain_load(folder: Path) -> tuple[Callable[[Running, str, Load], Measured], str]:
    made = generator.prepare(folder, generator.c_compiler())

    def put(server: Running, case: str, load: Load) -> Measured:
        return generator.run(
            made,
            server.port,
            CASES[case],
            seconds=load.seconds,
            connections=load.connections,
            core=load.core,
        )

    return put, made.about


PLAIN = Suite(
    about="appserve beside its peers, one after the other, round after round",
    contenders=contenders,
    cases=CASES,
    targets=targets,
    prepare=plain_load,
    results=Path(".bench"),
)


def main(arguments: Sequence[str] | None = None, suite: Suite = PLAIN) -> int:
    options = read_options(arguments, suite)
    if options.compiled and (fault := is_not_compiled(options.compiled)):
        print(fault, file=sys.stderr)
        return 2
    chosen = [
        one
        for one in suite.contenders(options.compiled)
        if one.name.removesuffix(COMPILED) in options.servers
    ]
    for one in chosen:
        if one.missing:
            print(f"{one.name} is left out: {one.missing}", file=sys.stderr)
    # An installation brings compiled bytecode; an editable one may be set not to write any, and would
    # compile every module at each start.
    compileall.compile_dir(Path(appserve.__file__).parent, quiet=1)
    put_load, about = suite.prepare(options.results)
    comparison = Comparison(suite, options, [one for one in chosen if not one.missing], put_load)
    conditions = f"{describe(options, comparison.cores)} {about}."
    print(conditions, flush=True)
    code = comparison.run()
    if comparison.samples:
        page = markdown(comparison.samples, suite.cases, suite.targets(options.cases), conditions)
        save(options.results, page, comparison.samples, conditions)
        print(f"\n{page}\nwritten to {options.results}/results.md and results.json")
    return code


def read_options(arguments: Sequence[str] | None, suite: Suite) -> argparse.Namespace:
    names = [one.name for one in suite.contenders(None)]
    cases = list(suite.cases)
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=suite.about)
    parser.add_argument("--rounds", type=int, help="of every server (default 5)")
    parser.add_argument("--seconds", type=float, help="of load for a case (default 2)")
    parser.add_argument("--connections", type=int, default=64, help="at the same time (default 64)")
    parser.add_argument(
        "--servers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--cases", nargs="+", choices=cases, default=cases, metavar="CASE", help=", ".join(cases)
    )
    parser.add_argument(
        "--compiled",
        type=lambda text: Path(text).absolute(),
        metavar="VENV",
        help="compare the compiled build in this environment, too",
    )
    parser.add_argument(
        "--quick", action="store_true", help="two rounds of one second by default: a look, no measurement"
    )
    parser.add_argument("--results", type=Path, default=suite.results, help="folder of the results")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.seconds = options.seconds or (1.0 if options.quick else 2.0)
    return options


def is_not_compiled(environment: Path) -> str:
    """Why the appserve in this environment is not a compiled one, or nothing."""
    try:
        module = subprocess.run(
            [environment / "bin" / "python", "-c", COMPILED_MODULE],
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as fault:
        return f"--compiled {environment}: no environment with appserve: {fault}"
    return f"--compiled {environment}: not compiled: {module}" if module.endswith(".py") else ""


def two_cores() -> tuple[int | None, int | None]:
    """One for the server and one for the load; None where they cannot be kept apart."""
    if shutil.which("taskset") is None:
        return None, None
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def describe(options: argparse.Namespace, cores: tuple[int | None, int | None]) -> str:
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


def await_log(server: Running, size: int) -> None:
    """A log may be written later than the response is sent."""
    end = time.monotonic() + LOG_LIMIT
    while server.log_bytes() < size:
        if time.monotonic() > end:
            raise Unfit("it has not logged its requests")
        time.sleep(0.01)


class Comparison:
    """The rounds of one run, and the samples that they gave."""

    def __init__(
        self,
        suite: Suite,
        options: argparse.Namespace,
        chosen: Sequence[Contender],
        put_load: Callable[[Running, str, Load], Measured],
    ) -> None:
        self._suite = suite
        self._options = options
        self._contenders = list(chosen)
        self._put_load = put_load
        self.cores = two_cores()
        self.samples: list[Sample] = []

    def run(self) -> int:
        """The exit code: 1 if a server was unfit."""
        code = 0
        try:
            for number in range(1, self._options.rounds + 1):
                code = self._round(number) or code
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        return code

    def _round(self, number: int) -> int:
        code = 0
        with ExitStack() as stack:
            servers: dict[tuple[str, bool], Running] = {}
            for case in self._options.cases:
                for contender in list(self._contenders):
                    logged = self._suite.cases[case].logged
                    if not contender.takes_part(case, logged):
                        continue
                    try:
                        key = contender.name, logged
                        if key not in servers:
                            started = running(contender, self.cores[0], logged=logged)
                            servers[key] = stack.enter_context(started)
                        self._measure(contender, servers[key], number, case)
                    except (Unfit, OSError, subprocess.SubprocessError) as fault:
                        print(f"{contender.name} is left out: case {case}: {fault}", file=sys.stderr)
                        self._contenders.remove(contender)
                        code = 1
        return code

    def _measure(self, contender: Contender, server: Running, number: int, case: str) -> None:
        verify(server.port, self._suite.cases[case].make(), secure=contender.secure)
        load = Load(self._options.seconds, self._options.connections, self.cores[1])
        self._put_load(server, case, Load(WARM_UP, load.connections, load.core))
        before, written = cpu_seconds(server.pid), server.log_bytes()
        measured = self._put_load(server, case, load)
        used = cpu_seconds(server.pid) - before
        if measured.not_2xx or not measured.requests:
            raise Unfit(f"{measured.requests} answers, {measured.not_2xx} of them errors")
        if self._suite.cases[case].logged:
            await_log(server, written + measured.requests * LOG_LINE)
        sample = Sample(
            round=number,
            server=contender.name,
            case=case,
            requests=measured.requests,
            seconds=measured.seconds,
            cpu=used,
            p50=measured.p50,
            p99=measured.p99,
            memory=memory_bytes(server.pid),
            start=server.start_seconds,
            errors=measured.errors,
            unsent=measured.unsent,
        )
        self.samples.append(sample)
        print(
            f"round {number}  {case:8} {contender.name:25} {sample.cost * 1e6:7.2f} µs CPU/request "
            f"{sample.rate:9,.0f} requests/s  p99 {sample.p99 * 1e3:6.2f} ms  "
            f"core {sample.cpu / sample.seconds:4.0%} used"
            + (f"  {sample.failures}" if sample.errors or sample.unsent else ""),
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())

"""The load: load.c, compiled when it has changed, or load.py where there is no C compiler."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.cases import Case
from tests.benchmarks.load import write_requests

SOURCE = Path(__file__).with_name("load.c")
FLAGS = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror")
GRACE = 30.0  # seconds that a run may take beyond its load


@dataclass(frozen=True)
class Generator:
    """The command of the load generator, and what to say about it beside the results."""

    command: tuple[str, ...]
    about: str


@dataclass(frozen=True)
class Measured:
    """One run; the latencies are seconds, and 0 where the tool does not report them."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int  # requests without a complete response
    not_2xx: int
    unsent: int = 0  # requests that were due at a fixed rate, and for which no connection was free in time


def c_compiler() -> str | None:
    return shutil.which(os.environ.get("CC") or "cc")


def prepare(folder: Path, compiler: str | None) -> Generator:
    """The generator, whose binary is kept in `folder`; with no compiler it is the one in Python."""
    if compiler is None:
        command = (sys.executable, "-m", "tests.benchmarks.load")
        return Generator(
            command, "Load by load.py, as there is no C compiler: slower than most servers, which wait for it"
        )
    version = hashlib.sha256(SOURCE.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:12]
    binary = folder.absolute() / f"load-{version}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = binary.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, "-o", str(unfinished), str(SOURCE)], check=True, timeout=120)
        unfinished.rename(binary)
    return Generator((str(binary),), "Load by load.c, which never sleeps")


def on_core(core: int | None) -> tuple[str, ...]:
    """Goes before a command that is to stay on this core (None: where the kernel puts it)."""
    return () if core is None else ("taskset", "--cpu-list", str(core))


def run(
    generator: Generator, port: int, case: Case, *, seconds: float, connections: int, core: int | None
) -> Measured:
    """Put the load of the case on a port of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "requests")
        write_requests(path, case.make())
        arguments = [str(port), str(path), "--seconds", str(seconds), "--connections", str(connections)]
        if case.rate:
            arguments += ["--rate", str(case.rate)]
        finished = subprocess.run(
            [*on_core(core), *generator.command, *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            timeout=seconds + GRACE,
        )
    result = json.loads(finished.stdout)
    return Measured(
        requests=result["requests"],
        seconds=result["seconds"],
        p50=result["latency"]["p50"],
        p99=result["latency"]["p99"],
        errors=sum(result["errors"].values()),
        not_2xx=result["not_2xx"],
        unsent=result["unsent"],
    )

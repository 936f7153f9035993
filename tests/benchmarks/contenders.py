"""What is compared: the servers, each with the command that starts it, and what is demanded of ours.

Each server runs one worker, keeps connections alive where it can, and writes an access log only in the case
that is about it.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

APPLICATIONS = "tests.benchmarks.applications"
BINARIES = Path(sys.executable).parent
THREADS = "8"
COMPILED = "-compiled"  # ends the name of a server that runs our compiled build
FEW = frozenset({"real", "hello", "close"})
BJOERN = (
    "import sys, bjoern; from tests.benchmarks.applications import wsgi; "
    "bjoern.run(wsgi, '127.0.0.1', int(sys.argv[1]))"
)

Command = Callable[[int, Path | None], Sequence[str]]
"""The arguments for a port, and for a file that the access log goes to; None: no access log. Servers that
cannot name a file write it to standard output."""


@dataclass(frozen=True)
class Contender:
    """A server in the comparison. `secure` is whether it speaks TLS, `missing` why it cannot run."""

    name: str
    command: Command
    secure: bool = False
    logs: bool = True
    cases: frozenset[str] | None = None  # None: all of them
    missing: str = ""

    def takes_part(self, case: str, logged: bool) -> bool:
        return (self.cases is None or case in self.cases) and (self.logs or not logged)


@dataclass(frozen=True)
class Target:
    """What the CPU time of a request may be at most, as a share of the peer's in the same round.

    `at_most` is None where the ratio is reported and nothing is demanded of it.
    """

    ours: str
    case: str
    peer: str
    at_most: float | None = None
    peer_case: str = ""  # another case than ours

    @property
    def compared_with(self) -> str:
        return f"{self.peer}, {self.peer_case}" if self.peer_case else self.peer


def _program(name: str, binaries: Path) -> tuple[str, str]:
    """The console script, and what to say if it is not there."""
    path = binaries / name
    return str(path), "" if path.exists() else f"{path} is not installed"


def appserve(
    name: str, interface: str, *flags: str, secure: bool = False, binaries: Path = BINARIES
) -> Contender:
    program, missing = _program("appserve", binaries)

    def command(port: int, log: Path | None) -> Sequence[str]:
        return [
            *(program, f"{APPLICATIONS}:{interface}", "--bind", f"127.0.0.1:{port}", "--workers", "1"),
            *("--access-logfile", str(log) if log else "none", "--log-level", "warning", *flags),
        ]

    return Contender(name, command, secure=secure, missing=missing)


def granian(name: str, interface: str, *flags: str) -> Contender:
    program, missing = _program("granian", BINARIES)

    def command(port: int, log: Path | None) -> Sequence[str]:
        logging = ("--access-log",) if log else ("--log-level", "warning")
        return [
            *(program, "--interface", interface, "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", *logging, *flags, f"{APPLICATIONS}:{interface}"),
        ]

    return Contender(name, command, missing=missing)


def gunicorn(name: str, *flags: str, secure: bool = False) -> Contender:
    program, missing = _program("gunicorn", BINARIES)

    def command(port: int, log: Path | None) -> Sequence[str]:
        logging = ("--access-logfile", str(log)) if log else ()
        return [
            *(program, "--workers", "1", "--bind", f"127.0.0.1:{port}", "--log-level", "warning"),
            *(*logging, *flags, f"{APPLICATIONS}:wsgi"),
        ]

    return Contender(name, command, secure=secure, missing=missing, cases=None if secure else FEW)


def uvicorn(*flags: str, secure: bool = False) -> Contender:
    program, missing = _program("uvicorn", BINARIES)

    def command(port: int, log: Path | None) -> Sequence[str]:
        logging = ("--access-log",) if log else ("--no-access-log", "--log-level", "warning")
        return [
            *(program, "--host", "127.0.0.1", "--port", str(port), "--http", "httptools"),
            *("--loop", "uvloop", *logging, *flags, f"{APPLICATIONS}:asgi"),
        ]

    return Contender("uvicorn", command, secure=secure, missing=missing)


def bjoern() -> Contender:
    missing = (
        "" if importlib.util.find_spec("bjoern") else "it is not installed (it is built with libev's headers)"
    )
    return Contender(
        "bjoern", lambda port, log: [sys.executable, "-c", BJOERN, str(port)], logs=False, missing=missing
    )


def contenders(compiled: Path | None) -> tuple[Contender, ...]:
    """Every server; ours twice if there is an environment with the compiled build."""

    def ours(worker: str, interface: str, *flags: str) -> list[Contender]:
        found = [appserve(f"appserve-{worker}", interface, *flags)]
        if compiled:
            name = f"appserve-{worker}{COMPILED}"
            found.append(appserve(name, interface, *flags, binaries=compiled / "bin"))
        return found

    return (
        *ours("sync", "wsgi"),
        granian("granian-wsgi", "wsgi"),
        bjoern(),
        gunicorn("gunicorn-sync"),
        *ours("threads", "wsgi", "--threads", THREADS),
        granian("granian-threads", "wsgi", "--blocking-threads", THREADS),
        gunicorn("gunicorn-gthread", "--threads", THREADS),
        *ours("asgi", "asgi"),
        granian("granian-asgi", "asgi"),
        uvicorn(),
    )


PEERS = {
    "appserve-sync": ("granian-wsgi", "bjoern", "gunicorn-sync"),
    "appserve-threads": ("granian-threads", "gunicorn-gthread"),
    "appserve-asgi": ("granian-asgi", "uvicorn"),
}

LIMITS: dict[tuple[str, str, str], tuple[float | None, float | None]] = {
    # ours, case, peer: at most, for the pure build and for the compiled one
    ("appserve-sync", "real", "granian-wsgi"): (0.95, 0.75),
    ("appserve-sync", "real", "bjoern"): (None, 1.25),
    ("appserve-sync", "post", "granian-wsgi"): (1.0, 0.8),
    ("appserve-sync", "echo", "granian-wsgi"): (1.0, 0.8),
    ("appserve-sync", "hello", "granian-wsgi"): (0.85, 0.7),
    ("appserve-sync", "close", "granian-wsgi"): (1.0, 0.85),
    ("appserve-threads", "real", "granian-threads"): (1.2, 0.95),
    ("appserve-threads", "close", "granian-threads"): (1.0, 0.85),
    ("appserve-asgi", "real", "granian-asgi"): (1.0, 0.85),
    ("appserve-asgi", "real", "uvicorn"): (0.65, 0.55),
    ("appserve-asgi", "post", "granian-asgi"): (0.6, 0.5),
    ("appserve-asgi", "post", "uvicorn"): (0.7, 0.6),
    ("appserve-asgi", "echo", "granian-asgi"): (0.6, 0.5),
    ("appserve-asgi", "echo", "uvicorn"): (0.7, 0.6),
    ("appserve-asgi", "close", "granian-asgi"): (1.0, 0.85),
}

LOG_LIMITS = (1.15, 1.12)  # with the access log, as a share of without


def targets(cases: Sequence[str]) -> tuple[Target, ...]:
    """Every ratio of these cases, for both builds."""
    found = []
    for case in cases:
        for worker, peers in PEERS.items():
            for build, name in enumerate((worker, f"{worker}{COMPILED}")):
                if case == "logged":
                    found.append(Target(name, case, name, LOG_LIMITS[build], peer_case="real"))
                found += [
                    Target(name, case, peer, LIMITS.get((worker, case, peer), (None, None))[build])
                    for peer in peers
                ]
    return tuple(found)

"""Who is compared: one row a server, with the command that starts it on a port.

Each runs one worker, keeps connections alive where it can, and writes no access log: what is compared is
the cost of a request, not of a log line.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

APPLICATIONS = "tests.benchmarks.applications"


@dataclass(frozen=True)
class Contender:
    """A server in the comparison; `command` gives its arguments for a port.

    `secure` is whether it speaks TLS.
    """

    name: str
    interface: str
    command: Callable[[int], list[str]]
    secure: bool = False

    @property
    def program(self) -> Path:
        """The console script, beside the Python that runs the comparison."""
        return Path(sys.executable).parent / self.command(0)[0]


@dataclass(frozen=True)
class Target:
    """What the CPU time of a request may be at most, as a share of a peer's."""

    ours: str
    peer: str
    at_most: float | None  # None: the ratio is told, and nothing demanded of it


@dataclass(frozen=True)
class Suite:
    """What is compared in one run. The targets are for `target_cases`; in others the ratio is only told."""

    about: str
    contenders: tuple[Contender, ...]
    cases: tuple[str, ...]
    targets: tuple[Target, ...]
    target_cases: tuple[str, ...]
    results: Path  # the folder, unless another one is asked for


CONTENDERS = (
    Contender(
        "appserve-sync",
        "wsgi",
        lambda port: [
            *("appserve", f"{APPLICATIONS}:wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"),
            *("--access-logfile", "none", "--log-level", "warning"),
        ],
    ),
    Contender(
        "granian-wsgi",
        "wsgi",
        lambda port: [
            *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--log-level", "warning", f"{APPLICATIONS}:wsgi"),
        ],
    ),
    Contender(
        "gunicorn-sync",
        "wsgi",
        lambda port: [
            *("gunicorn", "--worker-class", "sync", "--workers", "1", "--bind", f"127.0.0.1:{port}"),
            *("--log-level", "warning", f"{APPLICATIONS}:wsgi"),
        ],
    ),
    Contender(
        "appserve-threads",
        "wsgi",
        lambda port: [
            *("appserve", f"{APPLICATIONS}:wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"),
            *("--threads", "8", "--access-logfile", "none", "--log-level", "warning"),
        ],
    ),
    Contender(
        "granian-threads",
        "wsgi",
        lambda port: [
            *("granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--blocking-threads", "8", "--log-level", "warning", f"{APPLICATIONS}:wsgi"),
        ],
    ),
    Contender(
        "gunicorn-gthread",
        "wsgi",
        lambda port: [
            *("gunicorn", "--threads", "8", "--workers", "1", "--bind", f"127.0.0.1:{port}"),
            *("--log-level", "warning", f"{APPLICATIONS}:wsgi"),
        ],
    ),
    Contender(
        "appserve-asgi",
        "asgi",
        lambda port: [
            *("appserve", f"{APPLICATIONS}:asgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"),
            *("--access-logfile", "none", "--log-level", "warning"),
        ],
    ),
    Contender(
        "uvicorn",
        "asgi",
        lambda port: [
            *("uvicorn", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
            *("--http", "httptools", "--loop", "uvloop", "--log-level", "warning", f"{APPLICATIONS}:asgi"),
        ],
    ),
    Contender(
        "granian-asgi",
        "asgi",
        lambda port: [
            *("granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port)),
            *("--workers", "1", "--log-level", "warning", f"{APPLICATIONS}:asgi"),
        ],
    ),
)

TARGETS = (
    Target("appserve-sync", "granian-wsgi", 0.80),
    Target("appserve-sync", "gunicorn-sync", 0.10),
    Target("appserve-threads", "granian-threads", None),
    Target("appserve-threads", "gunicorn-gthread", 0.30),
    Target("appserve-asgi", "uvicorn", 0.85),
    Target("appserve-asgi", "granian-asgi", 0.70),
)

PLAIN = Suite(
    about="appserve beside its peers, one after the other, round after round",
    contenders=CONTENDERS,
    cases=("hello", "browser", "varied", "proxied"),
    targets=TARGETS,
    target_cases=("hello", "browser"),
    results=Path(".bench"),
)

"""What a slow request costs the quick ones beside it: `python -m tests.benchmarks.head_of_line`.

Four workers; fifty kept-alive connections, on each of which a quick request is due every few hundredths of a
second; and every few seconds, on any of them, one that takes two seconds. Reported is how long the quick ones
took from when they were due, with the new connection that some of them need. Those that are due while one
waits are counted too: a connection is a proxy's, most likely, and the next request another client's.

A connection that is kept by a worker waits for whatever that worker does. `off` is without the remedy
(appserve/workers/keepalive_policy.py), `on` is with it; an asgi worker needs none as long as its application
does not block.
The second half is reported by itself: a worker lets its clients go only once it has made some of them wait.
"""

import argparse
import asyncio
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKERS = 4
CLIENTS = 50
BETWEEN = (0.02, 0.08)  # seconds from one quick request to the next, evenly
SLOW = 2.0  # seconds that a slow request takes
EVERY = 2.5  # seconds between two of them
START_LIMIT = 20.0
ROOT = Path(__file__).parent.parent.parent

LAUNCHER = """
import sys
from appserve.workers import keepalive_policy
if sys.argv.pop(1) == "off":
    keepalive_policy.LONG_NS = 1 << 63
from appserve.cli.main import main
main()
"""

CLASSES: dict[str, tuple[str, ...]] = {
    "sync": ("wsgi", "--worker-class", "sync"),
    "threads": ("wsgi", "--worker-class", "threads", "--threads", "4"),
    "asgi": ("asgi",),
}


# ── the applications ──


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/slow":
        time.sleep(SLOW)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


# ── the load ──


@dataclass
class Measured:
    """Seconds that quick requests took, with when they were due; how many connections there were; when the
    next slow request is due."""

    took: list[tuple[float, float]] = field(default_factory=list)
    connections: int = 0
    slow_at: float = 0.0

    def takes_slow(self) -> bool:
        """Whether a slow request is due; the caller makes it."""
        now = time.monotonic()
        if now < self.slow_at:
            return False
        self.slow_at = now + EVERY * random.uniform(0.5, 1.5)
        return True

    def row(self, since: float) -> str:
        """p50 p90 p99 max in milliseconds, of those due after `since`; and how many."""
        seconds = sorted(took for due, took in self.took if due >= since) or [0.0]
        marks = [seconds[min(len(seconds) - 1, int(len(seconds) * share))] for share in (0.5, 0.9, 0.99)]
        return " ".join(f"{mark * 1e3:8.1f}" for mark in (*marks, seconds[-1])) + f" {len(seconds):8}"


class Client:
    """Keeps its connection as long as the server does."""

    def __init__(self, port: int, measured: Measured) -> None:
        self._port = port
        self._measured = measured
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, path: str) -> None:
        """Raises OSError if there is no answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            self._measured.connections += 1
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(2)
        if not head.startswith(b"HTTP/1.1 200 "):
            raise OSError(f"unexpected: {head!r}")
        if b"\r\nconnection: close\r\n" in head.lower():
            self.close()

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def live(self, until: float) -> None:
        """Ask whenever a request is due."""
        due = time.monotonic()
        while due < until:
            await asyncio.sleep(due - time.monotonic())
            if due + SLOW < until and self._measured.takes_slow():
                await self.ask("/slow")
                due = time.monotonic()
            await self.ask("/")
            self._measured.took.append((due, time.monotonic() - due))
            due += random.uniform(*BETWEEN)
        self.close()


@asynccontextmanager
async def running(worker_class: str, remedy: str) -> AsyncIterator[int]:
    """The server; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    name, *arguments = CLASSES[worker_class]
    command = [sys.executable, "-c", LAUNCHER, remedy, f"tests.benchmarks.head_of_line:{name}", *arguments]
    command += ["--workers", str(WORKERS), "--bind", f"127.0.0.1:{port}"]
    command += ["--access-logfile", "none", "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                await Client(port, Measured()).ask("/")
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > limit:
                    raise
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.5)  # for the other workers
        yield port
    finally:
        process.terminate()
        process.wait(30)


async def measure(worker_class: str, remedy: str, seconds: float) -> None:
    """Run one server under load, and print what was seen."""
    measured = Measured()
    async with running(worker_class, remedy) as port:
        began = time.monotonic()
        until = began + seconds
        measured.slow_at = began + 1.0
        await asyncio.gather(*[Client(port, measured).live(until) for _ in range(CLIENTS)])
    name = f"{worker_class:8} {remedy:4}"
    print(f"{name} all         {measured.row(0.0)} {measured.connections:8}")
    print(f"{name} second half {measured.row(began + seconds / 2)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of load for each server (default 20)")
    parser.add_argument("--classes", nargs="+", choices=list(CLASSES), default=list(CLASSES))
    options = parser.parse_args()
    marks = " ".join(
        f"{name:>8}" for name in ("p50 ms", "p90 ms", "p99 ms", "max ms", "requests", "connections")
    )
    print(f"{'class':8} pace {'':11} {marks}")
    for worker_class in options.classes:
        for remedy in ("off", "on") if worker_class != "asgi" else ("on",):
            asyncio.run(measure(worker_class, remedy, options.seconds))


if __name__ == "__main__":
    main()

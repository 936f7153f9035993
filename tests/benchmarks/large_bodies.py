"""`python -m tests.benchmarks.large_bodies`: what a gigabyte costs a worker in memory, in both directions.

Each class of worker takes an upload, and sends a file and a generated response to a reader that is slow: it
reads nothing for a while, and then a piece at a time with a pause after each. Reported are the highest memory
while it lasts, RssAnon (the process's own, sampled) and VmHWM (with the pages of its files, by the kernel),
each beside what it was before; and the CPU time.
"""

import argparse
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tests.apps.large import PIECE as GENERATED
from tests.apps.large import piece
from tests.benchmarks.cost import cpu_seconds
from tests.integration.large import Download, Memory, connect, upload
from tests.integration.server import Server, command

ROOT = Path(__file__).parent.parent.parent
CLASSES = ("sync", "threads", "asgi")
SAMPLE = 0.01  # seconds between two looks at the memory
STOPS = 3.0  # seconds for which the slow reader reads nothing
PAUSE = 0.02  # seconds after each of its pieces
PIECE = 8 << 20
MB = 1e6


class Peak:
    """The highest RssAnon of a process while the block lasts."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.before = self.highest = memory.anonymous

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE):
            self.highest = max(self.highest, self._memory.anonymous)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()


def read_slowly(server: Server, path: str, size: int) -> int:
    """The CRC of a response to a reader that is slow."""
    with closing(connect(server, small=True)) as client:
        download = Download(client, path)
        time.sleep(STOPS)
        last = 0
        while download.read(1 << 20):
            if download.received - last >= PIECE:
                last = download.received
                time.sleep(PAUSE)
    if download.received != size:
        raise SystemExit(f"{path}: {download.received} bytes came instead of {size}")
    return download.crc


def send_all(server: Server, file: Path, size: int) -> int:
    """Upload the file; gives its CRC as the application found it."""
    with closing(connect(server)) as client, file.open("rb") as opened:
        answer = upload(client, iter(lambda: opened.read(1 << 20), b""), size)
    found = re.search(rb"\r\n%d ([0-9a-f]{8})" % size, answer)
    if found is None:
        raise SystemExit(f"upload: answered {answer!r}")
    return int(found[1], 16)


def measure(server: Server, pid: int, what: Callable[[], int], expected: int) -> str:
    """The figures of one transfer, as columns of a table."""
    memory = Memory(pid)
    cpu, began = cpu_seconds(pid), time.monotonic()
    with Peak(memory) as peak:
        crc = what()
    seconds = time.monotonic() - began
    if crc != expected:
        raise SystemExit("the bytes are not those that were sent")
    return (
        f"{peak.highest / MB:13.1f} {(peak.highest - peak.before) / MB:+9.1f} {memory.growth / MB:+11.1f} "
        f"{seconds:9.1f} {cpu_seconds(pid) - cpu:8.2f}"
    )


def crc_of(pieces: Iterator[bytes]) -> int:
    crc = 0
    for data in pieces:
        crc = zlib.crc32(data, crc)
    return crc


def run(worker_class: str, folder: Path, file: Path, size: int, expected: dict[str, int]) -> None:
    interface = "asgi" if worker_class == "asgi" else "wsgi"
    flags = ["--worker-class", worker_class, "--bind", "127.0.0.1:0", "--chdir", str(ROOT / "tests" / "apps")]
    # A gigabyte needs a limit of a gigabyte, and what is not its payload a little more.
    flags += ["--limit-request-body", str(size), "--limit-spool", str(size + (16 << 20))]
    environ = {"LARGE_FILE": str(file), "LARGE_SIZE": str(size), "TMPDIR": str(folder)}
    server = Server(command(f"large:{interface}", *flags), folder, environ, worker_class)
    try:
        (pid,) = server.await_ready().values()
        server.get("/")
        for name, what in (
            ("upload", lambda: send_all(server, file, size)),
            ("file", lambda: read_slowly(server, "/file", size)),
            ("generated", lambda: read_slowly(server, "/generate", size)),
        ):
            print(f"{worker_class:8} {name:10} {measure(server, pid, what, expected[name])}", flush=True)
    finally:
        server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.large_bodies")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes (default 1 GiB)")
    parser.add_argument("--classes", nargs="+", choices=CLASSES, default=CLASSES)
    options = parser.parse_args(arguments)
    size: int = options.size // (1 << 20) * (1 << 20)
    with tempfile.TemporaryDirectory(prefix="appserve-large-") as name:
        folder = Path(name)
        free = shutil.disk_usage(folder).free
        if free < 3 * size:
            print(f"{folder} has {free / MB:.0f} MB free, {3 * size / MB:.0f} are needed", file=sys.stderr)
            return 2
        file = folder / "file"
        with file.open("wb") as opened:
            for _ in range(size >> 20):
                opened.write(os.urandom(1 << 20))
        with file.open("rb") as opened:
            sums = {"file": crc_of(iter(lambda: opened.read(1 << 20), b""))}
        sums["upload"] = sums["file"]
        sums["generated"] = crc_of(map(piece, range(size // GENERATED)))
        print(f"{size / MB:.0f} MB; memory in MB, time in seconds")
        print("class    what        RssAnon peak    growth  VmHWM grew      took      CPU")
        for worker_class in options.classes:
            run(worker_class, folder, file, size, sums)
    return 0


if __name__ == "__main__":
    sys.exit(main())

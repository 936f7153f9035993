"""The way of a warm GET through our files, for each class of worker, as docs/design.md has it.

    python -m tests.benchmarks.path            # the same GET again
    python -m tests.benchmarks.path --varied   # with another query and Cookie, as most requests are

A worker that has served the connection before is watched with sys.setprofile from one call of the application
to the next; what is printed begins where the worker wakes up. A border is crossed where a call is in another
file than the call before it. (Nothing is seen of a compiled build.)
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from types import FrameType
from typing import Any

from tests.benchmarks.applications import asgi as plain_asgi
from tests.benchmarks.applications import wsgi as plain_wsgi
from tests.integration.server import Server, await_fact, command

ROOT = Path(__file__).parent.parent.parent
OURS = f"{ROOT}/src/appserve/"

CLASSES = {"sync": "wsgi", "threads": "wsgi", "asgi": "asgi"}
WARM = 6  # requests before the one that is watched
PAUSE = 0.1  # seconds from a response to the next request, so that the wait for it is the longest

Call = tuple[float, str, str]
"""When, the file below src/appserve, the function."""


class Watch:
    """In the worker: what is called between two calls of the application, written to a file once."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._calls: list[Call] = []
        self._requests = 0
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(OURS):
            file = frame.f_code.co_filename.removeprefix(OURS)
            self._calls.append((time.monotonic(), file, frame.f_code.co_name))

    def count(self) -> None:
        """The application is called."""
        self._requests += 1
        calls, self._calls = self._calls, []
        if self._requests == WARM + 1:
            partial = Path(f"{self._path}.new")
            partial.write_text(json.dumps(calls))
            partial.replace(self._path)


WATCH = Watch(os.environ["WATCH_PATH"]) if "WATCH_PATH" in os.environ else None


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    if WATCH is not None:
        WATCH.count()
    return plain_wsgi(environ, start_response)


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if WATCH is not None and scope["type"] == "http":
        WATCH.count()
    await plain_asgi(scope, receive, send)


def calls_of(worker_class: str, folder: Path, varied: bool = False) -> list[tuple[str, str]]:
    """(file, function) of the calls of one request, from where the worker wakes up to where it waits."""
    path = folder / "calls"
    options = ["--worker-class", worker_class, "--bind", "127.0.0.1:0", "--app-dir", str(ROOT)]
    options += ["--access-logfile", str(folder / "access.log")]
    application = f"tests.benchmarks.path:{CLASSES[worker_class]}"
    server = Server(command(application, *options), folder, {"WATCH_PATH": str(path)})
    try:
        server.await_ready()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for number in range(WARM + 1):
            target, seen = (f"/items?page={number}", number) if varied else ("/items", 0)
            connection.request("GET", target, headers={"Cookie": f"seen={seen}"})
            connection.getresponse().read()
            time.sleep(PAUSE)  # what is watched is recognised by this wait
        await_fact(path.exists, "the calls are written")
        connection.close()
    finally:
        server.close()
    return from_waking([tuple(call) for call in json.loads(path.read_text())])


def from_waking(calls: Sequence[Call]) -> list[tuple[str, str]]:
    """What is between two calls of the application, turned so that it begins after the longest wait."""
    waits = [later[0] - earlier[0] for earlier, later in pairwise(calls)]
    start = waits.index(max(waits)) + 1
    return [(file, function) for _, file, function in (*calls[start:], *calls[:start])]


def describe(worker_class: str, calls: Sequence[tuple[str, str]]) -> str:
    """A paragraph: the figures, then the files in order, each with the functions that are called in it."""
    steps = [(file, [name for _, name in run]) for file, run in groupby(calls, key=lambda call: call[0])]
    files = len({file for file, _ in steps})
    lines = [f"{worker_class}: {len(steps) - 1} borders, {files} files, {len(calls)} calls"]
    lines += [f"    {file:28} {', '.join(dict.fromkeys(names))}" for file, names in steps]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.path", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--varied", action="store_true", help="another query and Cookie in each request")
    varied = parser.parse_args().varied
    for worker_class in CLASSES:
        with tempfile.TemporaryDirectory() as folder:
            print(describe(worker_class, calls_of(worker_class, Path(folder), varied)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

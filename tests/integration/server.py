"""The real `appserve` command, started for a test: awaits its log lines, signals it, and always cleans up.

    def test_it_serves(serve):
        server = serve(files={"app.py": HELLO})
        assert 200 == server.get("/").status

`serve` is the fixture in conftest.py. It writes `files` into a folder of the test's own, starts the command
there on port 0 and waits until it listens. What is awaited is a line of the log or a fact about a process,
never a time.
"""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

#: How long any fact may take on a slow, busy machine before the test fails; seconds.
TIMEOUT = 30.0

READY = r"worker (\d+) \(pid (\d+)\) ready in [\d.]+ s, generation (\d+)"

HELLO = """
import os

def app(environ, start_response):
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""

HELLO_ASGI = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
"""


class Threaded(str):
    """The source of an application that a threads worker is to serve."""


HELLO_THREADS = Threaded(HELLO)


def await_fact(fact: Callable[[], object], what: str, timeouts: float = TIMEOUT) -> None:
    """Wait until `fact()` is true."""
    deadline = time.monotonic() + timeouts
    while not fact():
        assert time.monotonic() < deadline, f"did not come true within {timeouts} s: {what}"
        time.sleep(0.005)


class Answer:
    """A response, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()


class Server:
    """One running command. `pid` is the master's."""

    def __init__(
        self,
        command: Iterable[str],
        folder: Path,
        environ: Mapping[str, str],
        stem: str = "server",
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.folder = folder
        self._log_path = folder / f"{stem}.err"
        self._access_path = folder / f"{stem}.out"
        with self._log_path.open("wb") as errors, self._access_path.open("wb") as output:
            # A session of its own: a signal to its group is what a Ctrl-C in a terminal is, and
            # whatever belongs to the session at the end is ours to clean up.
            self.process = subprocess.Popen(
                list(command),
                cwd=folder,
                env={**os.environ, **environ},
                stdin=stdin,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        self.pid = self.process.pid

    # ── what it says ──

    @property
    def log(self) -> str:
        """The error log so far."""
        return self._log_path.read_text(errors="backslashreplace")

    @property
    def access_log(self) -> str:
        return self._access_path.read_text(errors="backslashreplace")

    def mark(self) -> int:
        """A place in the log, for `since`."""
        return len(self.log)

    def find(self, pattern: str, since: int = 0) -> list[re.Match[str]]:
        return list(re.finditer(pattern, self.log[since:], re.MULTILINE))

    def await_line(
        self, pattern: str, count: int = 1, since: int = 0, timeouts: float = TIMEOUT
    ) -> list[re.Match[str]]:
        """Wait until the log (after `since`) has `count` matches of `pattern`; gives them."""
        deadline = time.monotonic() + timeouts
        while True:
            found = self.find(pattern, since)
            if len(found) >= count:
                return found
            ended = self.process.poll() is not None
            if ended:
                found = self.find(pattern, since)
                if len(found) >= count:
                    return found
            assert not ended and time.monotonic() < deadline, (
                f"{len(found)} of {count} matches of {pattern!r} in the log"
                f"{' of a server that has ended' if ended else ''}:\n{self.log}"
            )
            time.sleep(0.005)

    def await_ready(self, count: int = 1, generation: int = 1, since: int = 0) -> dict[int, int]:
        """Wait for so many READY workers of a generation; gives slot → pid of those, the latest of each
        slot."""
        pattern = READY.removesuffix(r"(\d+)") + f"{generation}$"
        found = self.await_line(pattern, count, since)
        return {int(match[1]): int(match[2]) for match in found}

    # ── where it is ──

    @property
    def port(self) -> int:
        return int(self.await_line(r"listening on https?://(?:[\d.]+|\[.*\]):(\d+)(?: \(|$)")[0][1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        """A keep-alive connection, to be closed by the caller."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def get(self, path: str = "/", timeout: float = TIMEOUT) -> Answer:
        """One request on a connection of its own."""
        connection = self.connect(timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def send(self, data: bytes) -> socket.socket:
        """A raw connection with `data` sent, to be closed by the caller."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT)
        client.sendall(data)
        return client

    def is_refusing(self) -> bool:
        # Not longer: at a stop, until the sockets are closed, the kernel drops what asks for a connection; it
        # is repeated only after a second, and a new one has its answer at once.
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=0.1).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False

    # ── its processes ──

    def worker_pids(self) -> list[int]:
        """The children of the master, dead ones that were not reaped included."""
        return children_of(self.pid)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeouts: float = TIMEOUT) -> int:
        """Wait for the end of the master; gives its exit code (negative: a signal)."""
        try:
            return self.process.wait(timeouts)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeouts} s:\n{self.log}") from None

    def stop(self, timeouts: float = TIMEOUT) -> int:
        """SIGTERM, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait(timeouts)

    def close(self) -> None:
        """End whatever is left of it: every process of its session, by pid."""
        for _ in range(100):
            left = [pid for pid in processes_of_session(self.pid) if is_alive(pid)]
            for pid in left:
                kill(pid, signal.SIGKILL)
            self.process.poll()
            if not left:
                break
            time.sleep(0.01)
        self.process.wait()


def command(*arguments: str) -> list[str]:
    """The command line of appserve with this interpreter."""
    return [sys.executable, "-m", "appserve", *arguments]


# ── processes, from /proc ──


def kill(pid: int, number: int) -> None:
    """Signal a process of a test's own server; none, if it has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def stat_of(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, ppid, pgrp, session …; empty when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    fields = stat_of(pid)
    return bool(fields) and fields[0] not in "ZX"


def pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def children_of(parent: int) -> list[int]:
    return [pid for pid in pids() if (fields := stat_of(pid)) and int(fields[1]) == parent]


def processes_of_session(session: int) -> list[int]:
    return [pid for pid in pids() if (fields := stat_of(pid)) and int(fields[3]) == session]


def title_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode()


def signals_of(pid: int) -> dict[str, set[int]]:
    """What /proc/PID/status says of signals: "SigIgn", "SigCgt", "SigBlk" → numbers.

    Without 32 and 33, which are the C library's own: its posix_spawn (and so make) starts programs with them
    ignored, and no program can change that.
    """
    masks = {}
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.startswith("Sig") and len(name) == 6:
            mask = int(value, 16)
            masks[name] = {number for number in range(1, 65) if mask >> (number - 1) & 1} - {32, 33}
    return masks


def descriptors_of(pid: int) -> dict[int, str]:
    """What /proc/PID/fd says: descriptor → file."""
    found = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")
        except FileNotFoundError:
            pass
    return found

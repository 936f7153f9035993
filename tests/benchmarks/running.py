"""A contender that runs: started on a core of its own, verified, and ended by pid."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.applications import expected
from tests.benchmarks.cases import CASES
from tests.benchmarks.contenders import Contender
from tests.benchmarks.cost import process_tree
from tests.benchmarks.generator import on_core

START_LIMIT = 20.0  # seconds
STOP_LIMIT = 10.0
VERIFIED = 20  # requests of a case whose answers are compared
ROOT = Path(__file__).parent.parent.parent


class Unfit(Exception):
    """A contender that does not start, or does not answer what the application said."""


@dataclass(frozen=True)
class Running:
    pid: int
    port: int
    start_seconds: float  # from exec to the first right answer
    output: Sequence[Path]

    def log_bytes(self) -> int:
        """Everything that it has written, to its log or to its standard output."""
        return sum(path.stat().st_size for path in self.output if path.exists())


@contextmanager
def running(contender: Contender, core: int | None, *, logged: bool = False) -> Iterator[Running]:
    """The server on `core`, answering rightly; all of its processes are gone at the end."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        log, printed = Path(folder, "access.log"), Path(folder, "output")
        with printed.open("w") as output:
            begun = time.monotonic()
            process = subprocess.Popen(
                [*on_core(core), *contender.command(port, log if logged else None)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            try:
                _await_answer(process, port, contender.secure)
            except Unfit as fault:
                raise Unfit(f"{contender.name}: {fault}\n{printed.read_text()[-2000:]}") from None
            yield Running(process.pid, port, time.monotonic() - begun, (log, printed))
        finally:
            _end(process)


def verify(port: int, requests: Sequence[bytes], *, secure: bool = False) -> None:
    """The first of these requests, on one connection while it is kept, get the application's answers."""
    connection: socket.socket | None = None
    try:
        for request in requests[:VERIFIED]:
            connection = connection or _connect(port, secure)
            connection.sendall(request)
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            body = answer.read()
            if answer.status != 200 or body != expected(request):
                raise Unfit(f"{request[:200]!r} was answered {answer.status} {body[:200]!r}")
            if answer.will_close:
                connection.close()
                connection = None
    finally:
        if connection is not None:
            connection.close()


def _connect(port: int, secure: bool) -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    if not secure:
        return plain
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    return unverified.wrap_socket(plain)


def _await_answer(process: subprocess.Popen[bytes], port: int, secure: bool) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Unfit(f"ended with {process.returncode} before it answered")
        try:
            return verify(port, CASES["hello"].make(), secure=secure)
        except (OSError, http.client.HTTPException):
            time.sleep(0.005)
    raise Unfit(f"no answer within {START_LIMIT:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end(process: subprocess.Popen[bytes]) -> None:
    tree = process_tree(process.pid)
    process.terminate()
    try:
        process.wait(STOP_LIMIT)
    except subprocess.TimeoutExpired:
        for pid in tree:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()

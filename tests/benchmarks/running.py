"""A contender that runs: started on a core of its own, verified, and ended by pid."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.applications import BODY, CONTENT_TYPE
from tests.benchmarks.contenders import Contender
from tests.benchmarks.cost import process_tree
from tests.benchmarks.load import CASES

START_LIMIT = 20.0  # seconds
STOP_LIMIT = 10.0
ROOT = Path(__file__).parent.parent.parent


class Unfit(Exception):
    """A contender that does not start, or does not answer what the application said."""


@dataclass(frozen=True)
class Running:
    pid: int
    port: int
    secure: bool
    start_seconds: float  # from exec to the first right answer

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://127.0.0.1:{self.port}/"


@contextmanager
def running(contender: Contender, core: int) -> Iterator[Running]:
    """The server on `core`, answering rightly; all of its processes are gone at the end."""
    port = _free_port()
    command = ["taskset", "--cpu-list", str(core), str(contender.program), *contender.command(port)[1:]]
    with tempfile.TemporaryFile("w+") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            try:
                _await_answer(process, port, contender.secure)
                started = time.monotonic() - begun
                for case in CASES:
                    verify(port, case, contender.secure)
            except Unfit as fault:
                output.seek(0)
                raise Unfit(f"{contender.name}: {fault}\n{output.read()[-2000:]}") from None
            yield Running(process.pid, port, contender.secure, started)
        finally:
            _end(process)


def verify(port: int, case: str, secure: bool) -> None:
    """Two requests on one connection (or two, where the server closes) get the application's answer."""
    connection = _connect(port, secure)
    try:
        for _ in range(2):
            connection.request("GET", "/", headers=dict(CASES[case].fields))
            answer = connection.getresponse()
            seen = (answer.status, answer.getheader("content-type"), answer.read())
            if seen != (200, CONTENT_TYPE, BODY):
                raise Unfit(f"case {case}: wrong answer {seen!r}")
    finally:
        connection.close()


def _connect(port: int, secure: bool) -> http.client.HTTPConnection:
    if not secure:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    anybody = ssl.create_default_context()
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=anybody)


def _await_answer(process: subprocess.Popen[bytes], port: int, secure: bool) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Unfit(f"ended with {process.returncode} before it answered")
        try:
            return verify(port, "hello", secure)
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

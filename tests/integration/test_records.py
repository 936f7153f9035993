"""What the scoreboard and the access log say of requests is the same with every class of worker."""

import mmap
import os
import re
import signal
import socket
import struct
import time
from collections.abc import Callable

import pytest

from appserve.master.worker_handle import ROWS
from appserve.observe.scoreboard import Scoreboard, Totals
from tests.integration.server import TIMEOUT, Server, Threaded, await_fact, descriptors_of, kill
from tests.observe.latency import latency_bucket

Serve = Callable[..., Server]

LARGE = 24 << 20
"""Bytes of a response that the kernel cannot take before its client reads: its buffers are smaller."""

WSGI = f"""
import pathlib, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/fail":
        raise ValueError("no")
    if path == "/wait":
        pathlib.Path("begun").touch()
        while not pathlib.Path("gate").exists():
            time.sleep(0.01)
    if path == "/slow":
        time.sleep(0.02)
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/large":
        return [bytes({LARGE})]
    return pieces() if path == "/stream" else [b"hello"]

def pieces():
    for _ in range(4):
        time.sleep(0.05)
        yield b"piece"
"""

ASGI = f"""
import asyncio, pathlib

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    path = scope["path"]
    if path == "/fail":
        raise ValueError("no")
    if path == "/wait":
        pathlib.Path("begun").touch()
        while not pathlib.Path("gate").exists():
            await asyncio.sleep(0.01)
    if path == "/slow":
        await asyncio.sleep(0.02)
    while (await receive()).get("more_body"):
        pass
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    if path == "/stream":
        for _ in range(4):
            await asyncio.sleep(0.05)
            await send({{"type": "http.response.body", "body": b"piece", "more_body": True}})
        await send({{"type": "http.response.body"}})
    else:
        await send({{"type": "http.response.body", "body": bytes({LARGE}) if path == "/large" else b"hello"}})
"""

CLASSES = {"sync": WSGI, "threads": Threaded(WSGI), "asgi": ASGI}


class Meter:
    """Clients of a server that count their bytes, and its scoreboard."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent = self.received = 0
        fd = min(fd for fd, name in descriptors_of(server.pid).items() if "scoreboard" in name)
        with open(f"/proc/{server.pid}/fd/{fd}", "rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._board = Scoreboard(mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ), ROWS)

    def totals(self) -> Totals:
        return self._board.totals()

    def connect(self, *, small: bool = False) -> socket.socket:
        client = socket.socket()
        if small:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(TIMEOUT)
        client.connect(("127.0.0.1", self.server.port))
        return client

    def send(self, client: socket.socket, data: bytes) -> None:
        client.sendall(data)
        self.sent += len(data)

    def read(self, client: socket.socket, end: bytes) -> bytes:
        """Read until the last bytes are these, or the server has ended the connection if `end` is empty."""
        data = bytearray()
        while not (end and data.endswith(end)):
            part = client.recv(1 << 20)
            data += part
            self.received += len(part)
            if not part:
                assert not end, f"it ended after {bytes(data[-200:])!r}"
                break
        return bytes(data)

    def read_head(self, client: socket.socket) -> int:
        """Read the head of a response, byte by byte; gives its length."""
        before = self.received
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
            self.received = before + len(head)
        return len(head)

    def ask(self, path: str, end: bytes = b"hello") -> None:
        with self.connect() as client:
            self.send(client, get(path))
            self.read(client, end)

    def await_totals(self, fact: Callable[[Totals], bool], what: str) -> Totals:
        await_fact(lambda: fact(self.totals()), what)
        return self.totals()

    def durations(self, path: str) -> list[float]:
        """Of all requests for this path, as the access log has them."""
        lines = re.findall(rf'"GET {path} HTTP/1.1" \d+ \d+ "-" "-" ([\d.]+)\n', self.server.access_log)
        return [float(seconds) for seconds in lines]


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n".encode()


def pass_time(seconds: float) -> None:
    began = time.monotonic()
    await_fact(lambda: time.monotonic() >= began + seconds, f"{seconds} s are over")


@pytest.fixture(params=CLASSES)
def meter(request: pytest.FixtureRequest, serve: Serve) -> Meter:
    server = serve("app:app", "--write-timeout", "60", files={"app.py": CLASSES[request.param]})
    return Meter(server)


def at_least(totals: Totals, seconds: float) -> int:
    """How many requests have taken so long."""
    return sum(totals.latency[latency_bucket(seconds) :])


def test_requests_of_all_kinds_are_recorded_once_with_their_bytes_and_durations(meter: Meter) -> None:
    with meter.connect() as client:
        for _ in range(5):
            meter.send(client, get("/slow"))
            meter.read(client, b"hello")
    with meter.connect() as client:  # a body
        head = b"POST /post HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n"
        meter.send(client, head + bytes(100_000))
        meter.read(client, b"hello")
    meter.ask("/stream", end=b"0\r\n\r\n")
    meter.ask("/fail", end=b"\n")
    for refused in (b"nonsense\r\n\r\n", b"GET / HTTP/3.0\r\nHost: a.example\r\n\r\n"):
        with meter.connect() as client:
            meter.send(client, refused)
            meter.read(client, b"")

    totals = meter.await_totals(lambda found: found.requests == 10, "all requests are recorded")
    totals = meter.await_totals(lambda found: sum(found.latency) == 10, "all counters are published")
    assert totals.responses == (0, 7, 0, 1, 2)
    assert (totals.aborted, totals.app_errors) == (0, 1)
    assert (totals.bytes_in, totals.bytes_out) == (meter.sent, meter.received)
    assert at_least(totals, 0.02) >= 6
    assert at_least(totals, 0.2) >= 1
    assert totals.busy_seconds >= 5 * 0.02 + 4 * 0.05
    assert min(meter.durations("/slow")) >= 0.02
    assert len(meter.durations("/slow")) == 5
    assert meter.durations("/stream")[0] >= 0.2
    assert len(meter.server.access_log.splitlines()) == 10

    (pid,), mark = meter.server.worker_pids(), meter.server.mark()
    kill(pid, signal.SIGKILL)
    meter.server.await_ready(since=mark)
    assert meter.totals() == totals, "what a worker had published outlives it"


def test_the_duration_of_a_request_begins_with_the_first_byte_of_its_head(meter: Meter) -> None:
    with meter.connect() as client:
        meter.send(client, get("/late")[:9])
        meter.await_totals(lambda found: found.bytes_in == 9, "the first part was read")
        pass_time(0.3)
        meter.send(client, get("/late")[9:])
        meter.read(client, b"hello")

    totals = meter.await_totals(lambda found: sum(found.latency) == 1, "it is recorded")
    assert at_least(totals, 0.3) == 1
    assert meter.durations("/late")[0] >= 0.3
    assert totals.busy_seconds < meter.durations("/late")[0], "the application was not called before"


def test_the_duration_of_a_request_ends_when_the_kernel_has_all_of_the_response(meter: Meter) -> None:
    with meter.connect(small=True) as client:
        meter.send(client, get("/large"))
        head = meter.read_head(client)
        pass_time(0.5)
        assert meter.totals().requests == 0, "it is under way"
        while meter.received < head + LARGE:
            meter.received += len(client.recv(1 << 20))

        totals = meter.await_totals(lambda found: sum(found.latency) == 1, "it is recorded")
        await_fact(lambda: meter.durations("/large"), "it is in the access log")
        assert meter.durations("/large")[0] >= 0.5
        assert at_least(totals, 0.5) == 1
        assert (totals.bytes_in, totals.responses) == (meter.sent, (0, 1, 0, 0, 0))
        meter.await_totals(lambda found: found.bytes_out == meter.received, "all bytes are counted")
        meter.send(client, get("/next"))
        meter.read(client, b"hello")


def test_a_request_whose_client_has_left_is_recorded_once(meter: Meter) -> None:
    with meter.connect() as client:
        meter.send(client, get("/wait"))
        await_fact((meter.server.folder / "begun").exists, "the application has it")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    (meter.server.folder / "gate").touch()
    await_fact(lambda: '"GET /wait HTTP/1.1" 499 0 ' in meter.server.access_log, "it is logged")
    meter.ask("/after")

    totals = meter.await_totals(lambda found: sum(found.latency) == 2, "both are recorded")
    assert (totals.requests, totals.aborted, totals.responses) == (2, 1, (0, 1, 0, 0, 0))
    assert totals.bytes_in == meter.sent
    assert totals.bytes_out == meter.received


def test_a_response_that_is_not_taken_to_its_end_is_no_response(meter: Meter) -> None:
    with meter.connect(small=True) as client:
        meter.send(client, get("/large"))
        client.recv(1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await_fact(lambda: '"GET /large HTTP/1.1" 499 ' in meter.server.access_log, "it is logged")

    totals = meter.await_totals(lambda found: sum(found.latency) == 1, "it is recorded")
    assert (totals.requests, totals.aborted, totals.responses) == (1, 1, (0, 0, 0, 0, 0))
    assert totals.bytes_out < LARGE
    (sent,) = re.findall(r'"GET /large HTTP/1.1" 499 (\d+) ', meter.server.access_log)
    assert int(sent) < LARGE


@pytest.mark.parametrize("worker_class", ["sync", "threads"])
def test_health_checks_can_be_kept_out_of_the_access_log(serve: Serve, worker_class: str) -> None:
    flags = (
        "--access-log-exclude",
        "/healthz",
        "--worker-class",
        worker_class,
        "--access-logfile",
        "access.log",
    )
    server = serve("app:app", *flags, files={"app.py": WSGI})
    assert [server.get(path).status for path in ("/healthz", "/fail", "/healthz", "/other")] == [
        200,
        500,
        200,
        200,
    ]

    log = server.folder / "access.log"
    await_fact(lambda: '"GET /other ' in log.read_text(), "the last request is in the log")
    assert re.findall(r'"GET (\S+)', log.read_text()) == ["/fail", "/other"]

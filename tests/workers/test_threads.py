"""What only a threads worker does: requests beside each other, a door that is shut while all threads are
busy, threads that do not come back. What it has in common with a sync worker is in test_wsgi.py.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appserve.net.poller import PollPoller
from appserve.observe.scoreboard import ACCEPTED, APP_ERRORS, BUSY_SINCE_NS, CONNECTIONS, IN_FLIGHT, REQUESTS
from appserve.workers import sync_loop
from appserve.workers.channel import QuitOrder, RetireOrder
from tests.workers.sync_worker import GET, Client, Gate, Worker, until
from tests.workers.test_sync_loop import app, get, post

# Python 3.12 and later: the forked process has the threads of pytest-timeout, and the worker its own.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Environ = dict[str, Any]
Serve = Callable[..., Worker]

LONG = 60.0
"""Seconds between two sweeps, where what is awaited must not wait for one."""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    workers: list[Worker] = []

    def make(application: Callable[..., Any], **settings: Any) -> Worker:
        folder = tmp_path / str(len(workers))
        folder.mkdir()
        workers.append(Worker(application, folder, worker_class="threads", **settings))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.close()


@pytest.fixture
def reached() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.close()


def waiting_at(gate: Gate, reached: Gate) -> Callable[[Environ, Any], list[bytes]]:
    """`app`, but what begins with /wait opens `reached` and waits at the gate."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"].startswith("/wait"):
            reached.open()
            gate.pass_through()
        return app(environ, start_response)

    return application


def begin_to_wait(worker: Worker, reached: Gate, count: int) -> list[Client]:
    """So many requests are in the application, one after the other: /wait0, /wait1 …"""
    clients = [worker.connect() for _ in range(count)]
    for number, client in enumerate(clients):
        client.send(get(f"/wait{number}?secret=yes"))
        reached.pass_through()
    return clients


def report(environ: Environ, start_response: Any) -> list[bytes]:
    """The thread that serves it, and wsgi.multithread."""
    start_response("200 OK", [])
    return [f"{threading.current_thread().name} {environ['wsgi.multithread']}".encode()]


# ── beside each other ──


def test_as_many_requests_are_served_at_once_as_there_are_threads(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), threads=4)
    waiting = begin_to_wait(worker, reached, 3)
    worker.await_word(IN_FLIGHT, 3)

    assert worker.ask().body == b"/"
    gate.open(3)
    assert [client.response().body for client in waiting] == [b"/wait0", b"/wait1", b"/wait2"]
    worker.await_word(IN_FLIGHT, 0)
    worker.await_word(REQUESTS, 4)
    until(lambda: worker.access.count(" 200 ") == 4)


def test_without_a_number_there_are_eight(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached))
    begin_to_wait(worker, reached, 8)

    worker.await_word(IN_FLIGHT, 8)
    gate.open(8)


@pytest.mark.parametrize(("threads", "reported"), [(1, b"False"), (2, b"True")])
def test_thread_names_and_wsgi_multithread_are_right(serve: Serve, threads: int, reported: bytes):
    name, multithread = serve(report, threads=threads).ask().body.split()

    assert re.fullmatch(rb"appserve-thread-[12]", name)
    assert multithread == reported


@pytest.mark.parametrize(("before", "after"), [(0.005, 0.001), (0.02, 0.02)])
def test_the_switch_interval_is_short_unless_the_application_sets_it(
    serve: Serve, before: float, after: float
):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [str(sys.getswitchinterval()).encode()]

    worker = serve(application, prepare=lambda: sys.setswitchinterval(before))

    assert float(worker.ask().body) == pytest.approx(after)


def test_the_row_shows_the_oldest_request_that_runs(serve: Serve, gate: Gate, reached: Gate):
    ends = Gate()

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        reached.open()
        (gate if environ["PATH_INFO"] == "/wait0" else ends).pass_through()
        return app(environ, start_response)

    worker = serve(application)
    waiting = begin_to_wait(worker, reached, 2)
    worker.await_word(IN_FLIGHT, 2)
    first = worker.word(BUSY_SINCE_NS)
    assert worker.row.current_request() == b"GET /wait0"
    gate.open()
    waiting[0].response()

    until(lambda: worker.word(BUSY_SINCE_NS) > first)
    assert worker.row.current_request() == b"GET /wait1"
    ends.open()
    worker.await_word(BUSY_SINCE_NS, 0)
    assert worker.row.current_request() == b"GET /wait1", "what was served last stays to be seen"
    ends.close()


def test_a_request_is_shown_before_it_can_end_its_worker(serve: Serve):
    """A worker that died of its first request must not look like one that never had any."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []

    worker = serve(application, sweep=LONG)
    worker.connect().send(get("/deadly"))

    assert worker.exit_code() == -signal.SIGKILL
    assert worker.row.current_request() == b"GET /deadly"
    assert worker.word(BUSY_SINCE_NS) > 0


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_thread_survives_what_the_application_raises(serve: Serve, error: type[BaseException]):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/raise":
            raise error
        return app(environ, start_response)

    worker = serve(application, threads=1, sweep=LONG)

    assert worker.ask(get("/raise")).status == 500
    assert f"it raised {error.__name__}" in worker.log
    assert worker.ask().status == 200
    worker.channel.send(QuitOrder(deadline=20.0))
    assert worker.exit_code() == 0
    assert worker.word(APP_ERRORS) == 1


def test_it_works_with_the_poller_that_every_system_has(serve: Serve, gate: Gate, reached: Gate):
    def be_portable() -> None:
        sync_loop.make_poller = PollPoller

    worker = serve(waiting_at(gate, reached), threads=2, prepare=be_portable, sweep=LONG)
    waiting = begin_to_wait(worker, reached, 2)
    late = worker.connect()
    late.send(GET)
    gate.open(2)
    kept = worker.connect()

    assert [client.response().status for client in (*waiting, late)] == [200] * 3
    for number in range(50):
        assert kept.ask(get(f"/{number}")).body == f"/{number}".encode()
    assert kept.ask(post(5) + b"hello", "POST").body == b"/hello"
    assert worker.log == ""


# ── accepting ──


def test_without_a_free_thread_it_accepts_nothing(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), threads=2)
    for _ in range(5):
        worker.ask()
    waiting = begin_to_wait(worker, reached, 2)
    worker.await_sweeps()
    late = worker.connect()
    late.send(GET)
    worker.await_sweeps()

    assert worker.word(ACCEPTED) == 5 + 2
    assert not late.has_something()
    gate.open()
    assert late.response().status == 200
    gate.open()
    assert [client.response().status for client in waiting] == [200, 200]


def test_a_free_thread_resumes_accepting_at_once(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), threads=1, sweep=LONG)
    for _ in range(3):
        (waiting,) = begin_to_wait(worker, reached, 1)
        late = worker.connect()
        late.send(GET)
        gate.open()

        assert waiting.response().status == 200
        assert late.response().status == 200


def test_a_busy_kept_connection_excludes_no_new_one(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), threads=1)
    kept = [worker.connect() for _ in range(3)]
    for client in kept:
        client.ask()
    (waiting,) = begin_to_wait(worker, reached, 1)
    for client in kept:
        client.send(get("/wait"))
    worker.await_sweeps()
    late = worker.connect()
    late.send(GET)
    worker.await_sweeps()
    assert worker.word(ACCEPTED) == 4

    gate.open()
    worker.await_word(ACCEPTED, 5)
    assert waiting.response().status == 200
    assert not late.has_something(), "the thread has others to serve first"
    gate.open(3)
    assert [client.response().status for client in (*kept, late)] == [200] * 4


def test_those_it_has_wait_for_a_thread(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), threads=1)
    kept = [worker.connect() for _ in range(20)]
    for client in kept:
        client.ask()
    (waiting,) = begin_to_wait(worker, reached, 1)
    for client in kept:
        client.send(GET * 3)
    gate.open()

    assert waiting.response().status == 200
    assert [client.response().status for client in kept for _ in range(3)] == [200] * 60


def test_waits_end_while_every_thread_is_busy(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(
        waiting_at(gate, reached), threads=1, first_byte_timeout=0.2, keep_alive=0.2, head_timeout=0.2
    )
    kept, half, silent = worker.connect(), worker.connect(), worker.connect()
    kept.ask()
    half.send(GET[:-1])
    worker.await_word(CONNECTIONS, 3)
    worker.await_sweeps()
    (waiting,) = begin_to_wait(worker, reached, 1)

    assert (kept.end(), silent.end(), half.response().status) == ("end", "end", 408)
    gate.open()
    assert waiting.response().status == 200


# ── threads that do not come back ──


def test_a_stuck_request_is_logged_with_its_stack_and_again_when_it_ends(
    serve: Serve, gate: Gate, reached: Gate
):
    worker = serve(waiting_at(gate, reached), threads=2, timeout=0.2)
    (waiting,) = begin_to_wait(worker, reached, 1)
    worker.await_log("has made no progress")
    worker.await_sweeps()

    assert worker.ask().status == 200, "the others go on"
    (record,) = re.findall(
        rf"WARNING  worker 1 \(pid {worker.pid}\), appserve-thread-(?:1|2), has made no progress for "
        r"[\d.]+ s \(--timeout 0\.2\), serving GET /wait0 from 127\.0\.0\.1 for [\d.]+ s\n((?:    .*\n)+)",
        worker.log,
    )
    assert record.startswith(f'      File "{__file__}", line ')
    assert "in application\n" in record
    assert "in pass_through\n" in record
    assert "returned after" not in worker.log
    gate.open()
    assert waiting.response().status == 200
    worker.await_log("returned after")
    worker.await_sweeps()
    assert len(re.findall(r"returned after [\d.]+ s: GET /wait0\n", worker.log)) == 1
    assert "secret" not in worker.log


def test_each_piece_that_a_thread_hands_over_is_progress(serve: Serve, gate: Gate, reached: Gate):
    """A stall in the middle of a stream is logged when it is one, and again when the stream goes on."""

    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        for _ in range(4):
            reached.open()
            gate.pass_through()
            yield b"x"

    worker = serve(application, timeout=0.2)
    client = worker.connect()
    client.send(get("/stream"))
    for number in range(1, 5):
        reached.pass_through()
        until(lambda number=number: worker.log.count("has made no progress") == number)
        assert worker.log.count("makes progress again") == number - 1
        gate.open()
    assert client.response().body == b"xxxx"
    worker.await_log("returned after")

    stalls = re.findall(
        r"no progress for ([\d.]+) s \S+ \S+ serving GET /stream from \S+ for ([\d.]+) s", worker.log
    )
    assert len(stalls) == 4
    without, running = zip(*((float(a), float(b)) for a, b in stalls), strict=True)
    assert list(running) == sorted(running)
    assert running[3] >= sum(without[:3]), "it has been running since before the first stall"


def test_a_timeout_of_0_logs_no_slow_request(serve: Serve, gate: Gate, reached: Gate):
    worker = serve(waiting_at(gate, reached), timeout=0)
    begin_to_wait(worker, reached, 1)
    worker.await_sweeps(5)

    assert worker.log == ""
    gate.open()


def test_an_application_that_waits_for_its_reader_is_not_stuck(serve: Serve):
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", str(80 << 18))])
        for _ in range(80):
            yield bytes(1 << 18)

    worker = serve(application, timeout=1.0, limit_spool=0, write_timeout=LONG)
    client = worker.connect(small=True)
    client.send(GET)
    worker.await_word(IN_FLIGHT, 1)
    started = time.monotonic()
    until(lambda: time.monotonic() > started + 3.0)
    worker.await_sweeps()

    assert "no progress" not in worker.log
    assert len(client.response().body) == 80 << 18


def test_those_that_wait_for_a_thread_when_the_time_is_over_are_answered(
    serve: Serve, gate: Gate, reached: Gate
):
    worker = serve(waiting_at(gate, reached), threads=1, sweep=LONG)
    kept = [worker.connect() for _ in range(5)]
    for client in kept:
        client.ask()
    begin_to_wait(worker, reached, 1)
    for client in kept:
        client.send(get("/waits"))
    worker.channel.send(QuitOrder(deadline=0.2))

    assert [client.response().status for client in kept] == [503] * 5
    assert worker.exit_code() == 0
    assert worker.access.count('"GET /waits HTTP/1.1" 503 ') == 5


@pytest.mark.parametrize("order", [RetireOrder(linger=0.0, deadline=0.2), QuitOrder(deadline=0.2)])
def test_a_stuck_thread_keeps_no_worker_from_leaving(serve: Serve, gate: Gate, reached: Gate, order: Any):
    worker = serve(waiting_at(gate, reached), sweep=LONG)
    (waiting,) = begin_to_wait(worker, reached, 1)
    idle = worker.connect()
    idle.ask()
    worker.channel.send(order)

    assert worker.exit_code() == 0
    assert re.search(r"closed 1 connection: (--graceful-timeout|quick stop) \(0\.2 s\) exceeded", worker.log)
    assert idle.end() == "end"
    assert waiting.end() in {"end", "reset"}


def test_a_worker_that_cannot_have_its_threads_does_not_begin(serve: Serve):
    def refuse() -> None:
        def start(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        threading.Thread.start = start  # type: ignore[method-assign]

    with pytest.raises(AssertionError):
        serve(app, threads=3, prepare=refuse)


# ── processes of the application ──


def test_a_process_that_a_thread_has_forked_holds_none_of_the_clients(
    serve: Serve, gate: Gate, reached: Gate
):
    """Not even of those that other threads have, or that come and go meanwhile."""
    stop = Gate()

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fork":
            for _ in range(20):
                if os.fork() == 0:
                    signal.alarm(60)  # should this test fail
                    stop.pass_through()
                    os._exit(0)
        return waiting_at(gate, reached)(environ, start_response)

    worker = serve(application, threads=4)
    waiting = begin_to_wait(worker, reached, 1)
    forking = worker.connect()
    forking.send(get("/fork"))
    short = [worker.connect() for _ in range(20)]
    for client in short:
        client.send(get("/short", "Connection: close"))
        client.response()

    assert [client.end() for client in short] == ["end"] * 20
    assert forking.response().body == b"/fork"
    gate.open()
    assert waiting[0].response().body == b"/wait0"
    stop.open(20)
    stop.close()

"""The WSGI worker, with one thread and with several, in a process of its own: real sockets, real signals, and
the test as its master. What only one of them does is in test_executor.py and test_threads.py."""

import ctypes
import errno
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from wsgiref.validate import validator

import pytest

from appserve.net.listeners import Listener
from appserve.observe.scoreboard import (
    ACCEPTED,
    BUSY_SINCE_NS,
    CONNECTIONS,
    HELD_UP_NS,
    REQUESTS,
    TIMEOUTS,
    ScoreboardRow,
    WorkerState,
)
from appserve.workers import executor
from appserve.workers.channel import Listening, QuitOrder, RetireOrder, Retiring, SiblingDied, StopOrder
from appserve.workers.sync_loop import WsgiWorker
from appserve.wsgi import connection, runner
from appserve.wsgi.connection import PIPELINED, WsgiConnection
from tests.workers.sync_worker import GET, Client, Gate, Worker, until

# Python 3.12 and later: pytest-timeout has a thread, which the forked process does not need.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Environ = dict[str, Any]
Serve = Callable[..., Worker]

LARGE = 20 * 1024 * 1024
MMAP_THRESHOLD = -3  # of mallopt(3)
QUEUE_LIMIT = 1.0
"""Seconds; no request that is served at once waits for so long, however busy the machine is."""


@pytest.fixture(params=["sync", "threads"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    workers: list[Worker] = []

    def make(application: Callable[..., Any] | None = None, **settings: Any) -> Worker:
        folder = tmp_path / str(len(workers))
        folder.mkdir()
        values = {"worker_class": request.param, **settings}
        workers.append(Worker(application or app, folder, **values))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


only_sync = pytest.mark.parametrize("serve", ["sync"], indirect=True)
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports since when")


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.close()


def app(environ: Environ, start_response: Any) -> list[bytes]:
    """/large is a large response, any other path says itself, and what was sent."""
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [bytes(LARGE)] if path == "/large" else [path.encode() + environ["wsgi.input"].read()]


def waiting_at(gate: Gate) -> Callable[[Environ, Any], list[bytes]]:
    """`app`, but /wait comes back only when the gate is opened."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            gate.pass_through()
        return app(environ, start_response)

    return application


def get(path: str, *fields: str) -> bytes:
    return "".join(line + "\r\n" for line in (f"GET {path} HTTP/1.1", "Host: a", *fields, "")).encode()


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


def reach_application(worker: Worker, client: Client, path: str = "/wait") -> None:
    """Let a client have the application, and wait until it is in there."""
    client.send(get(path))
    request = f"GET {path}".encode()
    until(lambda: worker.row.current_request() == request and worker.row.words[BUSY_SINCE_NS] != 0)


# ── serving ──


def test_it_serves(serve: Serve):
    worker = serve()
    client = worker.connect()
    bodies = [client.ask(get(f"/{number}")).body for number in range(3)]

    assert bodies == [b"/0", b"/1", b"/2"]
    assert worker.ask(post(5) + b"hello", "POST").body == b"/hello"
    assert worker.row.state is WorkerState.READY
    worker.await_word(REQUESTS, 4)
    until(lambda: worker.access.count(" 200 ") == 4)
    assert worker.log == ""


def test_a_response_is_recorded_before_the_requests_that_were_ready_with_it(serve: Serve, gate: Gate):
    def tell_at_once() -> None:
        executor.LOOK_UP_AFTER = 0

    worker = serve(waiting_at(gate), threads=1, prepare=tell_at_once)
    first, second, third = clients = [worker.connect() for _ in range(3)]
    for client in clients:
        client.ask()
    reach_application(worker, first)
    for client in (second, third):
        client.send(get("/wait"))
    gate.open(2)
    first.response()

    until(lambda: second.has_something() or third.has_something())
    until(lambda: worker.access.count('"GET /wait HTTP/1.1" 200 ') == 2)
    until(lambda: worker.word(REQUESTS) == 5)
    gate.open()
    second.response()
    third.response()


def test_it_serves_over_a_unix_socket(serve: Serve, tmp_path: Path):
    worker = serve(bind=f"unix:{tmp_path}/socket")

    assert worker.ask().body == b"/"
    until(lambda: worker.access.startswith("- - - ["))


def test_the_validator_of_the_standard_library_is_satisfied(serve: Serve):
    @validator
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([environ["wsgi.input"].read(-1), b"", b"end"])

    worker = serve(application)
    client = worker.connect()
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"

    assert client.ask(GET).body == b"end"
    assert client.ask(post(5) + b"hello", "POST").body == b"helloend"
    assert client.ask(chunked, "POST").body == b"hiend"
    assert client.ask(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD").body == b""
    assert worker.log == ""


def test_it_accepts_only_after_the_message_that_the_listeners_listen(serve: Serve):
    worker = serve(listening=False)
    client = worker.connect()
    client.send(GET)
    worker.await_sweeps()

    assert not client.has_something()
    worker.channel.send(Listening())
    assert client.response().status == 200


def test_a_siblings_death_changes_nothing_for_its_own_clients(serve: Serve):
    worker = serve()
    client = worker.connect()
    client.ask()
    worker.channel.send(SiblingDied())

    assert client.ask().status == 200
    assert worker.ask().status == 200


# ── slow clients ──


def give_large_blocks_back() -> None:
    """The allocator keeps what was freed for each thread of its own; here only what is held shall count."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 1 << 20)


def test_silent_slow_and_unreading_clients_cost_the_others_nothing(serve: Serve):
    worker = serve(prepare=give_large_blocks_back)
    worker.ask()
    before = worker.memory()
    for _ in range(200):
        worker.connect()
    for number in range(50):
        worker.connect().send((get("/half"), post(100_000) + b"a" * 1000)[number % 2][:-1])
    unreading = [worker.connect() for _ in range(20)]
    for client in unreading:
        client.send(get("/large"))

    for _ in range(20):
        assert worker.ask().status == 200
    assert worker.connect().ask(post(5) + b"hello", "POST").body == b"/hello"
    worker.await_word(CONNECTIONS, 271)
    # 20 MB for each reader that reads nothing would be five times as much. A thread may still be at it.
    until(lambda: worker.memory() - before < 80 * 1024 * 1024)
    assert len(unreading[7].response().body) == LARGE
    assert worker.log == ""


def test_clients_that_reset_leave_nothing_behind(serve: Serve):
    worker = serve()
    worker.ask()
    worker.await_word(CONNECTIONS, 0)
    before = worker.descriptors()
    sent = [
        *(b"", b"GET", GET[:-1], GET, GET * 1000, get("/large"), get("/large") * 3),
        *(post(5), post(5) + b"hell", post(10**6) + b"a" * 600_000, b"nonsense\r\n\r\n"),
        post(5).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"),
    ]
    for data in sent * 3:
        client = worker.connect()
        client.send(data)
        client.reset()
    worker.await_word(CONNECTIONS, 0)

    until(lambda: worker.descriptors() <= before)  # it may have been closing the first one still
    assert worker.ask().status == 200
    assert all("refused a request from" in line for line in worker.log.splitlines())


def test_a_client_that_resets_between_two_of_its_requests_affects_no_other(serve: Serve, gate: Gate):
    class Ending:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"last"])

        def close(self) -> None:
            gate.pass_through()

    def application(environ: Environ, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/last":
            start_response("200 OK", [])
            return Ending()
        return app(environ, start_response)

    worker = serve(application)
    client = worker.connect()
    client.send(get("/a") * (2 * PIPELINED - 1) + get("/last") + get("/a") * PIPELINED)
    for _ in range(2 * PIPELINED - 1):
        client.response()
    assert client.response().body == b"last"
    client.reset()
    gate.open()

    assert worker.ask().status == 200
    worker.await_word(CONNECTIONS, 0)
    assert worker.log == ""


def test_a_client_that_sends_many_requests_at_once_gets_one_turn_of_them_after_the_other(
    serve: Serve, gate: Gate, request: pytest.FixtureRequest
):
    served: list[str] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        served.append(environ["PATH_INFO"])
        if served[-1] == "/report":
            start_response("200 OK", [])
            return [" ".join(served).encode()]
        return waiting_at(gate)(environ, start_response)

    worker = serve(application, threads=1)
    first, greedy, modest = worker.connect(), worker.connect(), worker.connect()
    greedy.ask()
    modest.ask()
    reach_application(worker, first)
    greedy.send(get("/greedy") * 300)
    modest.send(get("/modest"))
    if request.node.callspec.params["serve"] == "threads":
        worker.await_sweeps()  # the loop goes on, and has both of them wait for the thread
    gate.open()
    for _ in range(300):
        greedy.response()
    modest.response()

    order = first.response() and first.ask(get("/report")).body.decode().split()
    assert order.count("/greedy") == 300
    assert order.index("/modest") - order.index("/greedy") <= 2 * PIPELINED


# ── waits that are too long ──


def test_a_request_that_does_not_arrive_is_408(serve: Serve):
    worker = serve(head_timeout=0.1, body_timeout=0.1)
    half = {b"--head-timeout": b"GET / HTTP/1.1\r\nHo", b"--body-timeout": post(5) + b"hell"}
    for setting, sent in half.items():
        client = worker.connect()
        client.send(sent)

        response = client.response()
        assert (response.status, response.closes, client.end()) == (408, True, "end")
        assert setting in response.body
    worker.await_word(TIMEOUTS, 2)
    until(lambda: worker.access.count(" 408 ") == 2)


def test_an_idle_connection_is_closed_without_a_word(serve: Serve):
    worker = serve(first_byte_timeout=0.1, keep_alive=0.1)
    fresh, used = worker.connect(), worker.connect()
    used.ask()

    assert (fresh.end(), used.end()) == ("end", "end")
    worker.await_word(TIMEOUTS, 2)


def test_a_reader_that_takes_nothing_is_reset(serve: Serve):
    worker = serve(write_timeout=0.1)
    client = worker.connect(small=True)
    client.send(get("/large"))
    worker.await_word(TIMEOUTS, 1)

    with pytest.raises(ConnectionResetError):
        while client.socket.recv(1 << 20):
            pass


def test_without_keep_alive_every_response_is_the_last(serve: Serve):
    worker = serve(keep_alive=0)
    client = worker.connect()

    assert client.ask().closes
    assert client.end() == "end"


@only_sync
def test_no_client_is_charged_for_the_time_of_the_application(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate), head_timeout=0.3, body_timeout=0.3, keep_alive=0.3)
    busy, half, idle = worker.connect(), worker.connect(), worker.connect()
    idle.ask()
    half.send(post(5) + b"hel")
    reach_application(worker, busy)
    started = time.monotonic()
    until(lambda: time.monotonic() > started + 0.5)
    half.send(b"lo")
    idle.send(GET)
    gate.open()

    assert half.response("POST").body == b"/hello"
    assert idle.response().status == 200


# ── bounds ──


def test_it_holds_no_more_connections_than_it_may(serve: Serve):
    worker = serve(worker_connections=5)
    held = [worker.connect() for _ in range(5)]
    for client in held:
        client.send(post(1))
    worker.await_word(CONNECTIONS, 5)
    worker.await_sweeps()
    late = worker.connect()
    late.send(GET)
    worker.await_sweeps()

    assert worker.word(ACCEPTED) == worker.word(CONNECTIONS) == 5
    assert not late.has_something()
    held[2].close()
    assert late.response().status == 200
    assert held[0].ask(b"a", "POST").status == 200


def new_clients_are_fresh_for(seconds: int) -> Callable[[], None]:
    """For serve(prepare=...)."""

    def prepare() -> None:
        connection.FRESH = seconds

    return prepare


def test_it_makes_room_by_closing_those_that_have_been_idle_longest(serve: Serve):
    worker = serve(worker_connections=32, prepare=new_clients_are_fresh_for(0))
    silent, half, *used = held = [worker.connect() for _ in range(32)]
    half.send(GET[:-1])  # not idle, so others go first
    worker.await_word(CONNECTIONS, 32)
    for client in (used[0], used[2]):
        assert client.ask().status == 200
    worker.await_sweeps()  # a thread looks at the clock when its client has the answer: others may be first
    for client in (used[1], *used[3:]):
        assert client.ask().status == 200
    assert not any(client.has_something() for client in held), "closed before the room was needed"

    assert worker.ask().status == 200
    assert (silent.end(), used[0].end(), used[2].end()) == ("end", "end", "end")
    assert half.ask(GET[-1:]).status == 200
    assert [client.ask().status for client in used[3:]] == [200] * 27
    assert used[1].ask().status == 200
    assert worker.log.count("reached --worker-connections (32); closed 3 idle connections") == 1


def test_a_new_connection_is_not_closed_before_its_first_request_can_arrive(serve: Serve):
    worker = serve(worker_connections=4, prepare=new_clients_are_fresh_for(3600))
    held = [worker.connect() for _ in range(4)]
    worker.await_word(CONNECTIONS, 4)
    late = worker.connect()
    late.send(GET)
    worker.await_sweeps(3)

    assert not late.has_something()
    assert worker.log.count("reached --worker-connections (4); not accepting") == 1
    assert [client.ask().status for client in held] == [200] * 4
    assert late.response().status == 200, "now there are some that have been served"


def test_room_is_made_for_any_number_of_clients_that_stay(serve: Serve):
    worker = serve(worker_connections=8)
    for _ in range(100):
        assert worker.connect().ask().status == 200
    worker.await_word(ACCEPTED, 100)

    assert worker.word(CONNECTIONS) <= 8
    assert worker.log.count("WARNING") == 1


def test_incomplete_heads_make_room_when_none_is_idle_the_oldest_first(serve: Serve):
    worker = serve(worker_connections=32, prepare=new_clients_are_fresh_for(3600))
    # The worker is never full without one that it may close, which would be logged instead.
    oldest = [worker.connect() for _ in range(3)]
    for client in oldest:
        client.send(GET[:20])
    worker.await_sweeps()  # the next one may have begun before the heads came in
    body, *others = [worker.connect() for _ in range(29)]
    body.send(post(5))
    for client in others:
        client.send(GET[:20])
    worker.await_word(CONNECTIONS, 32)
    worker.await_sweeps()
    heads = [*oldest, *others]
    assert not any(client.has_something() for client in heads), "closed before the room was needed"

    assert worker.ask().status == 200
    assert [client.end() for client in oldest] == ["end"] * 3
    assert [client.ask(GET[20:]).status for client in others] == [200] * 28
    assert body.ask(b"hello", "POST").status == 200
    assert worker.log.count("(32); closed 3 connections with an incomplete request head\n") == 1


def pass_queue_limit(since: int) -> None:
    """Wait until something that has waited since then (monotonic ns) has done so for too long."""
    until(lambda: time.monotonic_ns() > since + int(1.3e9 * QUEUE_LIMIT))


def test_a_request_that_waits_for_its_turn_too_long_is_503(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate), queue_timeout=QUEUE_LIMIT, threads=1)
    first, second, third = (worker.connect() for _ in range(3))
    for client in (first, second, third):
        client.ask()
    reach_application(worker, first)
    before = worker.row.words[BUSY_SINCE_NS]
    for client in (second, third):
        client.send(get("/wait"))
    gate.open()
    first.response()
    # One of them is in there now, and the other was reported together with it, or is in the queue behind it.
    since = until(lambda: (found := worker.row.words[BUSY_SINCE_NS]) != before and found)
    pass_queue_limit(since)
    gate.open(2)
    answers = sorted(
        ((client.response(), client) for client in (second, third)), key=lambda one: one[0].status
    )

    (served, _), (late, client) = answers
    assert (served.status, late.status) == (200, 503)
    assert (late.values(b"retry-after"), late.closes) == ([b"1"], False)
    assert client.ask().status == 200
    until(lambda: worker.access.count('"GET /wait HTTP/1.1" 503 ') == 1)
    until(lambda: worker.row.totals().responses[4] == 1)


def test_a_request_whose_turn_comes_soon_is_served_whatever_its_call_takes(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate), queue_timeout=QUEUE_LIMIT)
    client = worker.connect()
    reach_application(worker, client)
    pass_queue_limit(worker.row.words[BUSY_SINCE_NS])
    gate.open()

    assert client.response().status == 200


@only_linux
def test_it_has_waited_since_it_came_in_though_the_worker_was_busy_and_saw_nothing_of_it(
    serve: Serve, gate: Gate
):
    worker = serve(waiting_at(gate), queue_timeout=QUEUE_LIMIT, threads=1)
    busy, kept = worker.connect(), worker.connect()
    kept.ask()
    reach_application(worker, busy)
    fresh = worker.connect()  # not accepted for now
    for client in (kept, fresh):
        client.send(GET)
    pass_queue_limit(time.monotonic_ns())
    gate.open()

    assert [client.response().status for client in (busy, kept, fresh)] == [200, 503, 503]
    assert [client.ask().status for client in (kept, fresh)] == [200, 200]


def test_a_client_that_was_silent_for_longer_than_that_is_served(serve: Serve, gate: Gate):
    worker = serve(queue_timeout=QUEUE_LIMIT)
    used, fresh = worker.connect(), worker.connect()
    used.ask()
    pass_queue_limit(time.monotonic_ns())

    assert [client.ask().status for client in (used, fresh)] == [200, 200]


def test_a_request_that_waits_behind_a_response_which_its_client_takes_slowly_is_served(serve: Serve):
    worker = serve(queue_timeout=QUEUE_LIMIT)
    client = worker.connect()
    client.send(get("/large") + GET)
    pass_queue_limit(time.monotonic_ns())

    assert [client.response().status for _ in range(2)] == [200, 200]


# ── requests that are held up ──


def be_sibling(worker: Worker, held_up: bool = False) -> ScoreboardRow:
    """Another worker's row of the scoreboard: it serves, and has held up requests or not."""
    row = worker.board.row(1)
    row.claim(2, 1, time.monotonic_ns())
    row.enter(WorkerState.READY, time.monotonic_ns())
    row.words[HELD_UP_NS] = time.monotonic_ns() if held_up else 0
    worker.await_sweeps()
    return row


@pytest.mark.parametrize("has_sibling", [False, True])
def test_a_worker_that_holds_up_requests_closes_connections_if_it_has_siblings(
    serve: Serve, gate: Gate, has_sibling: bool
):
    worker = serve(waiting_at(gate), threads=1)
    if has_sibling:
        be_sibling(worker)
    slow, quick = worker.connect(), worker.connect()
    assert not quick.ask().closes
    reach_application(worker, slow)
    quick.send(GET)
    since = worker.row.words[BUSY_SINCE_NS]
    until(lambda: time.monotonic_ns() > since + 500_000_000)
    gate.open()
    slow.response()
    quick.response()

    worker.await_sweeps()
    assert worker.ask().closes == has_sibling
    assert worker.row.words[HELD_UP_NS] > since, "and its siblings see it"


def test_it_closes_connections_for_what_its_sibling_has_held_up_until_that_is_gone(serve: Serve):
    worker = serve(threads=1)
    sibling = be_sibling(worker, held_up=True)
    assert worker.ask().closes

    sibling.clear()
    worker.await_sweeps()
    assert not worker.ask().closes


# ── without descriptors ──


def begin(worker: Worker, part: bytes) -> Client:
    """A client that has sent something before others come, for whose sake it would be closed otherwise."""
    client = worker.connect()
    client.send(part)
    return client


def test_without_descriptors_it_neither_spins_nor_ends(serve: Serve):
    worker = serve(files=12)
    clients = [begin(worker, post(1)) for _ in range(30)]
    worker.await_log("cannot accept connections: Too many open files")
    before, started = worker.cpu_seconds(), time.monotonic()
    worker.await_sweeps(10)

    assert worker.cpu_seconds() - before < 0.5 * (time.monotonic() - started)
    assert [client.ask(b"a", "POST").status for client in clients[:5]] == [200] * 5
    for client in clients[:25]:
        client.close()
    assert [client.ask(b"a", "POST").status for client in clients[25:]] == [200] * 5
    assert worker.log.count("cannot accept") == 1, "logged each time"


def test_without_descriptors_those_that_are_idle_make_room(serve: Serve):
    worker = serve(files=12)
    half = begin(worker, post(1))
    silent = [worker.connect() for _ in range(29)]
    used = worker.connect()

    assert used.ask().status == 200
    for _ in range(30):
        assert worker.ask().status == 200
    assert half.ask(b"a", "POST").status == 200
    assert silent[0].end() == "end"
    assert worker.log.count("cannot accept") == 1


def test_a_large_body_without_descriptors_is_refused_and_no_other_request(serve: Serve):
    worker = serve(files=12)
    large = begin(worker, post(10**6))
    held = [begin(worker, post(1)) for _ in range(19)]
    worker.await_log("cannot accept")
    large.send(b"a" * 10**6)

    assert large.response("POST").status == 503
    assert held[0].ask(b"a", "POST").status == 200
    worker.await_log("cannot buffer for slow clients: Too many open files in ")


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EPERM])
def test_a_connection_that_fails_before_it_is_accepted_ends_nothing(serve: Serve, code: int):
    def fail_at_first() -> None:
        accept = Listener.accept
        failures = iter([OSError(code, os.strerror(code))] * 3)

        def flaky(listener: Listener) -> Any:
            for failure in failures:
                raise failure
            return accept(listener)

        Listener.accept = flaky  # type: ignore[method-assign]

    worker = serve(prepare=fail_at_first)

    assert worker.ask().status == 200


@pytest.mark.pure
def test_a_client_that_left_before_it_is_looked_at_ends_nothing(serve: Serve):
    def fail_at_first() -> None:
        # Not socket.getsockname itself: others call it as well, the repr of a forgotten socket for one.
        original = connection.endpoints_of
        failures = iter([OSError(errno.ENOTCONN, "gone")])

        def flaky(*arguments: Any) -> Any:
            for failure in failures:
                raise failure
            return original(*arguments)

        connection.endpoints_of = flaky

    worker = serve(prepare=fail_at_first)

    assert worker.connect().end() == "end"
    assert worker.ask().status == 200
    assert worker.log == ""


# ── our own mistakes ──


@pytest.mark.pure
@pytest.mark.parametrize(
    "method", ["on_readable", "relieve", "proceed", "serve", "expire", "is_expired", "release"]
)
def test_an_exception_of_our_own_costs_one_connection(serve: Serve, method: str):
    def break_it() -> None:
        owner: Any = runner.RequestRunner if method == "serve" else WsgiConnection
        original = getattr(owner, method)
        failures = iter([LookupError("our own mistake")])

        def flaky(broken: object, *arguments: object) -> Any:
            for failure in failures:
                raise failure
            return original(broken, *arguments)

        setattr(owner, method, flaky)

    worker = serve(prepare=break_it, keep_alive=0.2)
    client = worker.connect(small=True)
    client.send(get("/large") + get("/a") * 3 * PIPELINED)
    worker.await_word(ACCEPTED, 1)
    try:
        while client.socket.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass
    client.close()

    worker.await_log("our own mistake")
    assert "internal error: closed a connection" in worker.log
    worker.await_word(BUSY_SINCE_NS, 0)
    worker.await_word(CONNECTIONS, 0)
    assert worker.ask().status == 200


# ── leaving ──


def context(kind: str) -> Callable[[Worker], object]:
    return {
        "retire": lambda worker: worker.channel.send(RetireOrder(linger=0.2, deadline=20.0)),
        "term": lambda worker: worker.signal(signal.SIGTERM),
        "orphan": lambda worker: worker.orphan(),
        "stop": lambda worker: worker.channel.send(StopOrder(linger=0.2, deadline=20.0)),
        "quit": lambda worker: worker.channel.send(QuitOrder(deadline=20.0)),
    }[kind]


every_order = pytest.mark.parametrize("order", ["retire", "term", "orphan", "stop", "quit"])


@every_order
def test_an_idle_worker_leaves(serve: Serve, order: str):
    worker = serve()
    fresh, used = worker.connect(), worker.connect()
    used.ask()
    worker.await_word(CONNECTIONS, 2)
    context(order)(worker)

    assert worker.exit_code() == 0
    assert (fresh.end(), used.end()) == ("end", "end")
    assert worker.row.state is WorkerState.DRAINING


@every_order
def test_what_is_in_flight_is_finished(serve: Serve, gate: Gate, order: str):
    worker = serve(waiting_at(gate))
    busy, queued, sent, reading = (worker.connect() for _ in range(4))
    sent.ask()
    reading.send(get("/large"))
    worker.await_word(CONNECTIONS, 4)
    reach_application(worker, busy)
    sent.send(get("/sent"))
    queued.send(get("/queued"))
    context(order)(worker)
    gate.open()

    assert busy.response().body == b"/wait"
    assert [client.response().body for client in (queued, sent)] == [b"/queued", b"/sent"]
    assert len(reading.response().body) == LARGE
    for client in (busy, queued, sent, reading):
        assert client.end() == "end"
        client.close()
    assert worker.exit_code() == 0
    assert worker.access.count(" 200 ") == 5
    assert "exceeded" not in worker.log


def leave_to_itself(worker: Worker, gate: Gate, order: str) -> list[Client]:
    """A worker whose only thread is in the application is retired, and others wait to be accepted."""
    busy = worker.connect()
    reach_application(worker, busy)
    waiting = [worker.connect() for _ in range(3)]
    for client in waiting:
        client.send(GET)
    context(order)(worker)
    gate.open()
    assert busy.response().status == 200
    busy.close()
    return waiting


@pytest.mark.parametrize("order", ["orphan", "stop"])
def test_the_queue_is_served_when_all_workers_stop(serve: Serve, gate: Gate, order: str):
    worker = serve(waiting_at(gate), threads=1)
    waiting = leave_to_itself(worker, gate, order)

    for client in waiting:
        assert (answer := client.response()).status == 200
        assert answer.closes
        client.close()
    assert worker.exit_code() == 0


@pytest.mark.parametrize("order", ["retire", "term", "quit"])
def test_the_queue_is_left_to_the_siblings(serve: Serve, gate: Gate, order: str):
    worker = serve(waiting_at(gate), threads=1)
    waiting = leave_to_itself(worker, gate, order)
    served: list[Client] = []

    def has_left() -> bool:
        for client in waiting:
            if client not in served and client.has_something():
                assert client.response().status == 200
                client.close()
                served.append(client)
        return not worker.is_alive

    until(has_left)
    assert worker.exit_code() == 0
    left = 0
    with suppress(BlockingIOError):
        while True:
            worker.listeners[0].socket.accept()[0].close()
            left += 1
    assert left >= 2, "it has accepted more than one that it saw before the order"
    assert left + len(served) == len(waiting)


def test_a_worker_that_accepts_no_more_says_so(serve: Serve, gate: Gate):
    """So that its master starts another one, and has the siblings look at the queue."""
    worker = serve(waiting_at(gate))
    client = worker.connect()
    reach_application(worker, client)
    worker.signal(signal.SIGTERM)

    worker.await_message(Retiring)
    gate.open()
    assert client.response().status == 200


def test_a_stop_after_a_term_makes_a_worker_accept_again(serve: Serve, gate: Gate):
    """All processes of a group get the signal, and then the master's order comes."""
    worker = serve(waiting_at(gate))
    client = worker.connect()
    reach_application(worker, client)
    worker.signal(signal.SIGTERM)
    waiting = worker.connect()
    waiting.send(get("/waiting"))
    gate.open()
    worker.await_message(Retiring)
    worker.channel.send(StopOrder(linger=1.0, deadline=20.0))

    assert waiting.response().body == b"/waiting"
    for one in (client, waiting):
        one.close()
    assert worker.exit_code() == 0


def test_a_stop_ends_although_others_still_wait(serve: Serve):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        time.sleep(0.05)
        return app(environ, start_response)

    worker = serve(application, threads=1)
    clients = [worker.connect() for _ in range(40)]
    for client in clients:
        client.send(GET)
    worker.channel.send(StopOrder(linger=0.0, deadline=0.2))

    assert worker.exit_code() == 0
    accepted = worker.word(ACCEPTED)
    assert accepted < 40
    # What a thread was still serving has no line.
    assert worker.access.count(" 200 ") + worker.access.count(" 503 ") >= accepted - 1


def look_up_at_once() -> None:
    """Let every call of the application be a long one."""
    executor.LOOK_UP_AFTER = 0
    runner.LONG = 0


@only_sync
def test_orders_are_obeyed_between_two_requests_that_were_ready_together(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate), prepare=look_up_at_once)
    first, *others = clients = [worker.connect() for _ in range(10)]
    for client in clients:
        client.ask()
    reach_application(worker, first)
    for client in others:
        client.send(get("/wait"))
    worker.channel.send(QuitOrder(deadline=0.1))
    gate.open(2)
    until(lambda: worker.row.state is WorkerState.DRAINING)
    deadline = time.monotonic() + 0.1
    until(lambda: time.monotonic() > deadline)
    gate.open()

    assert first.response().status == 200
    assert sorted(client.response().status for client in others) == [200] * 2 + [503] * 7
    assert worker.exit_code() == 0
    assert worker.access.count('"GET /wait HTTP/1.1" 503 ') == 7


@only_sync
def test_orders_are_obeyed_between_two_requests_of_one_connection(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate), prepare=look_up_at_once)
    client = worker.connect()
    reach_application(worker, client)
    client.send(get("/wait") * 5)
    worker.channel.send(QuitOrder(deadline=2.0))
    gate.open(2)
    until(lambda: worker.row.state is WorkerState.DRAINING)
    deadline = time.monotonic() + 2.0
    until(lambda: time.monotonic() > deadline)
    gate.open()

    answers = [client.response()]
    while not answers[-1].closes:
        answers.append(client.response())
    # The order is read after the first call or after the second; the next response says that it is the last.
    assert [answer.status for answer in answers] in ([200, 200], [200, 200, 200])
    assert worker.exit_code() == 0


def test_an_idle_connection_may_send_a_last_request(serve: Serve):
    worker = serve()
    client = worker.connect()
    client.ask()
    worker.channel.send(RetireOrder(linger=20.0, deadline=20.0))
    until(lambda: worker.row.state is WorkerState.DRAINING)

    assert client.ask().closes
    assert client.end() == "end"
    client.close()
    assert worker.exit_code() == 0, "nothing is left to wait for"


def test_the_rest_of_a_request_is_waited_for(serve: Serve):
    worker = serve()
    client = worker.connect()
    client.send(post(5) + b"hel")
    worker.await_word(CONNECTIONS, 1)
    worker.channel.send(RetireOrder(linger=0.0, deadline=20.0))
    until(lambda: worker.row.state is WorkerState.DRAINING)
    client.send(b"lo")

    assert (answer := client.response("POST")).body == b"/hello"
    assert answer.closes
    client.close()
    assert worker.exit_code() == 0


@pytest.mark.pure
@pytest.mark.parametrize("fields", [(), ("Connection: close",)])
def test_an_unread_request_is_answered_and_recorded_at_the_end(
    serve: Serve, gate: Gate, fields: tuple[str, ...]
):
    def hesitate() -> None:
        see_off = WsgiWorker._close_idle

        def slow(worker: WsgiWorker) -> None:
            gate.pass_through()
            see_off(worker)

        WsgiWorker._close_idle = slow  # type: ignore[method-assign]

    worker = serve(prepare=hesitate)
    client = worker.connect()
    client.ask()
    worker.channel.send(RetireOrder(linger=0.0, deadline=20.0))
    until(lambda: worker.row.state is WorkerState.DRAINING)
    client.send(get("/last", *fields))
    gate.open(100)

    assert (answer := client.response()).body == b"/last"
    assert answer.closes
    client.close()
    assert worker.exit_code() == 0
    assert '"GET /last HTTP/1.1" 200 5 ' in worker.access


@pytest.mark.parametrize("order", [RetireOrder(linger=0.0, deadline=0.1), QuitOrder(deadline=0.1)])
def test_when_its_time_is_up_it_leaves_what_is_unfinished(serve: Serve, order: Any):
    worker = serve(
        sweep=10.0, threads=1
    )  # so that an answer to the last client means that the first was served
    reading, half = worker.connect(small=True), worker.connect()
    reading.send(get("/large"))
    until(reading.has_something)
    half.send(b"GET / HT")
    sending = worker.connect()
    sending.send(post(9)[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert sending.socket.recv(1000).startswith(b"HTTP/1.1 100 ")
    started = time.monotonic()
    worker.channel.send(order)

    assert worker.exit_code() == 0
    assert time.monotonic() - started < 5.0, "it waited for its next sweep"
    assert re.search(r"closed 3 connections: (--graceful-timeout|quick stop) \(0\.1 s\) exceeded", worker.log)
    assert sending.response("POST").status == 503
    lines = sorted(line.split('"')[1] + line.split('"')[2][:5] for line in worker.access.splitlines())
    assert lines == ["GET /large HTTP/1.1 499 ", "POST / HTTP/1.1 503 "]


def test_a_client_that_does_not_see_the_end_is_not_waited_for_when_it_must_stop(serve: Serve):
    worker = serve(sweep=10.0)
    client = worker.connect()
    client.send(b"nonsense\r\n\r\n")
    assert client.response().status == 400
    worker.channel.send(QuitOrder(deadline=20.0))

    started = time.monotonic()
    assert worker.exit_code() == 0
    assert time.monotonic() - started < 5.0


def test_term_again_changes_nothing(serve: Serve, gate: Gate):
    worker = serve(waiting_at(gate))
    client = worker.connect()
    reach_application(worker, client)
    for _ in range(3):
        worker.signal(signal.SIGTERM)
    gate.open()

    assert client.response().body == b"/wait"
    client.close()
    assert worker.exit_code() == 0


# ── processes of the application ──


def test_a_process_of_the_application_keeps_no_connection_open(serve: Serve, gate: Gate):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/fork" and os.fork() == 0:
            gate.pass_through()
            sys.exit()
        return app(environ, start_response)

    worker = serve(application)
    idle, forking = worker.connect(), worker.connect()
    idle.ask()
    forking.send(b"GET /fork HTTP/1.0\r\n\r\n")

    assert forking.response(version="1.0").body == b"/fork"
    assert forking.end() == "end", "the child holds the connection"
    assert idle.ask().status == 200
    worker.signal(signal.SIGKILL)
    assert worker.exit_code() == -signal.SIGKILL
    assert idle.end() == "end", "the child holds a connection of its parent"
    gate.open()


@pytest.mark.parametrize("how", ["exits", "raises", "returns", "returns a generator", "closes"])
def test_a_process_of_the_application_that_returns_serves_nothing(serve: Serve, tmp_path: Path, how: str):
    trace = tmp_path / "trace"

    class ForksAtItsEnd:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"hello"])

        def close(self) -> None:
            fork()

    def fork() -> bool:
        pid = os.fork()
        with trace.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return pid == 0

    def generate() -> Iterator[bytes]:
        yield b"hello"
        fork()

    def application(environ: Environ, start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/fork":
            return app(environ, start_response)
        start_response("200 OK", [("Content-Length", "5")])
        if how == "closes":
            return ForksAtItsEnd()
        if how == "returns a generator":
            return generate()
        if fork():
            if how == "exits":
                sys.exit(3)
            if how == "raises":
                raise ValueError("in the child")
        return [b"hello"]

    worker = serve(application)
    client, other = worker.connect(), worker.connect()
    other.ask()
    assert [client.ask(get("/fork")).body for _ in range(3)] == [b"hello"] * 3

    pids = until(lambda: len(found := trace.read_text().split()) == 6 and found)
    children = {int(pid) for pid in pids} - {worker.pid}
    until(lambda: all(is_over(pid) for pid in children))
    assert [one.ask().status for one in (client, other)] == [200, 200]
    assert worker.row.stall_reference_ns > 0
    worker.await_word(REQUESTS, 6)
    assert "application error" not in worker.log
    assert ("ValueError: in the child" in worker.log) == (how == "raises")


def test_a_process_of_the_application_writes_nothing_into_a_response_that_waits(serve: Serve, tmp_path: Path):
    """It has the file in which the rest of the response waits for its reader."""
    trace = tmp_path / "trace"
    piece = 1 << 20

    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", str(20 * piece))])
        yield b"w" * 10 * piece
        pid = os.fork()
        for _ in range(10):
            yield (b"w" if pid else b"c") * piece
        trace.write_text(str(pid))

    worker = serve(application)
    client = worker.connect(small=True)
    client.send(GET)
    until(lambda: trace.exists() and trace.read_text())
    child = int(trace.read_text())
    assert child > 0, "the child has come to the end"
    until(lambda: is_over(child))

    assert set(client.response().body) == set(b"w")


def is_over(pid: int) -> bool:
    """Whether a process has ended; it was not reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"

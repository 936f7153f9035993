"""Workers that make no progress: the log has their stacks and their request, and another one takes their
place."""

import http.client
import re
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.integration.server import HELLO, READY, Server, await_fact, kill, stat_of

Serve = Callable[..., Server]

STUCK = """
import pathlib, time

def count_endlessly():
    while True:
        pass

def app(environ, start_response):
    if environ["PATH_INFO"] == "/sleep":
        pathlib.Path("begun").touch()
        time.sleep(600)
    if environ["PATH_INFO"] == "/spin":
        count_endlessly()
    if environ["PATH_INFO"] == "/match":
        import re
        re.match("(a+)+$", "a" * 60 + "b")
    start_response("200 OK", [])
    return [b"fine"]
"""

STUCK_ASGI = """
import asyncio, time

def block():
    time.sleep(600)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise NotImplementedError
    if scope["path"] == "/block":
        block()
    if scope["path"] == "/wait":
        await asyncio.sleep(2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
"""


def get_nothing(server: Server, path: str) -> None:
    with pytest.raises(OSError):
        server.get(path)


@pytest.mark.parametrize(
    ("path", "frame"), [("/sleep", "in app"), ("/spin", "in count_endlessly"), ("/match", "in match")]
)
def test_a_stuck_request_is_killed_with_its_stack_and_its_request_line(
    serve: Serve, path: str, frame: str
) -> None:
    """Also when C code holds the interpreter's lock and no Python handler can run (/match)."""
    server = serve("app:app", "--timeout", "1", files={"app.py": STUCK})
    mark = server.mark()

    get_nothing(server, f"{path}?token=secret")

    server.await_line(READY, since=mark)
    (record,) = server.find(
        rf"worker 1 \(pid (\d+)\) killed: no progress for (1\.\d) s \(--timeout 1\), "
        rf"serving GET {path} for (1\.\d) s, generation 1, [\d.]+ s old\n((?:    .*\n)+)",
        mark,
    )
    assert frame in record[4]
    assert "run_worker" in record[4]
    assert "in _turn" not in record[4].partition("in run_worker")[2]
    assert "secret" not in server.log
    assert "memory" not in server.log
    await_fact(lambda: f'"GET {path}" 500 0 ' in server.access_log, "the access log has the request")
    assert "secret" not in server.access_log
    assert server.get().text == "fine"


# A step takes an eighth of a second, all together more than the limit of one: each step is progress.
STREAM = """
import time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/hints":
        for _ in range(12):
            time.sleep(0.125)
            environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/write":
        for _ in range(12):
            time.sleep(0.125)
            write(b"x")
    return pieces(path)

def pieces(path):
    for _ in range(12 if path in ("/yield", "/wedge") else 0):
        time.sleep(0.125)
        yield b"x"
    if path == "/wedge":
        time.sleep(600)
    if path == "/empty":
        while True:
            time.sleep(0.125)
            yield b""
    yield b"end"
"""


@pytest.mark.parametrize(
    ("path", "piece"), [("/yield", b"1\r\nx\r\n"), ("/write", b"1\r\nx\r\n"), ("/hints", b"HTTP/1.1 103 ")]
)
def test_each_piece_that_the_application_hands_over_is_progress(
    serve: Serve, path: str, piece: bytes
) -> None:
    """One and a half seconds of pieces."""
    server = serve("app:app", "--timeout", "1", files={"app.py": STREAM})
    client = server.send(b"GET %b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" % path.encode())

    received = b"".join(iter(lambda: client.recv(1 << 16), b""))

    assert received.count(piece) == 12
    assert received.endswith(b"3\r\nend\r\n0\r\n\r\n")
    assert "killed" not in server.log
    client.close()


def test_a_stream_that_stops_is_killed_and_the_log_says_both_times(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": STREAM})
    mark = server.mark()

    with pytest.raises((OSError, http.client.IncompleteRead)):
        server.get("/wedge")

    (killed,) = server.await_line(
        r"killed: no progress for (1\.\d) s \(--timeout 1\), serving GET /wedge for ([\d.]+) s", since=mark
    )
    assert float(killed[2]) >= 12 * 0.125 + 1.0


def test_a_block_that_is_empty_hands_nothing_over(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": STREAM})
    mark = server.mark()

    get_nothing(server, "/empty")

    server.await_line(r"killed: no progress for .* serving GET /empty", since=mark)


def test_a_blocked_event_loop_is_killed_with_its_stack(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": STUCK_ASGI})
    mark = server.mark()

    get_nothing(server, "/block")

    server.await_line(READY, since=mark)
    (record,) = server.find(r"killed: no progress for .*GET /block.*\n((?:    .*\n)+)", mark)
    assert "in block" in record[1]


def test_a_slow_request_does_not_stall_an_event_loop(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": STUCK_ASGI})

    assert server.get("/wait").text == "fine"
    assert "killed" not in server.log


def test_others_are_served_while_one_is_stuck(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--timeout", "1", files={"app.py": STUCK})
    server.await_ready(2)
    mark = server.mark()
    victim = threading.Thread(target=get_nothing, args=(server, "/sleep"))
    victim.start()
    # Before that, its worker accepts others, which would be lost with it.
    await_fact((server.folder / "begun").exists, "the request is being served")

    while not server.find("killed: no progress", mark):
        assert server.get().text == "fine"
    victim.join()

    server.await_line(READY, since=mark)
    assert len(server.find("killed", mark)) == 1


def test_idle_workers_are_not_stuck(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--timeout", "1")
    workers = server.await_ready(2)
    # A client that says nothing is no request.
    client = server.send(b"GET / HTTP")

    began = time.monotonic()
    await_fact(lambda: time.monotonic() > began + 2.0, "twice the limit is over")

    assert set(server.worker_pids()) == set(workers.values())
    client.close()


def test_a_master_that_was_paused_kills_no_worker(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--timeout", "1")
    workers = server.await_ready(2)
    processes = [server.pid, *workers.values()]

    # A frozen container: the clock goes on, and no process runs.
    for pid in processes:
        kill(pid, signal.SIGSTOP)
    await_fact(lambda: all(stat_of(pid)[0] == "T" for pid in processes), "all are stopped")
    began = time.monotonic()
    await_fact(lambda: time.monotonic() > began + 2.0, "twice the limit is over")
    for pid in processes:
        kill(pid, signal.SIGCONT)

    server.await_line(r"the master was paused for [1-4]\.\d s: not counted against --timeout")
    assert server.get().status == 200
    began = time.monotonic()
    await_fact(lambda: time.monotonic() > began + 1.0, "the master has checked its workers")
    assert set(server.worker_pids()) == set(workers.values())
    assert "killed" not in server.log


def test_a_stopped_worker_is_stuck(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--timeout", "1")
    workers = server.await_ready(2)
    mark = server.mark()

    kill(workers[1], signal.SIGSTOP)

    server.await_line(rf"worker 1 \(pid {workers[1]}\) killed: no progress", since=mark)
    server.await_line(r"worker 1 \(pid \d+\) ready", since=mark)


def test_a_timeout_of_0_is_none(serve: Serve) -> None:
    source = STUCK.replace("600", "1.5")
    server = serve("app:app", "--timeout", "0", files={"app.py": source})

    assert server.get("/sleep").text == "fine"
    assert "killed" not in server.log


def test_at_the_end_of_the_graceful_timeout_stuck_workers_are_killed_with_their_stack(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--graceful-timeout", "1", files={"app.py": STUCK})
    server.await_ready(2)
    victim = threading.Thread(target=get_nothing, args=(server, "/sleep"))
    victim.start()
    await_fact((server.folder / "begun").exists, "the request is being served")

    began = time.monotonic()
    server.signal(signal.SIGTERM)

    assert server.wait() == 0
    assert 1.0 <= time.monotonic() - began < 5.0
    limit = r"still busy: --graceful-timeout \(1 s\) exceeded"
    (record,) = server.find(rf"killed: {limit}, serving GET /sleep for [\d.]+ s.*\n((?:    .*\n)+)")
    assert "in app" in record[1]
    victim.join()


def test_a_reload_kills_a_stuck_worker_when_its_time_is_over(serve: Serve) -> None:
    server = serve("app:app", "--graceful-timeout", "1", files={"app.py": STUCK})
    victim = threading.Thread(target=get_nothing, args=(server, "/sleep"))
    victim.start()
    await_fact((server.folder / "begun").exists, "the request is being served")
    (server.folder / "app.py").write_text(HELLO)

    server.signal(signal.SIGHUP)

    server.await_line("generation 2 serves with 1 worker$")
    assert re.search(r"killed: still busy: --graceful-timeout \(1 s\) exceeded", server.log)
    assert server.get().status == 200
    victim.join()

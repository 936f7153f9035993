"""Threads workers as a whole: threads that are stuck, and which worker gets new connections."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from tests.integration.server import READY, Server, Threaded, await_fact
from tests.integration.test_timeout import STUCK, get_nothing

Serve = Callable[..., Server]

WAITS = Threaded(
    """
import os, pathlib, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        pathlib.Path(f"begun-{os.getpid()}").touch()
        while not pathlib.Path("gate").exists():
            time.sleep(0.01)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""
)


def begin_to_wait(server: Server) -> tuple[int, threading.Thread]:
    """A request that is inside the application, and the pid of the worker that has it."""
    asker = threading.Thread(target=server.get, args=("/wait",))
    asker.start()
    await_fact(lambda: list(server.folder.glob("begun-*")), "the request is being served")
    (begun,) = server.folder.glob("begun-*")
    return int(begun.name.partition("-")[2]), asker


def test_threads_make_it_a_threads_worker(serve: Serve) -> None:
    source = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [f"{environ['wsgi.multithread']} {environ['wsgi.multiprocess']}".encode()]
"""
    server = serve("app:app", "--threads", "3", files={"app.py": source})

    assert server.get().text == "True False"
    server.await_line(r"1 threads worker of 3 threads \(.*--threads is 3")


def test_a_worker_without_a_free_thread_leaves_new_connections_to_its_siblings(serve: Serve) -> None:
    server = serve("app:app", "-w", "2", "--threads", "1", files={"app.py": WAITS})
    workers = set(server.await_ready(2).values())
    busy, asker = begin_to_wait(server)

    (free,) = workers - {busy}
    assert {int(server.get().text) for _ in range(30)} == {free}
    (server.folder / "gate").touch()
    asker.join()


def test_a_stuck_thread_is_logged_and_no_worker_is_killed(serve: Serve) -> None:
    server = serve("app:app", "--timeout", "1", files={"app.py": WAITS})
    pid, asker = begin_to_wait(server)

    reported = rf"worker 1 \(pid {pid}\), appserve-thread-\d, "
    server.await_line(
        rf"WARNING +{reported}has made no progress for [12]\.\d s \(--timeout 1\), "
        r"serving GET /wait from 127\.0\.0\.1 for [12]\.\d s"
    )
    assert 'app.py", line 8, in app\n' in server.log
    assert int(server.get().text) == pid
    (server.folder / "gate").touch()
    server.await_line(rf"{reported}returned after [\d.]+ s: GET /wait$")
    asker.join()
    assert server.worker_pids() == [pid]
    assert "killed" not in server.log


def test_a_thread_that_stops_all_others_is_killed_with_its_stack(serve: Serve) -> None:
    """C code that holds the interpreter's lock: the loop cannot turn."""
    server = serve("app:app", "--timeout", "1", files={"app.py": Threaded(STUCK)})
    mark = server.mark()

    get_nothing(server, "/match?token=secret")

    server.await_line(READY, since=mark)
    (record,) = server.find(r"worker 1 \(pid \d+\) killed: no progress for .*\n((?:    .*\n)+)", mark)
    assert "in match" in record[1]
    assert "secret" not in server.log
    assert server.get().text == "fine"


def test_a_stuck_thread_does_not_keep_its_worker_past_the_graceful_timeout(serve: Serve) -> None:
    server = serve("app:app", "--graceful-timeout", "1", files={"app.py": Threaded(STUCK)})
    victim = threading.Thread(target=get_nothing, args=(server, "/sleep"))
    victim.start()
    await_fact((server.folder / "begun").exists, "the request is being served")

    server.signal(signal.SIGTERM)

    assert server.wait() == 0
    victim.join()
    server.await_line(r"closed 1 connection: --graceful-timeout \(1 s\) exceeded")
    assert "killed" not in server.log


def test_a_crash_in_a_thread_is_logged_with_its_request_and_its_stack(serve: Serve) -> None:
    source = """
import ctypes
def fall():
    ctypes.string_at(0)
def app(environ, start_response):
    fall()
"""
    server = serve(files={"app.py": Threaded(source)})

    with pytest.raises(OSError):
        server.get("/fall?token=secret")

    server.await_line(r"worker 1 \(pid \d+\) died of SIGSEGV, serving GET /fall for [\d.]+ s, generation 1")
    assert 'app.py", line 4 in fall' in server.log.partition("died of SIGSEGV")[2]
    await_fact(lambda: '"GET /fall" 500 0 ' in server.access_log, "the access log has the request")
    assert "secret" not in server.log + server.access_log
    server.await_line(READY, 2)


def test_what_the_threads_did_is_in_the_access_log_before_the_server_ends(serve: Serve) -> None:
    server = serve("app:app", "--threads", "4", files={"app.py": WAITS})
    (server.folder / "gate").touch()
    for number in range(20):
        server.get(f"/{number}")
    pid = server.worker_pids()[0]
    os.kill(pid, signal.SIGTERM)
    server.await_line(rf"worker 1 \(pid {pid}\) stopped without an order")

    assert [f'"GET /{number} HTTP/1.1" 200 ' in server.access_log for number in range(20)] == [True] * 20

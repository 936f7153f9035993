"""What signals do to the master and to workers."""

import os
import random
import signal
import socket
from collections.abc import Callable

import pytest

from tests.integration.load import small_load
from tests.integration.server import (
    HELLO,
    HELLO_ASGI,
    HELLO_THREADS,
    Server,
    Threaded,
    await_fact,
    is_alive,
    kill,
    processes_of_session,
    signals_of,
)

Serve = Callable[..., Server]

# /wait says that it has begun, and answers when it may.
WAITS = """
import pathlib, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        pathlib.Path("begun").touch()
        while not pathlib.Path("gate").exists():
            time.sleep(0.01)
    start_response("200 OK", [("Content-Length", "4")])
    return [b"done"]
"""

WAITS_THREADS = Threaded(WAITS)

WAITS_ASGI = """
import asyncio, pathlib

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            pathlib.Path(message["type"]).touch()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/wait":
        pathlib.Path("begun").touch()
        while not pathlib.Path("gate").exists():
            await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})
"""

EVERY_CLASS = pytest.mark.parametrize(
    "source", [WAITS, WAITS_THREADS, WAITS_ASGI], ids=["sync", "threads", "asgi"]
)


def begin_to_wait(server: Server) -> socket.socket:
    """A request that is inside the application."""
    client = server.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    await_fact((server.folder / "begun").exists, "the request is being served")
    return client


def read_to_end(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


@EVERY_CLASS
def test_term_answers_what_is_in_flight_and_ends_with_0(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": source})
    server.await_ready(2)
    client = begin_to_wait(server)

    server.signal(signal.SIGTERM)
    server.await_line("graceful stop")
    (server.folder / "gate").touch()

    answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\ndone")
    assert server.wait() == 0
    assert server.is_refusing()
    assert processes_of_session(server.pid) == []


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_term_under_load_loses_nothing_on_established_connections(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": source})
    server.await_ready(2)

    with small_load(server, clients=8) as load:
        load.expects_breaks = True
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        await_fact(lambda: load.refused == 8, "every client was refused in the end")

    assert load.complaints == []
    # New connections may be reset in the moment of the last close; one that had an answer may not.
    assert set(load.victims) <= {""}
    assert "killed" not in server.log


@EVERY_CLASS
def test_term_ends_idle_workers_within_a_moment(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": source})
    server.await_ready(2)

    assert server.stop(timeouts=10) == 0
    assert "killed" not in server.log
    assert len(server.find(r"worker \d \(pid \d+\) stopped \(exit code 0\)")) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_cut_what_is_in_flight_after_two_seconds(serve: Serve, number: int) -> None:
    server = serve(files={"app.py": WAITS_ASGI})
    client = begin_to_wait(server)

    server.signal(number)

    assert server.wait(timeouts=15) == 0
    assert "quick stop" in server.log
    assert (server.folder / "lifespan.shutdown").exists()
    client.close()


@EVERY_CLASS
def test_a_second_term_hurries_and_a_third_forces(serve: Serve, source: str) -> None:
    server = serve("app:app", "--graceful-timeout", "600", files={"app.py": source})
    client = begin_to_wait(server)

    server.signal(signal.SIGTERM)
    server.await_line("graceful stop")
    server.signal(signal.SIGTERM)
    server.await_line("quick stop")
    server.signal(signal.SIGTERM)

    assert server.wait(timeouts=15) == 0
    client.close()


def test_a_ctrl_c_is_quiet(serve: Serve) -> None:
    """The terminal sends it to the whole group."""
    server = serve("app:app", "-w", "3")
    server.await_ready(3)

    os.killpg(server.pid, signal.SIGINT)

    assert server.wait() == 0
    assert "Traceback" not in server.log
    assert "KeyboardInterrupt" not in server.log
    assert len(server.find(r"worker \d \(pid \d+\) stopped \(exit code 0\)")) == 3


def test_a_ctrl_c_while_the_application_is_imported_is_quiet(serve: Serve) -> None:
    source = "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(600)\n"
    server = serve("app:app", "-w", "2", files={"app.py": source}, wait=False)
    await_fact((server.folder / "importing").exists, "the application is being imported")

    os.killpg(server.pid, signal.SIGINT)

    assert server.wait() == 0
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU, signal.SIGWINCH])
def test_signals_without_a_meaning_yet_do_not_hurt_the_master(serve: Serve, number: signal.Signals) -> None:
    server = serve("app:app", "--log-level", "debug")

    server.signal(number)

    server.await_line(f"{number.name} ignored: not supported")
    assert server.get().status == 200


@pytest.mark.parametrize("source", [HELLO, HELLO_THREADS, HELLO_ASGI], ids=["sync", "threads", "asgi"])
def test_stray_signals_mean_nothing_to_a_worker(serve: Serve, source: str) -> None:
    server = serve(files={"app.py": source})
    worker = server.await_ready()[1]

    for name in ("INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "TTIN", "TTOU"):
        kill(worker, getattr(signal, f"SIG{name}"))

    for _ in range(3):
        assert worker == int(server.get().text)
    assert [worker] == server.worker_pids()


@EVERY_CLASS
def test_term_to_a_worker_retires_it_and_another_takes_its_place(serve: Serve, source: str) -> None:
    server = serve("app:app", "-w", "2", files={"app.py": source})
    workers = server.await_ready(2)
    mark = server.mark()

    kill(workers[1], signal.SIGTERM)

    server.await_line(r"worker 1 \(pid \d+\): SIGTERM received: retiring", since=mark)
    server.await_line(rf"worker 1 \(pid {workers[1]}\) stopped without an order", since=mark)
    assert workers[1] != server.await_ready(1, since=mark)[1]
    assert "failed" not in server.log


def test_a_program_that_the_application_starts_has_default_signals(serve: Serve) -> None:
    """An ignored signal would stay ignored across exec, and the program could not be interrupted."""
    source = """
import subprocess
program = subprocess.Popen(["sleep", "600"])
def app(environ, start_response):
    start_response("200 OK", [])
    return [str(program.pid).encode()]
"""
    server = serve(files={"app.py": source})
    program = int(server.get().text)

    masks = signals_of(program)
    unwanted = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM}
    assert set() == masks["SigIgn"] & unwanted
    assert set() == masks["SigBlk"]


def test_a_child_that_the_application_forks_is_not_a_worker(serve: Serve) -> None:
    """It obeys TERM, and holds neither the port nor the channel."""
    source = """
import os, pathlib, time
def app(environ, start_response):
    child = os.fork()
    if child == 0:
        time.sleep(600)
        os._exit(0)
    start_response("200 OK", [])
    return [f"{os.getpid()} {child}".encode()]
"""
    server = serve(files={"app.py": source})
    worker, child = map(int, server.get().text.split())
    assert is_alive(child)

    assert server.stop() == 0

    assert is_alive(child)
    assert server.is_refusing()
    assert not is_alive(worker)
    kill(child, signal.SIGTERM)
    await_fact(lambda: not is_alive(child), "the child ends by TERM")


def test_a_storm_of_signals_loses_no_term(serve: Serve) -> None:
    server = serve("app:app", "-w", "2")
    workers = list(server.await_ready(2).values())
    dice = random.Random(11)
    harmless = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGCHLD, signal.SIGWINCH]

    for _ in range(1000):
        kill(dice.choice([server.pid, *workers]), dice.choice(harmless))
    assert server.get().status == 200
    for _ in range(200):
        kill(dice.choice([server.pid, *workers]), dice.choice(harmless))
    server.signal(signal.SIGTERM)
    for _ in range(200):
        kill(dice.choice([server.pid, *workers]), dice.choice(harmless))

    assert server.wait() == 0
    assert "killed" not in server.log

"""More connections than the workers can serve wait in the queue that they share, while workers come and go.

Each client sends one request and waits, so what happened to it stays to be read in its socket. Requests take
their time asleep, which is the same on every machine; a slow one makes the queue last longer, and no more.
"""

import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.integration.server import TIMEOUT, Server, await_fact, is_alive, kill

WSGI = """
import os, time

def app(environ, start_response):
    if environ["PATH_INFO"] == "/gate":
        open(f"reached-{time.monotonic_ns()}", "w").close()
        while not os.path.exists("open"):
            time.sleep(0.01)
    elif environ["PATH_INFO"] == "/":
        time.sleep(0.05)
    elif environ["PATH_INFO"] == "/long":
        time.sleep(0.2)
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"""

# It sleeps in its event loop, as it should not: the queue stays where it is only while the loop stands still.
ASGI = """
import asyncio, os, time

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    if scope["path"] == "/gate":
        open(f"reached-{time.monotonic_ns()}", "w").close()
        while not os.path.exists("open"):
            await asyncio.sleep(0.01)
    elif scope["path"] == "/":
        time.sleep(0.05)
    elif scope["path"] == "/long":
        await asyncio.sleep(30)
    body = str(os.getpid()).encode()
    fields = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})
"""

KINDS = {
    "sync": (WSGI, ("-k", "sync")),
    "threads": (WSGI, ("-k", "threads", "--threads", "2")),
    "asgi": (ASGI, ("-k", "asgi")),
}
QUEUED = {"sync": 80, "threads": 160, "asgi": 80}
"""Two seconds of work for two workers."""

ANSWER = re.compile(rb"HTTP/1\.1 (\d\d\d) .*?\r\n\r\n(.*)", re.DOTALL)

every_kind = pytest.mark.parametrize("kind", KINDS)

Serve = Callable[..., Server]


def start(serve: Serve, kind: str, *arguments: str, workers: int = 2) -> Server:
    source, choice = KINDS[kind]
    arguments = (*choice, "--workers", str(workers), "--access-logfile", "-", *arguments)
    server = serve("app:app", *arguments, files={"app.py": source})
    server.await_ready(workers)
    return server


def ask(path: str = "/", *fields: str) -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: a", *fields, "", "")).encode()


def queue(server: Server, count: int) -> list[socket.socket]:
    """So many clients that have asked, each on a connection of its own."""
    return [server.send(ask("/", "Connection: close")) for _ in range(count)]


def outcome(client: socket.socket) -> tuple[int, bytes]:
    """The status that a client was answered with, and the body; 0 for none. It is closed."""
    data = b""
    try:
        while received := client.recv(65536):
            data += received
    except ConnectionResetError:
        pass
    finally:
        client.close()
    answer = ANSWER.fullmatch(data)
    return (int(answer[1]), answer[2]) if answer else (0, data)


def outcomes(clients: list[socket.socket]) -> tuple[Counter[int], Counter[bytes]]:
    """How many clients were answered with which status, and by which worker's application."""
    found = [outcome(client) for client in clients]
    return Counter(status for status, _ in found), Counter(body for status, body in found if status == 200)


def await_reached(server: Server, count: int) -> None:
    """Wait until so many requests wait at the gate."""
    await_fact(lambda: len(list(server.folder.glob("reached-*"))) == count, f"{count} at the gate")


def recorded(server: Server, path: str) -> Counter[int]:
    """The statuses of the access log."""
    return Counter(
        int(status) for status in re.findall(rf'"GET {path} HTTP/1.1" (\d\d\d) ', server.access_log)
    )


@every_kind
def test_a_reload_loses_no_connection_in_the_queue(serve: Serve, kind: str) -> None:
    server = start(serve, kind, "--graceful-timeout", "1")
    clients = queue(server, QUEUED[kind])
    server.signal(signal.SIGHUP)
    statuses, workers = outcomes(clients)

    assert statuses == {200: QUEUED[kind]}
    assert len(workers) >= 3, "the new generation has served some"
    server.await_line("generation 2 serves with 2 workers")


@every_kind
def test_at_a_graceful_stop_all_workers_serve_the_queue(serve: Serve, kind: str) -> None:
    server = start(serve, kind, "--graceful-timeout", "30")
    clients = queue(server, QUEUED[kind])
    server.signal(signal.SIGTERM)
    statuses, workers = outcomes(clients)

    assert statuses == {200: QUEUED[kind]}
    assert len(workers) == 2
    assert max(workers.values()) <= 1.5 * min(workers.values()), workers
    assert server.wait() == 0
    assert server.is_refusing()


@every_kind
def test_a_stop_of_the_whole_process_group_loses_no_connection_in_the_queue(serve: Serve, kind: str) -> None:
    """As systemd stops a service by default: TERM to the workers as well."""
    server = start(serve, kind, "--graceful-timeout", "30")
    clients = queue(server, QUEUED[kind])
    for pid in (*server.worker_pids(), server.pid):
        kill(pid, signal.SIGTERM)
    statuses, workers = outcomes(clients)

    assert statuses == {200: QUEUED[kind]}
    assert max(workers.values()) <= 1.5 * min(workers.values()), workers
    assert server.wait() == 0


@every_kind
def test_a_quick_stop_accepts_nothing_and_answers_what_was_accepted(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    clients = queue(server, 4 * QUEUED[kind])
    server.signal(signal.SIGQUIT)
    statuses, _ = outcomes(clients)

    assert server.wait() == 0
    assert "killed" not in server.log
    assert set(statuses) <= {0, 200, 503}
    assert statuses[0] > 0, "it was no quick stop"
    del statuses[0]
    assert recorded(server, "/") == statuses


@every_kind
def test_a_quick_stop_after_a_graceful_one_accepts_nothing_more(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    clients = queue(server, 4 * QUEUED[kind])
    server.signal(signal.SIGTERM)
    server.await_line("graceful stop of 2 workers")
    assert outcome(clients.pop(0))[0] == 200
    server.signal(signal.SIGQUIT)
    statuses, _ = outcomes(clients)

    assert server.wait() == 0
    assert "killed" not in server.log
    assert set(statuses) <= {0, 200, 503}
    assert statuses[0] > 0, "it was no quick stop"
    statuses[200] += 1
    del statuses[0]
    assert recorded(server, "/") == statuses


@every_kind
def test_a_request_on_an_open_connection_is_answered_at_a_quick_stop(serve: Serve, kind: str) -> None:
    """They are all ready at once, and together need more time than there is."""
    server = start(serve, kind, workers=1)
    clients = [server.send(ask("/kept")) for _ in range(60)]
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
    gates = [server.send(ask("/gate")) for _ in range(2 if kind == "threads" else 1)]
    await_reached(server, len(gates))
    for client in clients:
        client.sendall(ask("/long"))
    (server.folder / "open").touch()
    for gate in gates:
        assert gate.recv(65536).startswith(b"HTTP/1.1 200 ")
    server.signal(signal.SIGQUIT)
    statuses, _ = outcomes(clients)

    assert server.wait() == 0
    assert statuses[503] > 0, "there was time for all of them"
    cut = statuses.pop(0, 0)
    assert cut <= (2 if kind == "threads" else 0), "more than its threads were serving"
    lines = recorded(server, "/long")
    lines.pop(500, None)  # what a thread was serving
    # A thread that answers at the very end comes too late for the log.
    assert (statuses - lines).total() <= (2 if kind == "threads" else 0)
    assert not lines - statuses
    assert "--queue-timeout" not in server.log


@every_kind
def test_a_worker_that_is_killed_takes_only_its_own_connections_with_it(serve: Serve, kind: str) -> None:
    server = start(serve, kind)
    clients = queue(server, QUEUED[kind])
    victim = int(outcome(clients.pop(0))[1])
    kill(victim, signal.SIGKILL)
    statuses, _ = outcomes(clients)

    assert set(statuses) <= {0, 200}
    assert statuses[0] <= 10, statuses
    server.await_line("died of SIGKILL")


@every_kind
def test_the_queue_of_an_only_worker_waits_for_its_successor(serve: Serve, kind: str) -> None:
    server = start(serve, kind, "--graceful-timeout", "1", workers=1)
    (first,) = server.worker_pids()
    clients = queue(server, QUEUED[kind] // 2)
    kill(first, signal.SIGTERM)
    statuses, workers = outcomes(clients)

    assert statuses == {200: QUEUED[kind] // 2}
    assert set(workers) - {str(first).encode()}, "none but the retired worker has served"
    await_fact(lambda: not is_alive(first), "the retired worker has exited", TIMEOUT)


@every_kind
def test_a_successor_is_started_before_a_retired_worker_has_exited(serve: Serve, kind: str) -> None:
    server = start(serve, kind, workers=1)
    (first,) = server.worker_pids()
    gate = server.send(ask("/gate", "Connection: close"))
    await_reached(server, 1)
    kill(first, signal.SIGTERM)
    server.await_ready(2)

    assert int(server.get("/quick").body) != first
    (server.folder / "open").touch()
    assert outcome(gate) == (200, str(first).encode())


@every_kind
def test_a_graceful_stop_ends_though_clients_connect_again_and_again(serve: Serve, kind: str) -> None:
    """One worker and more clients than it can serve at a time: the queue is never empty by itself."""
    server = start(serve, kind, "--graceful-timeout", "60", workers=1)
    stopping = threading.Event()

    def connect_again_and_again() -> None:
        while not stopping.is_set():
            try:
                with socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as client:
                    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    while client.recv(4096):
                        pass
            except ConnectionRefusedError:
                return

    clients = [threading.Thread(target=connect_again_and_again) for _ in range(12)]
    for client in clients:
        client.start()
    try:
        await_fact(lambda: server.access_log.count('"GET / HTTP/1.1" 200') >= 12, "all of them are at it")
        server.signal(signal.SIGTERM)
        assert server.wait(30) == 0
        for client in clients:
            client.join(TIMEOUT)
        assert not any(client.is_alive() for client in clients), "the last connect is refused"
    finally:
        stopping.set()
    assert "exceeded" not in server.log

"""The asgi worker behind real sockets: the real command, one worker, on both loops."""

import json
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import certificates
from tests.integration.server import TIMEOUT, Server, await_fact, command, is_alive

pytestmark = pytest.mark.integration

APPS = Path(__file__).parents[1] / "apps"
LOOPS = ("uvloop", "asyncio")
GET = "GET {} HTTP/1.1\r\nHost: a\r\n\r\n"

Start = Callable[..., Server]


def start_server(
    folder: Path, *arguments: str, prefix: tuple[str, ...] = (), bind: str = "127.0.0.1:0"
) -> Server:
    full = [*prefix, *command("asgi_probe:app", "--app-dir", str(APPS), "--bind", bind, *arguments)]
    return Server(full, folder, {})


@pytest.fixture(params=LOOPS)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Start]:
    """start("--setting", "value", …) → a Server of the test's own that listens, on each loop."""
    servers: list[Server] = []

    def begin(*arguments: str, wait: str = "listening on ", **options: Any) -> Server:
        servers.append(start_server(tmp_path, "--loop", request.param, *arguments, **options))
        servers[-1].await_line(wait)
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.fixture(scope="module", params=LOOPS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests of this module share."""
    running = start_server(tmp_path_factory.mktemp("shared"), "--loop", request.param)
    running.await_line("listening on ")
    yield running
    running.close()


def notes(server: Server) -> list[Any]:
    return json.loads(server.get("/notes").body)  # type: ignore[no-any-return]  # the probe's own list


def read_to_end(client: socket.socket) -> bytes:
    data = bytearray()
    while received := client.recv(65536):
        data += received
    return bytes(data)


def reset(client: socket.socket) -> None:
    """Close with an RST."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def send_all_that_fits(client: socket.socket) -> int:
    """Send until the server has taken nothing for a quarter of a second."""
    client.settimeout(0.25)
    sent = 0
    try:
        while sent < 64 << 20:
            sent += client.send(b"x" * 65536)
    except TimeoutError:
        pass
    client.settimeout(TIMEOUT)
    return sent


# ── the wire ──


def test_the_scope_has_the_addresses_of_both_ends(server: Server) -> None:
    with server.send(GET.format("/scope").encode()) as client:
        own = list(client.getsockname())
        answer = client.recv(65536)

    shown = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert shown["client"] == own
    assert shown["server"] == ["127.0.0.1", server.port]
    assert shown["scheme"] == "http"


def test_the_loop_is_the_configured_one(start: Start, request: pytest.FixtureRequest) -> None:
    shown = json.loads(start().get("/scope").body)

    assert shown["loop"] == request.node.callspec.params["start"]


def test_a_large_body_comes_back_whole(server: Server) -> None:
    body = os.urandom(1 << 20) * 3
    connection = server.connect()
    for _ in range(2):
        connection.request("POST", "/echo", body)
        assert connection.getresponse().read() == body
    connection.close()


@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["reset", "close"])
def test_a_task_that_only_streams_learns_that_its_client_left(
    server: Server, leave: Callable[[socket.socket], None]
) -> None:
    before = len(notes(server))
    mark = server.mark()
    client = server.send(GET.format("/pour").encode())
    client.recv(65536)
    leave(client)

    await_fact(lambda: len(notes(server)) > before, "the stream ended", 5)
    what, _, error, is_os_error = notes(server)[before]
    assert (what, error, is_os_error) == ("poured", "ClientDisconnected", True)
    assert "ERROR" not in server.log[mark:]


@pytest.mark.parametrize("leave", [reset, socket.socket.close], ids=["reset", "close"])
def test_a_task_that_receives_learns_that_its_client_left(
    server: Server, leave: Callable[[socket.socket], None]
) -> None:
    before = len(notes(server))
    client = server.send(GET.format("/listen").encode())
    await_fact(lambda: len(notes(server)) > before, "the application was called")
    leave(client)

    await_fact(
        lambda: notes(server)[before:] == ["http.request", "http.disconnect"], "it got the disconnect", 5
    )


def test_a_reset_is_noticed_though_the_upload_is_not_read(start: Start) -> None:
    server = start()
    client = server.send(b"POST /wait?never HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
    send_all_that_fits(client)
    reset(client)

    await_fact(lambda: '"POST /wait?never HTTP/1.1" 499 0' in server.access_log, "499 in the access log")


def test_a_client_that_shuts_its_side_down_reads_its_response(server: Server) -> None:
    with server.send(GET.format("/hello").encode() + GET.format("/scope").encode()) as client:
        client.shutdown(socket.SHUT_WR)
        data = read_to_end(client)

    assert data.count(b"HTTP/1.1 200 OK\r\n") == 2


def test_a_body_that_only_a_close_delimits_ends_by_a_reset_when_it_is_not_whole(server: Server) -> None:
    with server.send(b"GET /half HTTP/1.0\r\n\r\n") as client, pytest.raises(ConnectionResetError):
        read_to_end(client)


def test_a_client_that_does_not_read_holds_its_own_response_up_only(start: Start) -> None:
    server = start()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.settimeout(TIMEOUT)
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    await_fact(lambda: notes(server), "the response has begun")
    # The kernel does not report that it takes no more. If the worker is slow, less was sent: nothing fails.
    while (sent := notes(server)[0]) != (time.sleep(0.1), notes(server)[0])[1]:
        pass

    assert sent < 16 << 20, "what the kernel's buffers hold, and a bound of ours"
    assert len(read_to_end(client)) > 32 << 20
    assert notes(server)[0] == 32 << 20
    client.close()


def test_an_upload_that_the_application_does_not_receive_holds_its_client_up(start: Start) -> None:
    server = start()
    total = 64 << 20
    client = server.send(b"POST /wait?gate HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % total)

    assert send_all_that_fits(client) < 32 << 20

    server.get("/open?gate")
    assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    client.close()


def test_a_response_reaches_a_client_that_is_still_sending(server: Server) -> None:
    """The rest of the upload is not read; a plain close would reset the connection."""
    for _ in range(5):
        client = server.send(b"POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n")
        for _ in range(40):
            client.sendall(b"x" * 65536)
        data = read_to_end(client)
        client.close()

        assert data.endswith(b"\r\n\r\nhello")


def test_a_unix_socket_is_a_server_without_a_client_address(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    start(bind=f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(TIMEOUT)
        client.connect(str(path))
        client.sendall(b"GET /scope HTTP/1.0\r\n\r\n")
        shown = json.loads(read_to_end(client).partition(b"\r\n\r\n")[2])

    assert (shown["client"], shown["server"]) == (None, [str(path), None])
    assert shown["http_version"] == "1.0"


def test_without_keep_alive_each_response_closes_its_connection(start: Start) -> None:
    server = start("--keep-alive", "0")
    with server.send(GET.format("/hello").encode()) as client:
        data = read_to_end(client)

    assert b"\r\nConnection: close\r\n" in data
    assert data.endswith(b"hello")


def test_the_date_is_renewed(start: Start) -> None:
    server = start()
    first = server.get("/hello").headers["Date"]

    await_fact(lambda: server.get("/hello").headers["Date"] != first, "another Date", 5)


def test_requests_are_counted_on_the_scoreboard(start: Start) -> None:
    server = start()
    for _ in range(3):
        server.get("/hello")
    assert server.stop() == 0

    assert server.find(r"stopped \(exit code 0\), .* 3 requests served")


# ── accepting ──


def test_connections_are_shared_evenly_among_idle_workers(
    start: Start, request: pytest.FixtureRequest
) -> None:
    server = start("--workers", "3")
    server.await_ready(3)
    held = []
    for _ in range(30):
        client = server.send(GET.format("/notes").encode())
        client.recv(65536)
        held.append(client)

    counts = [connections_of(pid, server.port) for pid in server.worker_pids()]

    for client in held:
        client.close()
    assert sum(counts) == 30
    assert min(counts) >= 5, counts


def connections_of(pid: int, port: int) -> int:
    """How many connections of this local port a process holds, from /proc."""
    local = f":{port:04X} "
    inodes = set()
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if f"{fields[1]} ".endswith(local) and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    return sum(os.readlink(entry.path) in inodes for entry in os.scandir(f"/proc/{pid}/fd"))


def test_no_more_connections_are_accepted_than_a_worker_may_hold(start: Start) -> None:
    server = start("--worker-connections", "2")
    first, second = (server.send(GET.format("/wait?gate").encode()) for _ in range(2))
    await_fact(lambda: server.access_log.count("waits") == 2, "both are in the application")
    third = server.send(GET.format("/hello").encode())
    third.settimeout(0.3)
    with pytest.raises(TimeoutError):
        third.recv(65536)

    reset(first)

    third.settimeout(TIMEOUT)
    assert third.recv(65536).endswith(b"hello")
    second.close()
    third.close()


def test_full_workers_make_room_among_idle_connections(start: Start) -> None:
    server = start("--workers", "2", "--worker-connections", "8")
    server.await_ready(2)
    clients = []
    for _ in range(40):
        clients.append(server.send(GET.format("/hello").encode()))
        assert clients[-1].recv(65536).endswith(b"hello")

    assert sum(connections_of(pid, server.port) for pid in server.worker_pids()) <= 16
    for client in clients:
        client.close()


def test_a_request_over_the_limit_of_concurrency_is_answered_503(start: Start) -> None:
    server = start("--limit-concurrency", "1")
    busy = server.send(GET.format("/wait?gate").encode())
    await_fact(lambda: "waits" in server.access_log, "the request is in the application")

    answer = server.get("/hello")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    busy.close()


def test_a_worker_without_descriptors_neither_spins_nor_dies(start: Start) -> None:
    server = start(prefix=("sh", "-c", 'ulimit -n 40; exec "$@"', "sh"))
    (pid,) = server.worker_pids()
    clients = [server.send(GET.format("/hello").encode()) for _ in range(60)]
    server.await_line("cannot accept connections: Too many open files")
    before = cpu_seconds(pid)
    time.sleep(1.0)  # the fact here is what a second costs
    assert cpu_seconds(pid) - before < 0.5
    assert len(server.find("cannot accept connections")) <= 3

    for client in clients[:40]:
        client.close()

    for client in clients[40:]:
        assert client.recv(65536).endswith(b"hello")
        client.close()
    assert server.worker_pids() == [pid]


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ── leaving ──


def test_term_finishes_what_is_there_and_ends_the_rest(start: Start) -> None:
    server = start()
    idle = server.send(GET.format("/hello").encode())
    assert idle.recv(65536)
    busy = server.send(GET.format("/wait?gate").encode())
    await_fact(lambda: "waits" in server.access_log, "the request is in the application")
    opener = server.connect()
    opener.request("GET", "/hello")
    opener.getresponse().read()

    server.signal(signal.SIGTERM)
    await_fact(server.is_refusing, "no new connections")
    opener.request("GET", "/open?gate")
    answer = opener.getresponse()

    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    data = read_to_end(busy)
    assert b"\r\nConnection: close\r\n" in data
    assert data.endswith(b"waited")
    assert read_to_end(idle) == b""
    assert server.wait() == 0
    assert "lifespan.shutdown" in server.access_log
    for client in (idle, busy, opener):
        client.close()


def test_streams_get_a_disconnect_and_can_end_in_good_order(start: Start) -> None:
    server = start("--graceful-timeout", "4")
    client = server.send(GET.format("/drip").encode())
    await_fact(lambda: "drips" in server.access_log, "the stream has begun")

    began = time.monotonic()
    assert server.stop() == 0

    data = read_to_end(client)
    assert data.endswith(b"5\r\nfirst\r\n4\r\nlast\r\n0\r\n\r\n")
    assert time.monotonic() - began < 4
    client.close()


def test_what_does_not_end_is_cut_and_answered(start: Start) -> None:
    server = start("--graceful-timeout", "2")
    waiting = server.send(GET.format("/wait?never").encode())
    pouring = server.send(GET.format("/pour").encode())
    await_fact(lambda: "waits" in server.access_log and "pours" in server.access_log, "both are called")

    assert server.stop() == 0

    assert read_to_end(waiting).startswith(b"HTTP/1.1 503 ")
    assert "closed 2 connections: --graceful-timeout (2 s) exceeded" in server.log
    assert "lifespan.shutdown" in server.access_log
    waiting.close()
    pouring.close()


def test_int_is_quick_and_still_shuts_the_lifespan_down(start: Start) -> None:
    server = start()
    waiting = server.send(GET.format("/wait?never").encode())
    await_fact(lambda: "waits" in server.access_log, "the request is in the application")
    began = time.monotonic()

    server.signal(signal.SIGINT)

    assert server.wait() == 0
    assert time.monotonic() - began < 10
    assert "lifespan.shutdown" in server.access_log
    waiting.close()


def test_threads_and_tasks_that_do_not_end_do_not_keep_a_worker(start: Start) -> None:
    server = start("--graceful-timeout", "1")
    assert server.get("/thread").body == b"left"
    (pid,) = server.worker_pids()

    assert server.stop() == 0
    assert not is_alive(pid)


def test_workers_leave_when_their_master_is_killed(start: Start) -> None:
    server = start("--workers", "2")
    server.await_ready(2)
    workers = server.worker_pids()
    server.signal(signal.SIGKILL)

    await_fact(lambda: not any(map(is_alive, workers)), "the workers are gone", 10)


# ── applications that fork ──


def test_a_child_of_the_application_does_not_hold_connections_open(start: Start) -> None:
    server = start()
    with server.send(b"GET /fork HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") as client:
        assert read_to_end(client).endswith(b"\r\n\r\nforked")


def test_a_child_of_the_application_does_not_hold_tls_connections_open(start: Start) -> None:
    made = certificates()
    server = start("--certfile", made.shop.certfile, "--keyfile", made.shop.keyfile)
    client = made.client_context().wrap_socket(server.send(b""), server_hostname="localhost")
    client.sendall(b"GET /fork HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert read_to_end(client).endswith(b"\r\n\r\nforked")
    with socket.socket(fileno=client.detach()) as below:
        below.settimeout(TIMEOUT)
        assert below.recv(1) == b"", "not only TLS has ended"


def test_a_child_that_returns_from_the_application_sends_no_response(start: Start) -> None:
    server = start()
    with server.send(GET.format("/split").encode()) as client:
        await_fact(lambda: notes(server) == ["the child is gone"], "the child has ended")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client).count(b"HTTP/1.1") == 1
    assert server.get("/hello").body == b"hello"


# ── lifespan ──

LIFESPANS = """
import asyncio

async def hangs(scope, receive, send):
    await receive()
    print("hangs", flush=True)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            print("cancelled", flush=True)
            raise

async def fails(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database said no"})

async def breaks(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        raise RuntimeError("the database said no")
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": repr("state" in scope).encode()})

async def hangs_at_the_end(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.sleep(3600)
"""


def run_lifespan(folder: Path, name: str, *arguments: str) -> Server:
    (folder / "lifespans.py").write_text(LIFESPANS)
    return Server(command(f"lifespans:{name}", "--bind", "127.0.0.1:0", *arguments), folder, {})


@pytest.fixture
def lifespan(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(*arguments: str) -> Server:
        servers.append(run_lifespan(tmp_path, *arguments))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_term_ends_a_startup_that_hangs(lifespan: Start, loop: str) -> None:
    server = lifespan("hangs", "--loop", loop)
    await_fact(lambda: "hangs" in server.access_log, "the startup hangs")

    began = time.monotonic()
    server.stop()

    assert time.monotonic() - began < 10
    assert "cancelled" in server.access_log


def test_a_failed_startup_ends_the_first_boot_with_exit_3_and_its_message(lifespan: Start) -> None:
    server = lifespan("fails")

    assert server.wait() == 3
    assert "the application failed to start: the database said no" in server.log


def test_a_startup_that_breaks_is_served_without_state(lifespan: Start) -> None:
    server = lifespan("breaks")
    server.await_line("listening on ")

    assert server.get("/").body == b"False"
    assert "RuntimeError: the database said no" in server.log


def test_a_startup_that_breaks_ends_the_boot_when_a_lifespan_is_demanded(lifespan: Start) -> None:
    server = lifespan("breaks", "--lifespan", "on")

    assert server.wait() == 3
    assert "RuntimeError: the database said no" in server.log


def test_a_shutdown_that_hangs_is_bounded(lifespan: Start) -> None:
    server = lifespan("hangs_at_the_end", "--graceful-timeout", "1")
    server.await_line("listening on ")

    assert server.stop() == 0
    assert "did not finish its lifespan shutdown" in server.log


# ── what it is made of ──


def test_asyncio_is_used_where_uvloop_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from appserve.workers.asgi_loop import make_loop

    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop, backend_fd = make_loop("auto")
    loop.close()

    assert type(loop).__module__.startswith("asyncio")
    assert backend_fd >= 0
    with pytest.raises(ImportError):
        make_loop("uvloop")

"""Large bodies in both directions: they cost a worker no memory, and no turn while their clients are slow."""

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.apps.large import PIECE as GENERATED
from tests.apps.large import piece
from tests.integration.large import Download, Memory, connect, read_to_end, upload
from tests.integration.server import Server, await_fact, command

APPS = Path(__file__).parent.parent / "apps"

SIZE = 64 << 20
GROWTH = 6 << 20
"""Bytes by which a worker may grow, whatever the size of a body."""

PIECES = [bytes([number]) * (1 << 20) for number in range(SIZE >> 20)]
CLASSES = ("sync", "threads", "asgi")
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[Server] = []

    def make(worker_class: str, *flags: str) -> Server:
        file = tmp_path / "large"
        if not file.exists():
            with file.open("wb") as opened:
                opened.writelines(PIECES)
        interface = "asgi" if worker_class == "asgi" else "wsgi"
        full = ["--worker-class", worker_class, "--bind", "127.0.0.1:0", "--chdir", str(APPS), *flags]
        environ = {"LARGE_FILE": str(file), "LARGE_SIZE": str(SIZE)}
        servers.append(
            Server(command(f"large:{interface}", *full), tmp_path, environ, f"server-{len(servers)}")
        )
        servers[-1].await_ready()
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def worker_of(server: Server) -> int:
    return next(iter(server.await_ready().values()))


def crc_of(path: str) -> int:
    crc = 0
    pieces = PIECES if path == "/file" else map(piece, range(SIZE // GENERATED))
    for data in pieces:
        crc = zlib.crc32(data, crc)
    return crc


every_class = pytest.mark.parametrize("worker_class", CLASSES)


@every_class
def test_an_upload_costs_no_memory(start: Start, worker_class: str):
    server = start(worker_class)
    upload(connect(server), [b"a" * 1_000_000], 1_000_000)
    memory = Memory(worker_of(server))
    expected = f"\r\n{SIZE} {crc_of('/file'):08x}".encode()
    for length in (SIZE, -1):
        with connect(server) as client:
            assert expected in upload(client, PIECES, length)

    assert memory.growth < GROWTH


@every_class
@pytest.mark.parametrize("path", ["/file", "/generate"])
def test_a_download_costs_no_memory(start: Start, worker_class: str, path: str):
    server = start(worker_class)
    with connect(server) as client:
        Download(client, path).read(1 << 20)
    memory = Memory(worker_of(server))
    with connect(server, small=True) as slow, connect(server) as quick:
        paused, flowing = Download(slow, path), Download(quick, path)
        flowing.read_all()
        assert server.get("/").text == "quick", "no request waits for a reader that does not read"
        paused.read_all()
        assert [(one.status, one.received, one.crc) for one in (flowing, paused)] == [
            (200, SIZE, crc_of(path))
        ] * 2

    assert memory.growth < GROWTH


@pytest.mark.parametrize("worker_class", ["sync", "threads"])
def test_an_application_that_waits_for_its_reader_is_not_taken_for_one_that_hangs(
    start: Start, worker_class: str
):
    server = start(worker_class, "--limit-spool", "1000000", "--timeout", "1", "--write-timeout", "10")
    pid = worker_of(server)
    memory = Memory(pid)
    with connect(server, small=True) as client:
        download = Download(client, "/generate")
        began = time.monotonic()
        # It has to last for longer than --timeout, and there is nothing to be seen in the meantime.
        download.read_all(pause=lambda: time.sleep(0.03 if time.monotonic() < began + 2.5 else 0))
        assert time.monotonic() > began + 2, "the test was too quick to show it"
        assert (download.received, download.crc) == (SIZE, crc_of("/generate"))

    assert worker_of(server) == pid
    assert memory.growth < GROWTH
    assert "no progress" not in server.log
    assert "has been in the application" not in server.log


@pytest.mark.parametrize("worker_class", ["sync", "threads"])
def test_an_application_waits_for_its_reader_no_longer_than_the_write_timeout(
    start: Start, worker_class: str
):
    server = start(worker_class, "--limit-spool", "1000000", "--write-timeout", "0.2")
    with connect(server, small=True) as client:
        Download(client, "/generate")
        assert server.get("/").text == "quick"
        await_fact(
            lambda: '"GET /generate HTTP/1.1" 499 ' in server.access_log, "the line of the one cut off"
        )
        assert int(server.access_log.partition('/generate HTTP/1.1" 499 ')[2].split()[0]) < SIZE
    assert "killed" not in server.log


@every_class
def test_a_body_over_the_limit_is_refused_before_it_is_read(start: Start, worker_class: str):
    server = start(worker_class, "--limit-request-body", "1000000")
    head = b"POST / HTTP/1.1\r\nHost: a.example\r\n"
    for sent in (
        head + b"Content-Length: 1000001\r\n\r\n",
        head + b"Content-Length: 1000001\r\nExpect: 100-continue\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n%b\r\n" % bytes(0x1000) * 245,
    ):
        with server.send(sent) as client:
            assert read_to_end(client).startswith(b"HTTP/1.1 413 ")
    with server.send(head + b"Content-Length: 1000000\r\n\r\n" + bytes(1_000_000)) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")


def post(size: int) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % size


@pytest.mark.parametrize("worker_class", ["sync", "threads"])
def test_whatever_uploads_hold_there_is_room_for_others(start: Start, worker_class: str):
    server = start(worker_class, "--limit-spool", str(16 << 20))
    with ExitStack() as stack:
        large, *others, late = (stack.enter_context(connect(server)) for _ in range(4))
        for number, client in enumerate((large, *others), start=1):
            client.sendall(post(4 << 20) + b"".join(PIECES[:3]))
            await_fact(lambda number=number: spooled(server) == 3 * number << 20, "it has its room")
        late.sendall(post(4 << 20) + b"".join(PIECES[:4]))
        assert late.recv(1000).startswith(b"HTTP/1.1 503 ")
        await_fact(lambda: spooled(server) == 9 << 20, "the one without room has given back what it had")
        for _ in range(12):
            with connect(server) as client:
                client.sendall(post(2 << 20) + b"".join(PIECES[:2]))
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
        large.sendall(PIECES[3])
        assert large.recv(1000).startswith(b"HTTP/1.1 200 ")
    await_fact(lambda: spooled(server) == 0, "all have given their room back")


@pytest.mark.parametrize("worker_class", ["sync", "threads"])
def test_an_upload_over_the_quota_is_refused_at_once(start: Start, worker_class: str):
    server = start(worker_class, "--limit-spool", str(16 << 20), "--limit-request-body", str(5 << 20))
    assert "limit_request_body (5242880) is more than a quarter of limit_spool (16777216)" in server.log
    with server.send(post((4 << 20) + 1)) as client:
        answer = read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"--limit-spool" in answer


@every_class
def test_unfinished_uploads_cost_little_memory(start: Start, worker_class: str):
    server = start(worker_class)
    upload(connect(server), [b"a" * 100_000], 100_000)
    memory = Memory(worker_of(server))
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(200)]
        for client in clients:
            client.sendall(post(262_144) + PIECES[0][:262_000])
        if worker_class != "asgi":
            await_fact(lambda: spooled(server) == 200 * 262_000, "all of it has come in")
        # Twice 64 KiB each: what waits for the application, and what the loop has read beyond it.
        assert memory.growth < 200 * 2 * 65_536


def spooled(server: Server) -> int:
    """Bytes in the nameless files of the worker."""
    found = 0
    for fd in Path(f"/proc/{worker_of(server)}/fd").iterdir():
        try:
            if ("(deleted)" in str(fd.readlink()) and "/appserve-" in str(fd.readlink())) or "/#" in str(
                fd.readlink()
            ):
                found += fd.stat().st_size
        except FileNotFoundError:
            pass
    return found

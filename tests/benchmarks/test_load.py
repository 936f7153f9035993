"""The load generators, in C and in Python: what they count is what the server did."""

import json
import os
import shutil
import socketserver
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.cases import CASES, request
from tests.benchmarks.generator import Generator, c_compiler, prepare
from tests.benchmarks.load import read_requests, write_requests

ROOT = Path(__file__).parent.parent.parent

RESPONSES: dict[str, tuple[bytes, ...]] = {
    # what is sent for a target, piece by piece; the connection is closed after an empty piece
    "/length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",),
    "/pieces": (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r", b"\n\r", b"\nhe", b"llo"),
    "/chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"1A;name=value\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nTrailer: 1\r\n\r\n",
    ),
    "/empty": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",),
    "/no-content": (b"HTTP/1.1 204 No Content\r\n\r\n",),
    "/early": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ),
    "/missing": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",),
    "/fails": (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",),
    "/close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", b""),
    "/old": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b""),
    "/old-kept": (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello",),
    "/until-close": (b"HTTP/1.1 200 OK\r\n\r\nhello", b""),
    "/short": (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello", b""),
    "/short-chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello", b""),
    "/short-head": (b"HTTP/1.1 200 OK\r\nContent-Le", b""),
    "/nothing": (b"",),
    "/long": (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhello",),
    "/no-http": (b"hello, this is no HTTP at all\r\n\r\n",),
    "/bad-chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n",),
    "/silent": (),
}  # fmt: skip


class Scripted(socketserver.ThreadingTCPServer):
    """Answers as RESPONSES says, and counts what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), ScriptedHandler)
        self.port = self.server_address[1]
        self.asked: Counter[str] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.connections = 0
        self.lock = threading.Lock()


class ScriptedHandler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    server: Scripted

    def handle(self) -> None:
        with self.server.lock:
            self.server.connections += 1
        try:
            while line := self.rfile.readline():
                self._answer(*line.decode().split()[:2])
        except (OSError, EOFError):
            pass

    def _answer(self, method: str, target: str) -> None:
        size = 0
        while (line := self.rfile.readline()) not in {b"\r\n", b""}:
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        body = self.rfile.read(size)
        with self.server.lock:
            self.server.asked[target] += 1
            self.server.bodies[body] += 1
        for piece in RESPONSES[target]:
            if not piece:
                raise EOFError
            self.wfile.write(piece.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else piece)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Generator | None:
    compiler = c_compiler()
    return prepare(tmp_path_factory.mktemp("load"), compiler) if compiler else None


@pytest.fixture(params=["c", "python"])
def generator(request: pytest.FixtureRequest, compiled: Generator | None, tmp_path: Path) -> Generator:
    if request.param == "python":
        return prepare(tmp_path, None)
    if compiled is None:
        assert not os.environ.get("REQUIRE_PEERS"), "a C compiler is needed"
        pytest.skip("no C compiler")
    return compiled


@pytest.fixture
def server() -> Iterator[Scripted]:
    with serving() as running:
        yield running


@contextmanager
def serving() -> Iterator[Scripted]:
    with Scripted() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def run(
    generator: Generator, port: int, folder: Path, requests: list[bytes], *arguments: str
) -> dict[str, Any]:
    path = folder / "requests"
    write_requests(path, requests)
    finished = subprocess.run(
        [*generator.command, str(port), str(path), *arguments],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    result: dict[str, Any] = json.loads(finished.stdout)
    return result


def get(target: str) -> bytes:
    return request("GET", target, [("Host", "localhost")])


def errors(result: dict[str, Any]) -> dict[str, int]:
    return {kind: number for kind, number in result["errors"].items() if number}


@pytest.mark.parametrize(
    ("target", "size"),
    [
        *(("/length", 5), ("/pieces", 5), ("/chunked", 31), ("/empty", 0), ("/early", 2)),
        *(("/close", 5), ("/old", 5), ("/old-kept", 5), ("/until-close", 5)),
    ],
)
def test_each_complete_response_is_counted_once(
    generator: Generator, server: Scripted, tmp_path: Path, target: str, size: int
) -> None:
    result = run(generator, server.port, tmp_path, [get(target)], "--requests", "20", "--connections", "3")
    assert result["requests"] == server.asked[target] == 20
    assert (errors(result), result["not_2xx"], result["statuses"]) == ({}, 0, {"200": 20})
    assert result["bytes"] == 20 * size


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        *(("/short", "short"), ("/short-chunk", "short"), ("/short-head", "short"), ("/nothing", "short")),
        *(("/long", "malformed"), ("/no-http", "malformed"), ("/bad-chunk", "malformed")),
    ],
)
def test_an_incomplete_or_wrong_response_is_an_error_and_no_response(
    generator: Generator, server: Scripted, tmp_path: Path, target: str, kind: str
) -> None:
    mixed = [get(target), get("/length")]
    result = run(generator, server.port, tmp_path, mixed, "--requests", "20", "--connections", "1")
    assert (result["requests"], errors(result)) == (10, {kind: 10})
    assert (server.asked[target], server.asked["/length"]) == (10, 10)


def test_responses_that_are_not_2xx_are_counted_by_status(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    mixed = [get("/length"), get("/missing"), get("/fails"), get("/no-content")]
    result = run(generator, server.port, tmp_path, mixed, "--requests", "40", "--connections", "1")
    assert result["statuses"] == {"200": 10, "204": 10, "404": 10, "500": 10}
    assert (result["requests"], result["not_2xx"], errors(result)) == (40, 20, {})


def test_a_head_request_is_answered_without_a_body(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    head = request("HEAD", "/length", [("Host", "localhost")])
    result = run(generator, server.port, tmp_path, [head], "--requests", "5", "--connections", "1")
    assert (result["requests"], result["bytes"], errors(result)) == (5, 0, {})


def test_a_connection_is_kept_until_the_server_closes_it(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    kept = run(generator, server.port, tmp_path, [get("/length")], "--requests", "20", "--connections", "4")
    assert kept["connections"] == server.connections == 4
    mixed = [get("/length"), get("/close")]
    run(generator, server.port, tmp_path, mixed, "--requests", "20", "--connections", "1")
    assert server.connections == 4 + 10


def test_with_close_each_request_has_a_connection_of_its_own(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    arguments = ("--requests", "12", "--connections", "3", "--close")
    result = run(generator, server.port, tmp_path, [get("/length")], *arguments)
    assert result["connections"] == server.connections == 12
    assert (result["requests"], errors(result)) == (12, {})


def test_every_request_is_sent_as_it_was_prepared_and_equally_often(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    bodies = [b"%d" % number * 30_000 for number in range(4)]
    posts = [request("POST", "/length", [("Host", "localhost")], body) for body in bodies]
    result = run(generator, server.port, tmp_path, posts, "--requests", "16", "--connections", "4")
    assert errors(result) == {}
    assert sum(server.bodies.values()) == 16
    assert set(server.bodies) == set(bodies)


def test_connections_begin_at_different_requests(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    mixed = [get("/length"), get("/chunked"), get("/empty"), get("/early")]
    run(generator, server.port, tmp_path, mixed, "--requests", "4", "--connections", "4", "--rate", "100")
    assert server.asked == {"/length": 1, "/chunked": 1, "/empty": 1, "/early": 1}


def test_a_refused_connection_is_an_error(generator: Generator, tmp_path: Path) -> None:
    with serving() as server:
        port = server.port
    result = run(generator, port, tmp_path, [get("/length")], "--requests", "10", "--connections", "2")
    assert (result["requests"], errors(result)) == (0, {"connect": 10})


def test_a_response_that_does_not_come_is_a_timeout(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    arguments = ("--requests", "2", "--connections", "2", "--timeout", "0.3")
    result = run(generator, server.port, tmp_path, [get("/silent")], *arguments)
    assert (result["requests"], errors(result)) == (0, {"timeout": 2})


def test_a_run_of_some_seconds_counts_what_the_server_answered(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    result = run(generator, server.port, tmp_path, [get("/length")], "--seconds", "0.3", "--connections", "2")
    assert result["requests"] == server.asked["/length"] > 0
    assert result["seconds"] == pytest.approx(0.3)
    latency = result["latency"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p999"] <= latency["max"]


def test_at_a_fixed_rate_no_request_is_sent_before_it_is_due(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    arguments = ("--requests", "40", "--rate", "200", "--connections", "8")
    result = run(generator, server.port, tmp_path, [get("/length")], *arguments)
    assert result["requests"] == 40
    assert result["seconds"] >= 39 / 200


def test_at_a_fixed_rate_waiting_for_a_connection_is_part_of_the_latency(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    # The first times out; the second was due at once and waits for that, as there is one connection.
    mixed = [get("/silent"), get("/length")]
    arguments = ("--requests", "2", "--rate", "1000", "--connections", "1", "--timeout", "0.3")
    result = run(generator, server.port, tmp_path, mixed, *arguments)
    assert (result["requests"], errors(result)) == (1, {"timeout": 1})
    assert result["latency"]["max"] >= 0.29


def test_requests_that_no_connection_was_free_for_are_counted(
    generator: Generator, server: Scripted, tmp_path: Path
) -> None:
    arguments = ("--seconds", "0.2", "--rate", "100", "--connections", "1", "--timeout", "2")
    result = run(generator, server.port, tmp_path, [get("/silent")], *arguments)
    assert result["unsent"] == 19


def test_the_file_of_requests_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "requests"
    written = [b"", b"12\n34", *CASES["real"].make()]
    write_requests(path, written)
    assert read_requests(path) == written


def test_a_compiled_generator_is_kept_until_its_source_changes(
    compiled: Generator | None, tmp_path: Path
) -> None:
    compiler = c_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    first = prepare(tmp_path, compiler)
    assert Path(first.command[0]).is_file()
    assert prepare(tmp_path, "/compiler/that/is/not/there") == first
    shutil.rmtree(tmp_path)
    assert prepare(tmp_path, compiler) == first

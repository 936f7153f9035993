"""The validator of the standard library finds nothing, whatever is asked of the real command."""

import hashlib
import http.client
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.server import TIMEOUT, Server, command

APPS = Path(__file__).parent.parent / "apps"
BODY = b"".join(random.Random(3).randbytes(50) + b"\n" for _ in range(10_000))
FILE = (APPS / "validated.py").read_bytes()


@pytest.fixture(
    scope="module",
    params=[("sync", "tcp"), ("sync", "unix"), ("threads", "tcp")],
    ids="-".join,
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("validator")
    worker_class, family = request.param
    bind = "127.0.0.1:0" if family == "tcp" else f"unix:{folder}/socket"
    flags = ["--worker-class", worker_class, "--bind", bind, "--chdir", str(APPS), "--root-path", "/shop"]
    one = Server(command("validated:with_every_rule_twice", *flags), folder, {})
    try:
        one.await_ready()
        yield one
        assert one.stop() == 0
        assert "Error" not in one.log, one.log
        assert "Warning" not in one.log, one.log
        assert "without closing" not in one.log, one.log
    finally:
        one.close()


class Client(http.client.HTTPConnection):
    """A client of either family."""

    def __init__(self, server: Server) -> None:
        super().__init__("a.example", timeout=TIMEOUT)
        path = server.folder / "socket"
        if path.exists():
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(str(path))
        else:
            self.sock = socket.create_connection(("127.0.0.1", server.port), TIMEOUT)

    def ask(self, method: str, path: str, body: object = None, **fields: str) -> tuple[int, bytes]:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))  # type: ignore[arg-type]
        answer = self.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    one = Client(server)
    yield one
    one.close()


def of(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/shop", "/shop/a%20b?c=d", "/a//b/%C3%BC%FF?%20"])
def test_any_method_and_any_path(client: Client, method: str, path: str):
    for _ in range(2):
        assert client.ask(method, path) == (200, b"" if method == "HEAD" else of(b""))


def test_the_server_as_a_whole(client: Client):
    assert client.ask("OPTIONS", "*") == (200, of(b""))
    assert client.ask("GET", "http://b.example/?c") == (200, of(b""))


@pytest.mark.parametrize("size", [0, 1, 7, 1000, len(BODY)])
def test_bodies_of_any_size_and_form(client: Client, size: int):
    body = BODY[:size]
    pieces = [body[start : start + 30_000] for start in range(0, size, 30_000)]

    assert client.ask("POST", "/", body, Content_Type="application/octet-stream") == (200, of(body))
    assert client.ask("POST", "/", iter(pieces), Transfer_Encoding="chunked") == (200, of(body))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/file", (200, FILE)),
        ("/no-file", (200, b"no file")),
        ("/generate", (200, b"one two")),
        ("/write", (200, b"one two")),
        ("/change", (503, b"sorry")),
        ("/nothing", (204, b"")),
    ],
)
def test_answers_of_any_kind(client: Client, path: str, expected: tuple[int, bytes]):
    for method in ("GET", "HEAD", "POST"):
        status, body = expected
        assert client.ask(method, path) == (status, b"" if method == "HEAD" else body)
        assert client.ask(method, "/shop" + path) == (status, b"" if method == "HEAD" else body)


def test_repeated_fields_and_odd_values(client: Client):
    client.putrequest("GET", "/", skip_accept_encoding=True)
    for name, value in [
        ("Accept", "a"),
        ("Accept", "b"),
        ("Cookie", "c=1"),
        ("Cookie", "d=2"),
        ("X", "\xe4"),
    ]:
        client.putheader(name, value)
    client.endheaders()

    assert client.getresponse().read() == of(b"")


def test_hints(client: Client):
    """http.client knows no 103."""
    client.sock.sendall(b"GET /hint HTTP/1.1\r\nHost: a.example\r\n\r\n")
    received = b""
    while b"hinted" not in received:
        received += client.sock.recv(1000)

    assert received.startswith(
        b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\n"
    )

"""The real command serving HTTPS to openssl and Python's client: what TLS itself changes, for each class.

The corpus goes over TLS too (tests/conformance): requests in pieces, ends with and without an alert, large
and slow responses. Curl and reloads under load are in test_direct_tls.py.
"""

import contextlib
import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.certificates import PASSWORD, Pair, certificates
from tests.integration.large import read_to_end
from tests.integration.server import TIMEOUT, Answer, Server, await_fact, command, descriptors_of

Serve = Callable[..., Server]

WSGI = """
import os, sys, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain")]
    if path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/big":
        start_response("200 OK", [*headers, ("Content-Length", "20000000")])
        return (bytes([number]) * 100_000 for number in range(200))
    elif path == "/facts":
        names = [name for name in environ if name.startswith(("SSL_", "HTTPS", "wsgi.url_scheme"))]
        body = "\\n".join(f"{name}={environ[name]}" for name in names).encode()
    elif path == "/modules":
        body = b"ssl" if "_ssl" in sys.modules else b"none"
    elif path == "/fork":
        body = str(os.fork()).encode()
        if body == b"0":
            time.sleep(60)
            os._exit(0)
    else:
        body = b"hello"
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]
"""

ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    headers = [(b"content-type", b"text/plain")]
    if path == "/big":
        length = (b"content-length", b"20000000")
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
        for number in range(200):
            part = bytes([number]) * 100_000
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    sent = b"".join(parts)
    body = {"/echo": sent, "/facts": b"wsgi.url_scheme=" + scope["scheme"].encode()}.get(path, b"hello")
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
"""

BIG = b"".join(bytes([number]) * 100_000 for number in range(200))

KINDS = ["sync", "threads", "asgi"]


def start(serve: Serve, kind: str, *arguments: str, pair: Pair | None = None, **settings: object) -> Server:
    """A server with the certificate of the shop, or another one."""
    pair = pair or certificates().shop
    files = {"app.py": ASGI if kind == "asgi" else WSGI}
    tls = ("--certfile", pair.certfile, "--keyfile", pair.keyfile)
    return serve("app:app", "-k", kind, *tls, *arguments, files=files, **settings)


@pytest.fixture(scope="module", params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of each kind, with one thread, for tests that change nothing of it."""
    with make_shop(tmp_path_factory, request.param) as server:
        yield server


@contextmanager
def make_shop(tmp_path_factory: pytest.TempPathFactory, kind: str) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp(kind)
    (folder / "app.py").write_text(ASGI if kind == "asgi" else WSGI)
    pair = certificates().shop
    flags = (
        "--certfile",
        pair.certfile,
        "--keyfile",
        pair.keyfile,
        "--bind",
        "127.0.0.1:0",
        "--threads",
        "1",
    )
    server = Server(command("app:app", "-k", kind, *flags), folder, {})
    try:
        server.await_ready()
        yield server
        assert server.stop() == 0
        assert server.log.count("ERROR") == server.log.count("WARNING") == 0
    finally:
        server.close()


@contextmanager
def connected(server: Server, context: ssl.SSLContext | None = None) -> Iterator[http.client.HTTPSConnection]:
    context = context or certificates().client_context()
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=TIMEOUT, context=context)
    try:
        yield connection
    finally:
        connection.close()


def get(server: Server, path: str = "/", context: ssl.SSLContext | None = None) -> Answer:
    with connected(server, context) as connection:
        connection.request("GET", path)
        return Answer(connection.getresponse())


def facts(server: Server, context: ssl.SSLContext | None = None) -> dict[str, str]:
    lines = get(server, "/facts", context).text.splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


@contextmanager
def raw_tls(server: Server, name: str, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
    """A connection that takes no end for clean that is not."""
    context = context or certificates().client_context()
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False) as client,
    ):
        yield client


def shown(server: Server, name: str) -> tuple[str, ...]:
    """The names in the certificate that is sent for this host."""
    context = certificates().client_context()
    context.check_hostname = False
    with raw_tls(server, name, context) as client:
        described = client.getpeercert()
        assert described
        return tuple(name for _, name in described["subjectAltName"])


# ── on each kind of worker ──


def test_a_connection_is_kept_and_takes_uploads_and_big_responses(shop):
    upload = os.urandom(3_000_000)
    with connected(shop) as connection:
        connection.request("GET", "/facts")
        assert "wsgi.url_scheme=https" in Answer(connection.getresponse()).text
        kept = connection.sock
        connection.request("POST", "/echo", upload)
        assert Answer(connection.getresponse()).body == upload
        connection.request("GET", "/big")
        assert Answer(connection.getresponse()).body == BIG
        assert connection.sock is kept


def test_two_hundred_incomplete_handshakes_delay_no_client(shop):
    hello = client_hello()
    with contextlib.ExitStack() as silent:
        for number in range(200):
            client = silent.enter_context(socket.create_connection(("127.0.0.1", shop.port)))
            client.sendall((b"", hello[:5], hello[:100], hello)[number % 4])
        assert get(shop).body == b"hello"
        (worker,) = shop.worker_pids()
        await_fact(lambda: len(descriptors_of(worker)) > 200, "all are connected")
        assert get(shop).body == b"hello"
    await_fact(lambda: len(descriptors_of(worker)) < 50, "all are gone")


def client_hello() -> bytes:
    read, written = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates().client_context().wrap_bio(read, written, server_hostname="shop.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return written.read()


def test_plain_http_is_answered_with_what_to_do(shop):
    answer = shop.get("/")

    assert answer.status == 400
    assert "https" in answer.text
    assert get(shop).body == b"hello"


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_of_clients_are_checked(serve, kind):
    made = certificates()
    server = start(serve, kind, "--cert-reqs", "required", "--ca-certs", made.authority)

    assert get(server, context=made.client_context(made.ann)).body == b"hello"
    for context in (made.client_context(made.stranger), None):
        with pytest.raises(OSError, match=r"."):
            get(server, context=context)
    assert server.log.count("ERROR") == server.log.count("WARNING") == 0


def test_clients_below_the_lowest_version_are_refused(serve):
    server = start(serve, "asgi", "--tls-version", "1.3")
    old = certificates().client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        get(server, context=old)
    assert get(server).body == b"hello"


# ── what an application sees ──


@pytest.mark.parametrize("kind", ["sync", "threads"])
def test_the_application_sees_tls_and_the_client(serve, kind):
    made = certificates()
    server = start(serve, kind, "--cert-reqs", "optional", "--ca-certs", made.authority)

    seen = facts(server, made.client_context(made.ann))
    assert seen["wsgi.url_scheme"] == "https"
    assert seen["HTTPS"] == "on"
    assert seen["SSL_PROTOCOL"] == "TLSv1.3"
    assert seen["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert seen["SSL_CLIENT_S_DN"] == "CN=Ann,O=Shop,C=DE"

    seen = facts(server)
    assert seen["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_S_DN" not in seen
    with pytest.raises(OSError, match=r"."):
        get(server, context=made.client_context(made.stranger))


def test_tls_1_1_is_refused(shop):
    where = ("-connect", f"127.0.0.1:{shop.port}")
    old = ("openssl", "s_client", *where, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")

    done = subprocess.run(
        old, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )

    assert "CONNECTED" in done.stdout
    assert "alert protocol version" in done.stderr


class Typist:
    """The openssl client with a keyboard: a line K requests new keys, a line R a new handshake."""

    def __init__(self, server: Server, *options: str) -> None:
        where = ("-connect", f"127.0.0.1:{server.port}", "-CAfile", certificates().authority)
        self._client = subprocess.Popen(
            ["openssl", "s_client", "-crlf", *where, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
        )
        self._seen = b""

    def __enter__(self) -> "Typist":
        return self

    def __exit__(self, *error: object) -> None:
        self._client.kill()
        self._client.communicate()

    def type(self, text: str) -> None:
        assert self._client.stdin is not None
        self._client.stdin.write(text.encode())

    def await_text(self, text: str) -> None:
        """Wait until it has written this, and forget what came before it."""
        assert self._client.stdout is not None
        while text.encode() not in self._seen:
            data = self._client.stdout.read(1 << 16)
            assert data, f"it ended without {text!r}: {self._seen.decode(errors='replace')}"
            self._seen += data
        self._seen = self._seen.partition(text.encode())[2]

    def wait(self) -> int:
        return self._client.wait(TIMEOUT)


def test_a_client_may_request_new_keys(shop):
    with Typist(shop, "-tls1_3") as client:
        client.await_text("Verify return code: 0")
        for _ in range(3):
            client.type("K\n")
            client.await_text("KEYUPDATE")
        client.type("GET / HTTP/1.1\nHost: a.example\n\n")
        client.await_text("HTTP/1.1 200 OK")
        client.await_text("hello")


def test_a_client_cannot_renegotiate(shop):
    with Typist(shop, "-tls1_2") as client:
        client.await_text("Verify return code: 0")
        client.type("R\n")
        client.await_text("RENEGOTIATING")
        client.await_text("no renegotiation")
        assert client.wait() != 0
    assert get(shop).body == b"hello"


def test_only_processes_that_serve_tls_have_it_in_memory(serve):
    plain = serve("app:app", "-k", "sync", files={"app.py": WSGI})
    secure = start(serve, "sync")
    (worker,) = secure.worker_pids()

    assert plain.get("/modules").text == "none"
    assert not has_tls_in_memory(plain.pid)
    assert has_tls_in_memory(worker)


def has_tls_in_memory(pid: int) -> bool:
    return re.search(r"/(_ssl\.|libssl)", Path(f"/proc/{pid}/maps").read_text()) is not None


@pytest.mark.parametrize("kind", ["sync", "threads"])
def test_a_process_that_the_application_forked_does_not_hold_its_clients(serve, kind):
    server = start(serve, kind)
    with raw_tls(server, "shop.example") as client:
        client.sendall(b"GET /fork HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        answer = read_to_end(client)  # to the end, although the child lives on

    assert b"200 OK" in answer


# ── files ──


def test_the_password_of_a_key_comes_from_the_environment(serve):
    shop = certificates().shop
    secret = {"APPSERVE_KEYFILE_PASSWORD": PASSWORD}
    tls = ("--certfile", shop.certfile, "--keyfile", shop.locked_keyfile)
    server = serve("app:app", *tls, files={"app.py": WSGI}, environ=secret)

    assert get(server).body == b"hello"
    assert PASSWORD not in server.log


@pytest.mark.parametrize(
    ("password", "seen"),
    [({}, "is encrypted: give its password"), ({"APPSERVE_KEYFILE_PASSWORD": "no"}, "cannot be decrypted")],
)
def test_a_start_without_the_right_password_fails_and_says_why(serve, password, seen):
    shop = certificates().shop
    tls = ("--certfile", shop.certfile, "--keyfile", shop.locked_keyfile)
    server = serve("app:app", *tls, files={"app.py": WSGI}, environ=password, wait=False)

    assert server.wait() == 5
    assert f'keyfile "{shop.locked_keyfile}": the private key {seen}' in server.log
    assert "Traceback" not in server.log


def test_an_expired_certificate_is_logged_and_served(serve):
    server = start(serve, "sync", pair=certificates().expired)

    assert f'certfile "{certificates().expired.certfile}" expired on 2002-01-01' in server.log


def put(folder: Path, pair: Pair) -> tuple[str, str]:
    """A copy of a certificate and its key, each file replaced at once; gives the options."""
    for kind, source in (("pem", pair.certfile), ("key", pair.keyfile)):
        fresh = folder / f"fresh.{kind}"
        fresh.write_bytes(Path(source).read_bytes())
        fresh.rename(folder / f"server.{kind}")
    return "server.pem", "server.key"


def serve_from(serve: Serve, folder: Path) -> Server:
    certfile, keyfile = put(folder, certificates().shop)
    tls = ("--certfile", certfile, "--keyfile", keyfile)
    server = serve("app:app", *tls, files={"app.py": WSGI})
    assert "shop.example" in shown(server, "shop.example")
    return server


def test_a_reload_with_files_that_cannot_be_used_changes_nothing_and_says_why(serve, tmp_path):
    server = serve_from(serve, tmp_path)
    (before,) = server.worker_pids()
    (tmp_path / "server.key").write_bytes(Path(certificates().market.keyfile).read_bytes())
    mark = server.mark()
    server.signal(signal.SIGHUP)

    why = rf'keyfile "{tmp_path}/server.key": the private key is not that of certfile "{tmp_path}/server.pem"'
    server.await_line(rf"ERROR +reload: {why}", since=mark)
    server.await_line("reload refused: invalid settings", since=mark)
    assert "shop.example" in shown(server, "shop.example")
    assert get(server).body == b"hello"
    assert before in server.worker_pids()

"""The real command serving HTTPS: curl, openssl and Python's client, on each kind of worker."""

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
from tests.integration.server import PATIENCE, Answer, Server, await_fact, descriptors_of

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


@contextmanager
def connected(server: Server, context: ssl.SSLContext | None = None) -> Iterator[http.client.HTTPSConnection]:
    context = context or certificates().client_context()
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=PATIENCE, context=context)
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
        socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False) as client,
    ):
        yield client


def shown(server: Server, name: str) -> tuple[str, ...]:
    """The names in the certificate that a client gets who asks for this host."""
    context = certificates().client_context()
    context.check_hostname = False
    with raw_tls(server, name, context) as client:
        described = client.getpeercert()
        assert described
        return tuple(name for _, name in described["subjectAltName"])


# ── on each kind of worker ──


@pytest.mark.parametrize("kind", KINDS)
def test_curl_is_answered(serve, kind):
    server = start(serve, kind)
    where = ("--resolve", f"shop.example:{server.port}:127.0.0.1", f"https://shop.example:{server.port}/")
    curl = ("curl", "--silent", "--show-error", "--max-time", "30", "--cacert", certificates().authority)

    done = subprocess.run([*curl, *where], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_is_kept_and_takes_uploads_and_big_responses(serve, kind):
    upload = os.urandom(3_000_000)
    server = start(serve, kind)
    with connected(server) as connection:
        connection.request("GET", "/facts")
        assert "wsgi.url_scheme=https" in Answer(connection.getresponse()).text
        kept = connection.sock
        connection.request("POST", "/echo", upload)
        assert Answer(connection.getresponse()).body == upload
        connection.request("GET", "/big")
        assert Answer(connection.getresponse()).body == BIG
        assert connection.sock is kept
    assert server.log.count("ERROR") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_pipelined_requests_are_answered_in_order(serve, kind):
    server = start(serve, kind)
    bodies = [f"{number:05}".encode() for number in range(100)]
    request = b"POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"
    with raw_tls(server, "shop.example") as client:
        client.sendall(b"".join(request + body for body in bodies) + last)
        answers = read_to_end(client).split(b"\r\n\r\n")

    assert [answer[:5] for answer in answers[1:]] == [*bodies, b"hello"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_close_notify_precedes_the_end_of_a_connection(serve, kind):
    """A response without a length ends with its connection, which anybody on the way could cut."""
    server = start(serve, kind)
    with raw_tls(server, "shop.example") as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert read_to_end(client).endswith(b"\r\n\r\nhello")


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_does_not_read_delays_no_other(serve, kind):
    server = start(serve, kind, "--threads", "1")
    with raw_tls(server, "shop.example") as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        assert slow.recv(1000)
        assert [get(server).body for _ in range(5)] == [b"hello"] * 5
        assert read_to_end(slow).endswith(BIG[-1000:])


@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_incomplete_handshakes_delay_no_client(serve, kind):
    server = start(serve, kind, "--threads", "1")
    hello = client_hello()
    with contextlib.ExitStack() as silent:
        for number in range(200):
            client = silent.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall((b"", hello[:5], hello[:100], hello)[number % 4])
        assert get(server).body == b"hello"
        (worker,) = server.worker_pids()
        await_fact(lambda: len(descriptors_of(worker)) > 200, "all are connected")
        assert get(server).body == b"hello"
    await_fact(lambda: len(descriptors_of(worker)) < 50, "all are gone")
    assert server.log.count("ERROR") == server.log.count("WARNING") == 0


def client_hello() -> bytes:
    read, written = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = certificates().client_context().wrap_bio(read, written, server_hostname="shop.example")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return written.read()


@pytest.mark.parametrize("kind", KINDS)
def test_a_handshake_that_does_not_end_is_given_up(serve, kind):
    server = start(serve, kind, "--first-byte-timeout", "1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(client_hello()[:100])
        assert client.recv(100) == b""
    assert get(server).body == b"hello"


@pytest.mark.parametrize("kind", KINDS)
def test_plain_http_is_answered_with_what_to_do(serve, kind):
    server = start(serve, kind)

    answer = server.get("/")

    assert answer.status == 400
    assert "https" in answer.text
    assert get(server).body == b"hello"
    assert server.log.count("ERROR") == server.log.count("WARNING") == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("demand", ["optional", "required"])
def test_certificates_of_clients_are_checked(serve, kind, demand):
    made = certificates()
    server = start(serve, kind, "--cert-reqs", demand, "--ca-certs", made.authority)

    assert get(server, context=made.client_context(made.ann)).body == b"hello"
    with pytest.raises(OSError, match=r"."):
        get(server, context=made.client_context(made.stranger))
    if demand == "required":
        with pytest.raises(OSError, match=r"."):
            get(server)
    else:
        assert get(server).body == b"hello"
    assert server.log.count("ERROR") == server.log.count("WARNING") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_clients_below_the_lowest_version_are_refused(serve, kind):
    server = start(serve, kind, "--tls-version", "1.3")
    old = certificates().client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        get(server, context=old)
    assert get(server).body == b"hello"


# ── what an application is told ──


@pytest.mark.parametrize("kind", ["sync", "threads"])
def test_the_application_sees_tls_and_the_client(serve, kind):
    made = certificates()
    server = start(serve, kind, "--cert-reqs", "optional", "--ca-certs", made.authority)

    told = facts(server, made.client_context(made.ann))
    assert told["wsgi.url_scheme"] == "https"
    assert told["HTTPS"] == "on"
    assert told["SSL_PROTOCOL"] == "TLSv1.3"
    assert told["SSL_CLIENT_VERIFY"] == "SUCCESS"
    assert told["SSL_CLIENT_S_DN"] == "CN=Ann,O=Shop,C=DE"

    told = facts(server)
    assert told["SSL_CLIENT_VERIFY"] == "NONE"
    assert "SSL_CLIENT_S_DN" not in told


def test_tls_1_1_is_refused(serve):
    server = start(serve, "sync")
    where = ("-connect", f"127.0.0.1:{server.port}")
    old = ("openssl", "s_client", *where, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")

    done = subprocess.run(
        old, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60, check=False
    )

    assert "CONNECTED" in done.stdout
    assert "alert protocol version" in done.stderr


class Typist:
    """The openssl client, typed to: a line K asks for new keys, a line R for a new handshake."""

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
        return self._client.wait(PATIENCE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_may_request_new_keys(serve, kind):
    with Typist(start(serve, kind), "-tls1_3") as client:
        client.await_text("Verify return code: 0")
        for _ in range(3):
            client.type("K\n")
            client.await_text("KEYUPDATE")
        client.type("GET / HTTP/1.1\nHost: a.example\n\n")
        client.await_text("HTTP/1.1 200 OK")
        client.await_text("hello")


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_cannot_renegotiate(serve, kind):
    server = start(serve, kind)
    with Typist(server, "-tls1_2") as client:
        client.await_text("Verify return code: 0")
        client.type("R\n")
        client.await_text("RENEGOTIATING")
        client.await_text("no renegotiation")
        assert client.wait() != 0
    assert get(server).body == b"hello"


@pytest.mark.parametrize("kind", ["sync", "threads"])
def test_only_processes_that_serve_tls_have_it_in_memory(serve, kind):
    plain = serve("app:app", "-k", kind, files={"app.py": WSGI})
    secure = start(serve, kind)
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
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_without_the_right_password_fails_and_says_why(serve, kind, password, seen):
    shop = certificates().shop
    tls = ("--certfile", shop.certfile, "--keyfile", shop.locked_keyfile)
    files = {"app.py": ASGI if kind == "asgi" else WSGI}
    server = serve("app:app", "-k", kind, *tls, files=files, environ=password, wait=False)

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


def test_a_reload_renews_the_certificate(serve, tmp_path):
    server = serve_from(serve, tmp_path)
    with connected(server) as kept:
        kept.request("GET", "/")
        assert Answer(kept.getresponse()).body == b"hello"
        put(tmp_path, certificates().market)
        server.signal(signal.SIGHUP)
        server.await_ready(1, generation=2)
        await_fact(lambda: "market.example" in shown(server, "shop.example"), "the new one is shown")


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

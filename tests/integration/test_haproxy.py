"""HAProxy in front, with the very files of conf/: connections with a PROXY header, or requests."""

import http.client
import json
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.integration.load import small_load
from tests.integration.peers import (
    CLASSES,
    CLIENT,
    FORGED,
    NAME,
    UPLOAD,
    UPLOADED,
    Figures,
    Front,
    Port,
    Site,
    await_port,
    curl,
    fill,
    find_program,
    haproxy,
    make_certificates,
    mirror,
)
from tests.integration.server import TIMEOUT, await_fact

SENDS = "send-proxy-v2-ssl check check-send-proxy inter 5s"
CHECKS = "option httpchk\n    http-check send meth GET uri / ver HTTP/1.1 hdr Host shop.example\n"


@dataclass
class Balanced(Site):
    """appserve with HAProxy in front."""

    stats: Path

    def status(self) -> dict[str, str]:
        """What HAProxy knows about its connection to us."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT)
            client.connect(str(self.stats))
            client.sendall(b"show stat\n")
            text = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        names, *rows = (line.split(",") for line in text.lstrip("# ").splitlines() if line)
        (row,) = (row for row in rows if row[:2] == ["appserve", "one"])
        return dict(zip(names, row, strict=True))


@contextmanager
def site(
    folder: Path,
    worker_class: str,
    configuration: str,
    *flags: str,
    edits: Mapping[str, str] = MappingProxyType({}),
    ends_tls: bool = True,
    workers: int = 1,
    calm: bool = True,
) -> Iterator[Balanced]:
    """The mirror on workers of `worker_class`, and HAProxy with a file of conf/ in front of them.

    At the end the log has to be calm, if it is meant to.
    """
    find_program("haproxy")
    stats = folder / "stats.sock"
    with ExitStack() as stack:
        port, tls_port = stack.enter_context(Port()), stack.enter_context(Port())
        unwanted = "WARNING|ERROR|CRITICAL" if calm else ""
        settings = ("--bind", "127.0.0.1:0", "--workers", str(workers), *flags)
        server = stack.enter_context(
            mirror(folder, worker_class, *settings, workers=workers, unwanted=unwanted)
        )
        at_tls = f" ssl crt {make_certificates().shop.both}" if ends_tls else ""
        text = fill(
            configuration,
            {
                "bind :80\n": f"bind 127.0.0.1:{port}\n",
                "bind :443 ssl crt /etc/ssl/shop.pem\n": f"bind 127.0.0.1:{tls_port}{at_tls}\n",
                "server one 127.0.0.1:8000": f"server one 127.0.0.1:{server.port}",
                **edits,
            },
        )
        own = f"global\n    stats socket {stats}\n"
        process = stack.enter_context(haproxy(folder, own + text))
        await_port(process, tls_port)
        yield Balanced(server, Front(process, port, tls_port), stats)


INTERFACES = ("sync", "asgi")
"""Threads read the beginning of a connection with the code of sync."""


# ── connections, with a PROXY header ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_connection_belongs_to_its_client(tmp_path: Path, worker_class: str) -> None:
    """Address, port and scheme of the client, on each request of a connection; whatever its fields say."""
    with site(tmp_path, worker_class, "haproxy.cfg", "--proxy-protocol", "v2") as running:
        for secure in (False, True):
            connection = running.front.connect(secure=secure)
            for _ in range(3):
                connection.request("GET", "/whoami", headers=FORGED)
                seen = read_json(connection)
                assert (seen["client"], seen["port"]) == connection.sock.getsockname()
                assert (seen["scheme"], seen["root"]) == ("https" if secure else "http", "")
            connection.close()
            check_uploads(running.front, secure, tmp_path)
        await_fact(lambda: running.server.access_log.count(f"{CLIENT} - - [") >= 8, "the log has the client")


@pytest.mark.parametrize("worker_class", INTERFACES)
def test_tls_that_haproxy_passes_on_ends_in_appserve(tmp_path: Path, worker_class: str) -> None:
    shop = make_certificates().shop
    flags = ("--proxy-protocol", "v2", "--certfile", shop.certfile, "--keyfile", shop.keyfile)
    edits = {SENDS: SENDS.replace("inter", "check-ssl verify none inter")}
    with site(tmp_path, worker_class, "haproxy.cfg", *flags, edits=edits, ends_tls=False) as running:
        connection = running.front.connect(secure=True)
        connection.request("GET", "/whoami", headers=FORGED)
        seen = read_json(connection)
        assert (seen["client"], seen["port"]) == connection.sock.getsockname()
        assert seen["scheme"] == "https"
        connection.close()
        assert running.status()["status"] == "UP"
        await_fact(lambda: running.status()["check_status"] == "L7OK", "the check speaks TLS, too")


@pytest.mark.parametrize("worker_class", INTERFACES)
def test_a_header_of_version_1_is_understood(tmp_path: Path, worker_class: str) -> None:
    edits = {"send-proxy-v2-ssl": "send-proxy"}
    accepts = "auto" if worker_class == "sync" else "v1"
    with site(tmp_path, worker_class, "haproxy.cfg", "--proxy-protocol", accepts, edits=edits) as running:
        connection = running.front.connect()
        connection.request("GET", "/whoami", headers=FORGED)
        seen = read_json(connection)
        assert (seen["client"], seen["port"]) == connection.sock.getsockname()
        connection.close()
        await_fact(lambda: running.status()["check_status"] == "L7OK", "a check is served")


@pytest.mark.parametrize("worker_class", INTERFACES)
def test_a_health_check_belongs_to_haproxy(tmp_path: Path, worker_class: str) -> None:
    edits = {"inter 5s": "inter 100ms", "uri / ver": "uri /whoami ver"}
    with site(tmp_path, worker_class, "haproxy.cfg", "--proxy-protocol", "v2", edits=edits) as running:
        mark = running.server.mark()
        await_fact(lambda: running.server.access_log.count("\n") >= 5, "five checks are served")
        assert running.status()["check_status"].removeprefix("* ") == "L7OK"
        assert running.server.log[mark:] == ""
        lines = running.server.access_log.splitlines()
        assert {(line.split()[0], line.split('"')[1], line.split()[8]) for line in lines} == {
            ("127.0.0.1", "GET /whoami HTTP/1.1", "200")
        }


@pytest.mark.parametrize("worker_class", INTERFACES)
def test_a_health_check_that_only_connects_leaves_no_trace(tmp_path: Path, worker_class: str) -> None:
    edits = {CHECKS: "", "inter 5s": "inter 100ms"}
    with site(tmp_path, worker_class, "haproxy.cfg", "--proxy-protocol", "v2", edits=edits) as running:
        figures = Figures(running.server)
        mark = running.server.mark()
        await_fact(lambda: figures.accepted >= 8, "eight checks were accepted")
        # With an asterisk while the next check is under way.
        assert running.status()["check_status"].removeprefix("* ") == "L4OK"
        assert (running.server.log[mark:], running.server.access_log) == ("", "")
    assert figures.timeouts == 0


@pytest.mark.parametrize("worker_class", INTERFACES)
def test_a_client_that_bypasses_haproxy_is_not_served(tmp_path: Path, worker_class: str) -> None:
    """Without a PROXY header a connection has no origin; and only HAProxy may send one."""
    # A cause has one line a minute; at debug each refusal has its own.
    flags = ("--proxy-protocol", "v2", "--proxy-allow-from", "127.0.0.1", "--log-level", "debug")
    with site(tmp_path, worker_class, "haproxy.cfg", *flags, calm=False) as running:
        header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 6, 127, 0, 0, 1, 0, 80, 0, 80])
        request = f"GET /round HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode()
        for source, sent in (("127.0.0.1", request), (CLIENT, header + request)):

            def is_refused(source: str = source, sent: bytes = sent) -> bool:
                assert b"200 OK" not in answer_to(source, running.server.port, sent)
                return bool(running.server.find(f"(WARNING|DEBUG) +refused a connection from {source}: "))

            await_fact(is_refused, f"the log has the refusal of {source}")
        assert running.front.ask("GET", "/")[0] == 200
        assert "/round" not in running.server.access_log


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("worker_class", CLASSES)
def test_a_request_belongs_to_its_client(tmp_path: Path, worker_class: str) -> None:
    with site(tmp_path, worker_class, "haproxy-http.cfg") as running:
        for secure in (False, True):
            seen = running.front.json("GET", "/whoami", secure=secure, **FORGED)
            assert (seen["client"], seen["scheme"]) == (CLIENT, "https" if secure else "http")
            assert (seen["fields"]["host"], seen["root"]) == (NAME, "")
            unwanted = ("forwarded", "x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix")
            assert [name for name in unwanted if name in seen["fields"]] == []
            check_uploads(running.front, secure, tmp_path)
        await_fact(lambda: running.status()["check_status"] == "L7OK", "a check is served")


# ── both ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("worker_class", "file"),
    [("sync", "haproxy.cfg"), ("threads", "haproxy-http.cfg"), ("asgi", "haproxy.cfg")],
)
def test_a_reload_is_not_seen_through_haproxy(tmp_path: Path, worker_class: str, file: str) -> None:
    flags = ("--proxy-protocol", "v2") if file == "haproxy.cfg" else ()
    with site(tmp_path, worker_class, file, *flags, workers=2) as running:
        with small_load(running.front, clients=8, method="POST") as load:
            for generation in (2, 3):
                running.server.signal(signal.SIGHUP)
                running.server.await_line(f"generation {generation} serves with 2 workers")
        assert load.complaints == []
        assert running.status()["status"] == "UP"


def check_uploads(front: Front, secure: bool, folder: Path) -> None:
    """By a client that sends a body at once, and by curl, which asks first whether it may (Expect)."""
    (folder / "upload.bin").write_bytes(UPLOAD)
    url = f"{'https' if secure else 'http'}://{NAME}/raw"
    place = f"::127.0.0.1:{front.tls_port if secure else front.port}"
    trust = ("--cacert", make_certificates().authority, "--connect-to", place)
    for seen in (
        front.json("POST", "/raw", UPLOAD, secure=secure),
        json.loads(curl(*trust, "--upload-file", str(folder / "upload.bin"), url)),
    ):
        assert UPLOADED.items() <= seen.items()


def answer_to(source: str, port: int, sent: bytes) -> bytes:
    """What a client from `source` gets, until the server closes."""
    client = socket.create_connection(("127.0.0.1", port), TIMEOUT, (source, 0))
    with client, suppress(ConnectionError):
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))
    return b""


def read_json(connection: http.client.HTTPConnection) -> Any:
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text)
    return json.loads(text)

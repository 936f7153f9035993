"""The origin of a request, as applications see it: one table of cases for each kind of worker.

What the fields and headers of proxies mean is decided in http/forwarded.py, http/proxy_protocol.py and
connection/, and tested there; here a real worker of each kind answers over real sockets. The test is the
proxy, on 127.0.0.1. Threads and the second event loop share the code that reads the settings with the first
worker of their interface: there the two usual servers do.
"""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.served import PROJECT, WORKERS
from tests.conformance.wire import Response, read_response
from tests.http.proxy_headers import CALLED, CLIENT, LOCAL, UNKNOWN, block, line, tls, unix_block
from tests.integration.peers import make_certificates
from tests.integration.server import Server, await_fact, command

HOST = "Host: a.example"
FOR, HTTPS = "X-Forwarded-For: 6.6.6.6, 192.0.2.9", "X-Forwarded-Proto: https"
SERVER = f"{CALLED[0]}:{CALLED[1]}"
ALL = "x-forwarded-for,x-forwarded-proto,x-forwarded-host,x-forwarded-port,x-forwarded-prefix"

SERVERS = {
    "by default": (),
    "of no proxy": ("--forwarded-allow-ips=192.0.2.0/24",),
    "of any proxy": ("--forwarded-allow-ips=*",),
    "of host": ("--forwarded-headers=x-forwarded-host",),
    "of all fields": (f"--forwarded-headers={ALL}", "--root-path=/own"),
    "PROXY": ("--proxy-protocol=auto", "--forwarded-allow-ips=192.0.2.7,127.0.0.1"),
    "PROXY not allowed": ("--proxy-protocol=auto", "--proxy-allow-from=192.0.2.1"),
}
"""What the servers of this module trust."""

USUAL = {"by default", "PROXY"}
EVERY_SERVER = {"sync", "asgi on uvloop"}
"""Kinds of workers that are tried with every server; the others with the usual ones."""


@dataclass(frozen=True)
class OriginCase:
    """One connection: bytes before HTTP, the fields of a request, and what the application has to see.

    `seen` is a part of what it answers; {} when the connection has to end without an answer.
    """

    name: str
    server: str
    seen: dict[str, Any]
    fields: tuple[str, ...] = ()
    first: bytes = b""
    path: str = "/whoami"
    transport: str = "tcp"


HERE = {"client": "127.0.0.1", "scheme": "http"}
FROM = {"client": CLIENT[0], "port": CLIENT[1], "scheme": "http", "server": SERVER}

CASES = (
    OriginCase("no proxy", "by default", HERE),
    OriginCase("For and Proto", "by default", {"client": "192.0.2.9", "scheme": "https"}, (FOR, HTTPS)),
    OriginCase(
        "fields that were not chosen", "by default", {**HERE, "root": ""}, ("X-Forwarded-Prefix: /p",)
    ),
    OriginCase("a peer that is not trusted", "of no proxy", HERE, (FOR, HTTPS)),
    OriginCase("every peer trusted", "of any proxy", {"client": "6.6.6.6", "scheme": "https"}, (FOR, HTTPS)),
    OriginCase(
        "the one field that was chosen",
        "of host",
        {**HERE, "server": "shop.example:80"},
        (FOR, HTTPS, "X-Forwarded-Host: shop.example"),
    ),
    OriginCase(
        "a unix socket",
        "by default",
        {"client": "192.0.2.9", "scheme": "https"},
        (FOR, HTTPS),
        transport="unix",
    ),
    OriginCase("a unix socket that is not trusted", "of no proxy", {"client": ""}, (FOR,), transport="unix"),
    OriginCase("a root path", "of all fields", {"root": "/own", "path": "/whoami"}, path="/own/whoami"),
    OriginCase(
        "a prefix before the root path",
        "of all fields",
        {"root": "/p/own", "path": "/whoami"},
        ("X-Forwarded-Prefix: /p",),
        path="/own/whoami",
    ),
    OriginCase(
        "a port and a scheme",
        "of all fields",
        {"scheme": "https", "server": "a.example:8443"},
        (HTTPS, "X-Forwarded-Port: 8443"),
    ),
    OriginCase("a PROXY line", "PROXY", FROM, first=line()),
    OriginCase("a PROXY block", "PROXY", FROM, first=block()),
    OriginCase("TLS with the proxy", "PROXY", {**FROM, "scheme": "https"}, first=block(vectors=tls())),
    OriginCase("a unix client of the proxy", "PROXY", {"client": "", "scheme": "http"}, first=unix_block()),
    OriginCase("the proxy itself", "PROXY", HERE, (FOR,), first=LOCAL),
    OriginCase("an unknown client", "PROXY", HERE, (FOR,), first=UNKNOWN),
    OriginCase("a trusted client of the proxy", "PROXY", {"client": "192.0.2.9"}, (FOR,), first=line()),
    OriginCase(
        "another client of the proxy",
        "PROXY",
        {"client": "192.0.2.66"},
        (FOR,),
        first=line(("192.0.2.66", 1), CALLED),
    ),
    OriginCase("PROXY on a unix socket that is a proxy's", "PROXY", FROM, first=line(), transport="unix"),
    OriginCase("no PROXY header", "PROXY", {}),
    OriginCase("a PROXY header of no family", "PROXY", {}, first=b"PROXY TCP9"),
    OriginCase("TLS instead of a PROXY header", "PROXY", {}, first=b"\x16\x03\x01"),
    OriginCase("a peer that may not send one", "PROXY not allowed", {}, first=line()),
    OriginCase("PROXY and TLS", "PROXY", {**FROM, "scheme": "https"}, first=line(), transport="tls"),
    OriginCase("TLS", "by default", {"client": "127.0.0.1", "scheme": "https"}, transport="tls"),
    OriginCase(
        "a client without TLS of our proxy", "by default", HERE, ("X-Forwarded-Proto: http",), transport="tls"
    ),
)


@dataclass
class Servers:
    """Servers of one worker each, by kind of worker, name, and with TLS or not; started at first use."""

    folder: Path
    started: dict[tuple[str, str, bool], Server] = field(default_factory=dict)

    def get(self, worker: str, name: str, with_tls: bool) -> Server:
        key = (worker, name, with_tls)
        if key not in self.started:
            folder = self.folder / str(len(self.started))
            folder.mkdir()
            interface, *options = WORKERS[worker]
            options += [*SERVERS[name], "--workers=1", f"--app-dir={PROJECT}", "--bind=127.0.0.1:0"]
            if with_tls:
                pair = make_certificates().shop
                options += [f"--certfile={pair.certfile}", f"--keyfile={pair.keyfile}"]
            else:
                options.append(f"--bind=unix:{folder}/socket")
            self.started[key] = Server(command(f"tests.apps.mirror:{interface}", *options), folder, {})
        self.started[key].await_ready()
        return self.started[key]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("servers"))
    try:
        yield servers
        for server in servers.started.values():
            assert server.stop() == 0, server.log
            assert not re.search(r"\] (?:ERROR|CRITICAL) ", server.log), server.log
    finally:
        for server in servers.started.values():
            server.close()


@contextmanager
def connected(server: Server, case: OriginCase) -> Iterator[socket.socket]:
    """A client that has sent what comes before HTTP, and speaks TLS where it is spoken."""
    where: Any = str(server.folder / "socket") if case.transport == "unix" else ("127.0.0.1", server.port)
    client = socket.socket(socket.AF_UNIX if case.transport == "unix" else socket.AF_INET)
    client.settimeout(20)
    client.connect(where)
    if case.first:
        client.sendall(case.first)
    if case.transport == "tls":
        context = make_certificates().client_context()
        client = context.wrap_socket(client, server_hostname="shop.example")
    with client:
        yield client


def request(case: OriginCase) -> bytes:
    return "\r\n".join([f"GET {case.path} HTTP/1.1", HOST, *case.fields, "", ""]).encode()


def receive(client: socket.socket) -> Response | None:
    """A response, None if the connection ends without."""
    received = b""
    while (read := read_response(received, "GET")) is None:
        try:
            data = client.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            assert received == b""
            return None
        received += data
    return read[0]


TRIED = [
    pytest.param(worker, case, id=f"{worker}-{case.name}")
    for worker in WORKERS
    for case in CASES
    if worker in EVERY_SERVER or case.server in USUAL
]


@pytest.mark.parametrize(("worker", "case"), TRIED)
def test_an_application_sees_the_origin_of_a_request(servers: Servers, worker: str, case: OriginCase):
    server = servers.get(worker, case.server, case.transport == "tls")
    lines = server.access_log.count("\n")
    with connected(server, case) as client:
        answers = []
        for _ in range(2 if case.seen else 1):
            try:
                client.sendall(request(case))
            except OSError:
                assert not case.seen
            answers.append(receive(client))
    if not case.seen:
        assert answers == [None]
        server.await_line("refused a connection from 127.0.0.1: ")
        assert server.access_log.count("\n") == lines, "what is refused before HTTP is no request"
        return
    for answer in answers:
        assert answer is not None
        seen = json.loads(answer.body)
        assert {name: seen[name] for name in case.seen} == case.seen
    client_field = case.seen.get("client", "127.0.0.1") or "-"
    await_fact(lambda: server.access_log.count("\n") == lines + 2, "both are in the access log")
    logged = server.access_log.splitlines()[lines:]
    assert [text.split()[0] for text in logged] == [client_field] * 2


@pytest.mark.parametrize("worker", WORKERS)
def test_many_refusals_are_few_lines_of_the_log(servers: Servers, worker: str):
    server = servers.get(worker, "PROXY", False)
    before = server.log.count("refused a connection")
    for _ in range(20):
        with connected(server, OriginCase("", "PROXY", {}, first=b"nonsense")) as client:
            assert receive(client) is None
    # One a second, however long the twenty take.
    assert server.log.count("refused a connection") - before < 20

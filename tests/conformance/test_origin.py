"""From where a request comes, as applications see it: one table of cases for each kind of worker.

What proxies say is decided in http/forwarded.py, http/proxy_protocol.py and connection/, and tested there;
here a real worker of each kind is asked over real sockets. The test is the proxy, on 127.0.0.1.
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
TOLD = f"{CALLED[0]}:{CALLED[1]}"
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


@dataclass(frozen=True)
class Asked:
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
FROM = {"client": CLIENT[0], "port": CLIENT[1], "scheme": "http", "server": TOLD}

CASES = (
    Asked("no proxy", "by default", HERE),
    Asked("For and Proto", "by default", {"client": "192.0.2.9", "scheme": "https"}, (FOR, HTTPS)),
    Asked("fields that were not chosen", "by default", {**HERE, "root": ""}, ("X-Forwarded-Prefix: /p",)),
    Asked("a peer that is not trusted", "of no proxy", HERE, (FOR, HTTPS)),
    Asked("every peer trusted", "of any proxy", {"client": "6.6.6.6", "scheme": "https"}, (FOR, HTTPS)),
    Asked(
        "the one field that was chosen",
        "of host",
        {**HERE, "server": "shop.example:80"},
        (FOR, HTTPS, "X-Forwarded-Host: shop.example"),
    ),
    Asked(
        "a unix socket",
        "by default",
        {"client": "192.0.2.9", "scheme": "https"},
        (FOR, HTTPS),
        transport="unix",
    ),
    Asked("a unix socket that is not trusted", "of no proxy", {"client": ""}, (FOR,), transport="unix"),
    Asked("a root path", "of all fields", {"root": "/own", "path": "/whoami"}, path="/own/whoami"),
    Asked(
        "a prefix before the root path",
        "of all fields",
        {"root": "/p/own", "path": "/whoami"},
        ("X-Forwarded-Prefix: /p",),
        path="/own/whoami",
    ),
    Asked(
        "a port and a scheme",
        "of all fields",
        {"scheme": "https", "server": "a.example:8443"},
        (HTTPS, "X-Forwarded-Port: 8443"),
    ),
    Asked("a PROXY line", "PROXY", FROM, first=line()),
    Asked("a PROXY block", "PROXY", FROM, first=block()),
    Asked("TLS with the proxy", "PROXY", {**FROM, "scheme": "https"}, first=block(vectors=tls())),
    Asked("a unix client of the proxy", "PROXY", {"client": "", "scheme": "http"}, first=unix_block()),
    Asked("the proxy itself", "PROXY", HERE, (FOR,), first=LOCAL),
    Asked("an unknown client", "PROXY", HERE, (FOR,), first=UNKNOWN),
    Asked("a trusted client of the proxy", "PROXY", {"client": "192.0.2.9"}, (FOR,), first=line()),
    Asked(
        "another client of the proxy",
        "PROXY",
        {"client": "192.0.2.66"},
        (FOR,),
        first=line(("192.0.2.66", 1), CALLED),
    ),
    Asked("PROXY on a unix socket that is a proxy's", "PROXY", FROM, first=line(), transport="unix"),
    Asked("no PROXY header", "PROXY", {}),
    Asked("a PROXY header of no family", "PROXY", {}, first=b"PROXY TCP9"),
    Asked("TLS instead of a PROXY header", "PROXY", {}, first=b"\x16\x03\x01"),
    Asked("a peer that may not send one", "PROXY not allowed", {}, first=line()),
    Asked("PROXY and TLS", "PROXY", {**FROM, "scheme": "https"}, first=line(), transport="tls"),
    Asked("TLS", "by default", {"client": "127.0.0.1", "scheme": "https"}, transport="tls"),
    Asked(
        "a client without TLS of our proxy", "by default", HERE, ("X-Forwarded-Proto: http",), transport="tls"
    ),
)


@dataclass
class House:
    """Servers of one kind of worker, started when they are asked for."""

    worker: str
    folder: Path
    servers: dict[tuple[str, bool], Server] = field(default_factory=dict)

    def get(self, name: str, with_tls: bool) -> Server:
        key = (name, with_tls)
        if key not in self.servers:
            folder = self.folder / str(len(self.servers))
            folder.mkdir()
            interface, *options = WORKERS[self.worker]
            options += [*SERVERS[name], "--workers=1", f"--app-dir={PROJECT}", "--bind=127.0.0.1:0"]
            if with_tls:
                pair = make_certificates().shop
                options += [f"--certfile={pair.certfile}", f"--keyfile={pair.keyfile}"]
            else:
                options.append(f"--bind=unix:{folder}/socket")
            self.servers[key] = Server(command(f"tests.apps.mirror:{interface}", *options), folder, {})
        self.servers[key].await_ready()
        return self.servers[key]


@pytest.fixture(scope="module", params=WORKERS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    started = House(request.param, tmp_path_factory.mktemp("house"))
    try:
        yield started
        for server in started.servers.values():
            assert server.stop() == 0, server.log
            assert not re.search(r"\] (?:ERROR|CRITICAL) ", server.log), server.log
    finally:
        for server in started.servers.values():
            server.close()


@contextmanager
def connected(server: Server, case: Asked) -> Iterator[socket.socket]:
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


def request(case: Asked) -> bytes:
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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_application_sees_from_where_a_request_comes(house: House, case: Asked):
    server = house.get(case.server, case.transport == "tls")
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


def test_many_refusals_are_few_lines_of_the_log(house: House):
    server = house.get("PROXY", False)
    before = server.log.count("refused a connection")
    for _ in range(20):
        with connected(server, Asked("", "PROXY", {}, first=b"nonsense")) as client:
            assert receive(client) is None
    # One a second, however long the twenty take.
    assert server.log.count("refused a connection") - before < 20

"""Behind the real Nginx: what it forwards, appserve frames the same way.

Every case of the corpus, and some that are made up, is sent to Nginx, which passes on what it accepts to a
server of each kind, with bodies that it has buffered and with such as it has not. In between stands a tee,
so what was forwarded is known to the byte. The application writes down what it saw. Nginx gives each request
that it knows of an id of its own; one that the application sees without, or twice, has been smuggled.
"""

import asyncio
import json
import signal
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.case import head
from tests.conformance.corpus import REQUESTS
from tests.conformance.fuzz import make_examples
from tests.conformance.mutations import SOURCES
from tests.conformance.reference import Framed, read_requests
from tests.conformance.served import PROJECT, WORKERS
from tests.conformance.tee import Tee
from tests.integration.peers import Port, await_port, find_program, nginx
from tests.integration.server import TIMEOUT, Server, command
from tests.soak import rounds

pytestmark = [pytest.mark.integration, pytest.mark.timeout(rounds(120, 1200))]

KINDS = ("sync", "threads", "asgi on uvloop")
BUFFERING = ("on", "off")
INVENTED = ("fields that frame", "chunked bodies")

LAST = head("GET /last HTTP/1.1", "Host: a.example", "Connection: close")
"""Sent after each case, so that Nginx ends the connection when it has understood all of it."""

AT_ONCE = 400
"""Connections; most wait for a time-out of Nginx."""

LOG = '{"id": "$request_id", "line": "$request", "status": "$status", "upstream": "$upstream_status"}'

# Lenient wherever it can be: whatever Nginx lets through is ours to judge.
SITE = """
map $http_upgrade $connection_option {{ default upgrade; "" ""; }}
log_format forwarded escape=json '{log}';
client_header_timeout 500ms;
client_body_timeout 500ms;
keepalive_timeout 500ms;
client_max_body_size 0;
client_body_buffer_size 1m;
underscores_in_headers on;
ignore_invalid_headers off;
proxy_http_version 1.1;
proxy_next_upstream off;
proxy_set_header Connection $connection_option;
proxy_set_header Host $http_host;
proxy_set_header X-Nginx-Id $request_id;
proxy_set_header Upgrade $http_upgrade;
"""
UPSTREAM = "upstream server_{number} {{ server 127.0.0.1:{port}; keepalive 8; }}\n"
SERVER = """
server {{
    listen 127.0.0.1:{port};
    access_log {log} forwarded;
    location / {{ proxy_pass http://server_{number}; proxy_request_buffering {buffering}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of all cases on one kind of server.

    forwarded  Nginx's log: a line for each request that it knows of
    sent       what Nginx sent: the port of each connection, and all bytes
    seen       what the application saw
    """

    forwarded: list[dict[str, str]]
    sent: list[tuple[int, bytearray]]
    seen: list[dict[str, Any]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    find_program("nginx")
    folder = tmp_path_factory.mktemp("differential")
    with ExitStack() as stack:
        servers = {kind: _start(kind, folder, stack) for kind in KINDS}
        tees = {kind: stack.enter_context(Tee(server.port)) for kind, server in servers.items()}
        site, ports = SITE.format(log=LOG), []
        for number, kind in enumerate(KINDS):
            site += UPSTREAM.format(number=number, port=tees[kind].port)
            for buffering in BUFFERING:
                ports.append(stack.enter_context(Port()))
                log = folder / f"{number}.log"
                site += SERVER.format(port=ports[-1], log=log, number=number, buffering=buffering)
        with nginx(folder, site) as front:
            for port in ports:
                await_port(front, port)
            asyncio.run(_send_all(ports))
            front.signal(signal.SIGQUIT)
            assert front.wait() == 0
        for tee in tees.values():
            tee.finish()
        for server in servers.values():
            assert server.stop() == 0
            assert "Traceback" not in server.log
        return {
            kind: Run(
                _read_lines(folder / f"{number}.log"),
                tees[kind].sent,
                _read_lines(servers[kind].folder / "ledger"),
            )
            for number, kind in enumerate(KINDS)
        }


def _start(kind: str, folder: Path, stack: ExitStack) -> Server:
    place = folder / kind.replace(" ", "-")
    place.mkdir()
    interface, *options = WORKERS[kind]
    # The cases have X-Forwarded-For of their own, and the tee is to be known by its port.
    options += ["--bind=127.0.0.1:0", f"--app-dir={PROJECT}", "--forwarded-allow-ips=192.0.2.1"]
    application = f"tests.conformance.witness:{interface}"
    server = Server(command(application, *options), place, {"LEDGER": str(place / "ledger")})
    stack.callback(server.close)
    server.await_ready()
    return server


def _read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line.decode("latin-1")) for line in path.read_bytes().split(b"\n")[:-1]]


async def _send_all(ports: list[int]) -> None:
    turn = asyncio.Semaphore(AT_ONCE)

    async def send(port: int, data: bytes, ends: bool) -> None:
        async with turn:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                if ends:
                    writer.write_eof()
                await asyncio.wait_for(reader.read(), TIMEOUT)
            except OSError:  # Nginx has closed: reset, broken pipe, or no longer connected (shutdown(2))
                pass
            finally:
                writer.close()

    inputs = [(case.sent if case.eof else case.sent + LAST, case.eof) for case in REQUESTS]
    inputs += [
        (data + LAST, False)
        for name in INVENTED
        for data in make_examples(SOURCES[name], 0, rounds(60, 1000))
    ]
    await asyncio.gather(*(send(port, data, ends) for data, ends in inputs for port in ports))


every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_every_request_that_is_seen_was_forwarded_once(kind: str, runs: dict[str, Run]):
    run = runs[kind]
    forwarded = Counter(line["id"] for line in run.forwarded)
    seen = Counter(seen_id(entry) for entry in run.seen)

    assert len(forwarded) == len(run.forwarded)
    assert not seen - forwarded


@every_kind
def test_every_request_that_was_forwarded_and_not_refused_is_seen(kind: str, runs: dict[str, Run]):
    run = runs[kind]
    served = {line["id"] for line in run.forwarded if line["upstream"] == "200"}

    assert len(served) > 500
    assert served <= {seen_id(entry) for entry in run.seen}


@every_kind
def test_every_connection_is_framed_as_nginx_framed_it(kind: str, runs: dict[str, Run]):
    """What stands on a connection are the requests that were seen, in their order, and nothing between."""
    run = runs[kind]
    statuses = {line["id"]: line["upstream"] for line in run.forwarded}
    seen = {seen_id(entry): entry for entry in run.seen}
    when = {seen_id(entry): number for number, entry in enumerate(run.seen)}
    framed = 0

    for port, sent in run.sent:
        requests = [request for request in read_requests(bytes(sent)) if request.complete]
        taken = [request for request in requests if id_of(request) in seen]
        assert [reported(request, port) for request in taken] == [
            saw(seen[id_of(request)]) for request in taken
        ]
        assert [when[id_of(request)] for request in taken] == sorted(
            when[id_of(request)] for request in taken
        )
        # One that was refused ends the connection, so it is the last.
        assert taken in (requests, requests[:-1])
        assert all(statuses[id_of(request)] != "200" for request in requests[len(taken) :])
        framed += len(taken)
    assert framed == len(run.seen)


def id_of(request: Framed) -> str:
    (name,) = request.values(b"x-nginx-id")
    return name.decode()


def reported(request: Framed, port: int) -> dict[str, object]:
    """What the ledger is to say of a request that was sent from this port."""
    path, _, query = request.target.decode("latin-1").partition("?")
    return {
        "port": str(port),
        "method": request.method.decode(),
        "raw_path": path,
        "query": query,
        "body": request.body.decode("latin-1"),
    }


def saw(entry: dict[str, Any]) -> dict[str, object]:
    """As much of what the application saw."""
    return {name: entry[name] for name in ("port", "method", "raw_path", "query", "body")}


def seen_id(entry: dict[str, Any]) -> str:
    """The id that Nginx gave it, if it did."""
    return str(entry["fields"].get("x-nginx-id", ""))

"""Servers for the wire: one of every worker class that the tests ask for, on all its transports."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appserve.http.messages import Limits
from tests.conformance.case import DEFAULT, SMALL, get, seen_get
from tests.conformance.client import Client, ask
from tests.conformance.streams import Address
from tests.integration.peers import make_certificates
from tests.integration.server import Server, command

PROJECT = Path(__file__).parent.parent.parent

WORKERS = {
    "sync": ("wsgi", "--worker-class=sync"),
    "threads": ("wsgi", "--worker-class=threads", "--threads=4"),
    "asgi on uvloop": ("asgi", "--worker-class=asgi", "--loop=uvloop"),
    "asgi on asyncio": ("asgi", "--worker-class=asgi", "--loop=asyncio"),
}
"""What serves: the name of an application in its module, and the options that choose its worker."""

TRANSPORTS = ("tcp", "unix", "tls")

KINDS = tuple(
    (worker, transport)
    for transport in TRANSPORTS
    for worker in WORKERS
    if worker != "asgi on asyncio" or transport == "tcp"
)
"""The second event loop is tried on one transport: what differs between transports is not the loop's."""

LIMITS = {
    DEFAULT: (),
    SMALL: (
        f"--limit-request-line={SMALL.request_line}",
        f"--limit-request-fields={SMALL.fields}",
        f"--limit-request-field_size={SMALL.field_size}",
        f"--limit-request-body={SMALL.body}",
    ),
}


class Served:
    """One server of witness.py with one worker, and a connection to it that stays."""

    def __init__(self, worker: str, address: Address) -> None:
        self.worker = worker
        self.address = address
        self._control = Client(address)
        self._pid = self._control_pid()

    def check_serves(self) -> None:
        """Assert that the same worker still serves.

        It has one loop: an answer to this also means that it has looked at what was sent before, or, with
        threads, that a thread does.
        """
        assert self._control_pid() == self._pid, "the worker was replaced"

    def close(self) -> None:
        self._control.close()

    def _control_pid(self) -> str:
        response = ask(self._control, self.worker, seen_get(), get())
        found = re.search(rb'"pid": (\d+)', response.values(b"x-saw")[0])
        assert found is not None
        return found[1].decode()


class Servers:
    """One server for each worker class and limits, and TLS or not: started when it is first asked for.

    `module` has the applications.
    """

    def __init__(self, folder: Path, module: str) -> None:
        self._folder = folder
        self._module = module
        self._servers: dict[tuple[str, Limits, bool], Server] = {}
        self._served: dict[tuple[str, Limits, str], Served] = {}

    def address(self, worker: str, limits: Limits, transport: str) -> Address:
        """Where to find it."""
        server = self._start(worker, limits, transport == "tls")
        if transport == "unix":
            return Address(str(server.folder / "socket"))
        context = make_certificates().client_context() if transport == "tls" else None
        return Address(("127.0.0.1", server.port), context)

    def get(self, worker: str, limits: Limits, transport: str) -> Served:
        """It, with a connection that stays."""
        key = (worker, limits, transport)
        if key not in self._served:
            self._served[key] = Served(worker, self.address(*key))
        return self._served[key]

    def _start(self, worker: str, limits: Limits, with_tls: bool) -> Server:
        key = (worker, limits, with_tls)
        if key not in self._servers:
            folder = self._folder / str(len(self._servers))
            folder.mkdir()
            if with_tls:
                pair = make_certificates().shop
                where = (f"--certfile={pair.certfile}", f"--keyfile={pair.keyfile}")
            else:
                where = (f"--bind=unix:{folder}/socket",)
            interface, *options = WORKERS[worker]
            # A connection may wait for long until it is another case's turn.
            options += [*LIMITS[limits], "--workers=1", "--keep-alive=600", f"--app-dir={PROJECT}"]
            application = f"{self._module}:{interface}"
            self._servers[key] = Server(
                command(application, *options, "--bind=127.0.0.1:0", *where), folder, {}
            )
        self._servers[key].await_ready()
        return self._servers[key]

    def check(self, errors: bool) -> None:
        """Assert that all of them serve still, leave as they should, and have kept their logs clean.

        `errors`: applications have failed, as they should.
        """
        for served in self._served.values():
            served.check_serves()
            served.close()
        for server in self._servers.values():
            assert server.stop() == 0, server.log
            for log in (server.log, server.access_log):
                assert errors or "Traceback" not in log, log
                assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log), "a control character in a log"

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


@contextmanager
def servers(folder: Path, module: str, *, errors: bool = False) -> Iterator[Servers]:
    """Servers within `folder`, checked and gone at the end."""
    started = Servers(folder, f"tests.conformance.{module}")
    try:
        yield started
        started.check(errors)
    finally:
        started.close()

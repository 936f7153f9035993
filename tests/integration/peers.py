"""Programs that stand in front of appserve, run by a test with the very files of conf/.

    site = fill("nginx.conf", {"listen 80;": f"listen 127.0.0.1:{port};", …})
    with nginx(folder, site) as process: …

A program that is not installed skips its tests; with REQUIRE_PEERS=1 in the environment, as the
checks before a merge have it, they fail.
"""

import hashlib
import http.client
import json
import mmap
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appserve.master.worker_handle import ROWS
from appserve.observe.scoreboard import Scoreboard
from tests.certificates import Certificates, certificates
from tests.integration.server import TIMEOUT, Server, await_fact, command, descriptors_of

ROOT = Path(__file__).parent.parent.parent
CONF = ROOT / "conf"

NAME = "shop.example"
"""The name that the example configurations are for."""

CLIENT = "127.0.0.2"
"""Where clients come from: not from where a program in front is, which is trusted."""

CLASSES = ("sync", "threads", "asgi")

UPLOAD = random.Random(3).randbytes(3_000_000)
UPLOADED = {"length": len(UPLOAD), "sha256": hashlib.sha256(UPLOAD).hexdigest()}
"""What the mirror says of it."""

FORGED = {
    "Host": NAME,
    "X-Forwarded-For": "203.0.113.6",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "forged.example",
    "X-Forwarded-Port": "6",
    "X-Forwarded-Prefix": "/forged",
    "Forwarded": "for=203.0.113.6;host=forged.example",
    "X_Forwarded_For": "203.0.113.6",
}
"""What a client sends to forge its origin."""

NGINX = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    log_format seen '$status $request_method $uri upstream $upstream_status';
    access_log {folder}/nginx.access seen;
    client_body_temp_path {folder}/nginx.body;
    proxy_temp_path {folder}/nginx.proxy;
    fastcgi_temp_path {folder}/nginx.fastcgi;
    uwsgi_temp_path {folder}/nginx.uwsgi;
    scgi_temp_path {folder}/nginx.scgi;
    include {folder}/site.conf;
}}
"""


def find_program(name: str) -> str:
    """Where it is installed; a test that needs it is skipped, or fails where all peers are required."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(f"{name} is not installed, and REQUIRE_PEERS=1 demands it")
        pytest.skip(f"{name} is not installed")
    return found


class Port:
    """A port of 127.0.0.1 that no other process is given while a test runs.

    It is bound and does not listen: the program that gets its number can bind it as well, because both
    set SO_REUSEADDR.
    """

    def __enter__(self) -> int:
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        return int(self._holder.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._holder.close()


class Front:
    """What is in front of appserve, from without: a port for HTTP and one for HTTPS."""

    def __init__(self, process: Server, port: int, tls_port: int) -> None:
        self.process = process
        self.port = port
        self.tls_port = tls_port

    def connect(self, timeout: float = TIMEOUT, secure: bool = False) -> http.client.HTTPConnection:
        """A keep-alive connection from CLIENT, to be closed by the caller."""
        if secure:
            return SecureConnection(self.tls_port)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout, source_address=(CLIENT, 0))

    def ask(
        self, method: str, path: str, body: Any = None, secure: bool = False, **fields: str
    ) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own."""
        connection = self.connect(secure=secure)
        try:
            chunked = fields.get("Transfer-Encoding") == "chunked"
            connection.request(method, path, body, {"Host": NAME, **fields}, encode_chunked=chunked)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        status, text = self.ask(method, path, body, **options)
        assert status == 200, (status, text)
        return json.loads(text)


@dataclass
class Site:
    """appserve with a program in front."""

    server: Server
    front: Front


class SecureConnection(http.client.HTTPSConnection):
    """HTTPS to 127.0.0.1 that asks for the name of the examples, and checks the certificate for it."""

    def __init__(self, port: int) -> None:
        self._trust = make_certificates().client_context()
        super().__init__(NAME, port, timeout=TIMEOUT, context=self._trust)

    def connect(self) -> None:
        client = socket.create_connection(("127.0.0.1", self.port), TIMEOUT, (CLIENT, 0))
        self.sock = self._trust.wrap_socket(client, server_hostname=NAME)


def fill(name: str, replacements: Mapping[str, str]) -> str:
    """The text of a file of conf/ with other addresses and paths; each has to be there to be replaced."""
    text = (CONF / name).read_text()
    for old, new in replacements.items():
        assert text.count(old) == 1, f"conf/{name} has {old!r} {text.count(old)} times"
        text = text.replace(old, new)
    return text


@contextmanager
def mirror(
    folder: Path, worker_class: str, *flags: str, workers: int = 1, unwanted: str = "WARNING|ERROR|CRITICAL"
) -> Iterator[Server]:
    """tests/apps/mirror.py on workers of this class. It has to end well, and without log lines of
    the `unwanted` levels."""
    application = f"tests.apps.mirror:{'asgi' if worker_class == 'asgi' else 'wsgi'}"
    server = Server(
        command(application, "--chdir", str(ROOT), "--worker-class", worker_class, *flags), folder, {}
    )
    try:
        server.await_ready(workers)
        server.await_line("listening on")
        yield server
        assert server.stop() == 0, server.log
        assert not (unwanted and re.search(rf"\] (?:{unwanted}) ", server.log)), server.log
    finally:
        server.close()


@contextmanager
def nginx(folder: Path, site: str) -> Iterator[Server]:
    """Nginx with `site` as one of its sites, everything that it writes within `folder`."""
    program = find_program("nginx")
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""  # else it cannot read our folder
    (folder / "site.conf").write_text(site)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, user=user))
    command = [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    _run(*command, "-t")
    with _running(command, folder, "nginx") as server:
        yield server


@contextmanager
def haproxy(folder: Path, configuration: str) -> Iterator[Server]:
    program = find_program("haproxy")
    (folder / "haproxy.cfg").write_text(configuration)
    command = [program, "-db", "-f", str(folder / "haproxy.cfg")]
    _run(*command, "-c")
    with _running(command, folder, "haproxy") as server:
        yield server


@contextmanager
def _running(command: list[str], folder: Path, stem: str) -> Iterator[Server]:
    server = Server(command, folder, {}, stem)
    try:
        yield server
    finally:
        server.close()


def await_port(process: Server, port: int) -> None:
    def is_open() -> bool:
        assert process.process.poll() is None, process.log
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
        except OSError:
            return False
        return True

    await_fact(is_open, f"something listens on port {port}")


def curl(*arguments: str) -> str:
    """What curl writes; an HTTP status from 400 is an error, and so is silence."""
    return _run(find_program("curl"), "--silent", "--show-error", "--fail", "--max-time", "30", *arguments)


def _run(*command: str) -> str:
    finished = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def make_certificates() -> Certificates:
    """Those of tests/certificates.py, if there is a program to make them."""
    find_program("openssl")
    return certificates()


class Figures:
    """What a server counts, also after its end: the memory is mapped as long as this lives."""

    def __init__(self, server: Server) -> None:
        for fd, file in descriptors_of(server.pid).items():
            if file.startswith("/memfd:appserve-scoreboard"):
                with open(f"/proc/{server.pid}/fd/{fd}", "rb") as memory:
                    self.board = Scoreboard(mmap.mmap(memory.fileno(), 0, prot=mmap.PROT_READ), ROWS)

    @property
    def accepted(self) -> int:
        """Connections, as far as workers have published: all of them once the server has ended."""
        return self.board.totals().accepted

    @property
    def timeouts(self) -> int:
        return self.board.totals().timeouts

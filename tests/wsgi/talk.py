"""A client and a WsgiConnection at the two ends of a socket pair, in one thread that plays the loop."""

import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from appserve.connection.preamble import PreambleRules
from appserve.connection.service import Service
from appserve.http.date import DateFields
from appserve.http.forwarded import Forwarding
from appserve.http.messages import Limits
from appserve.http.timeouts import Timeouts
from appserve.observe.access import AccessLog
from appserve.observe.counters import Counters
from appserve.observe.log import Level, Log
from appserve.observe.refusals import Refusals
from appserve.observe.scoreboard import Scoreboard, size_for
from appserve.wsgi.connection import AGAIN, CLOSE, READ, WRITE, Next, WsgiConnection
from appserve.wsgi.environ import CgiFields, ServerFacts, make_template
from appserve.wsgi.service import KeepAlive, WsgiService
from appserve.wsgi.spool import Quota
from tests.conformance.wire import Response, read_response

TIMEOUT = 10.0
"""Seconds that only a failure waits."""

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

SMALL_BUFFER = 4096
"""Asked of the kernel, so that a response soon has to wait for its reader."""


class Record:
    """A file without a name that a log writes into."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("record")

    @property
    def text(self) -> str:
        return os.pread(self.fd, 1 << 20, 0).decode()

    def close(self) -> None:
        os.close(self.fd)


class Talk:
    """One connection. `needed` is what it asked for last; at CLOSE it is closed, as the loop would do."""

    def __init__(
        self,
        application: Application,
        *,
        limits: Limits | None = None,
        quota: Quota | None = None,
        small: bool = False,
        stall: float = 0.0,
        peer: object = ("192.0.2.1", 5555),
        preamble: PreambleRules | None = None,
        forwarding: Forwarding | None = None,
        root_path: str = "",
        level: Level = Level.INFO,
    ) -> None:
        self.log, self.access = Record(), Record()
        self._access_log = AccessLog(self.access.fd)
        self.row = Scoreboard(bytearray(size_for(1)), 1).row(0)
        self.counters = Counters(self.row)
        self.quota = quota or Quota(1 << 30)
        shared = Service(
            application=application,
            limits=limits or Limits(),
            fields=CgiFields(),
            date_fields=DateFields(time.time()),
            timeouts=Timeouts(30, 75, 30, 60, 0, stall),
            log=Log(self.log.fd, level),
            access=self._access_log,
            counters=self.counters,
            refusals=Refusals(Log(self.log.fd, Level.INFO), self.row),
            forwarding=forwarding,
            preamble=preamble,
        )
        self.service = WsgiService(
            shared,
            template=make_template(ServerFacts(multithread=False, multiprocess=False, root_path=root_path)),
            quota=self.quota,
            keep_alive=KeepAlive(),
        )
        self.client, server = socket.socketpair()
        server.setblocking(False)
        self.client.settimeout(TIMEOUT)
        if small:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self.connection = WsgiConnection(self.service, server, peer, server.getsockname())
        self.needed: Next = READ
        self._received = b""
        self._ended = False

    def close(self) -> None:
        self.client.close()
        self._act(CLOSE)
        self.log.close()
        self.access.close()

    # ── the loop ──

    def turn(self) -> Next:
        """Let the connection do all that can be done at once; gives what it waits for."""
        while True:
            if self.needed is AGAIN:
                self._act(self.connection.proceed())
            elif self.needed is READ and self._is_ready(select.POLLIN):
                self._act(self.connection.on_readable())
            elif self.needed is WRITE and self._is_ready(select.POLLOUT):
                self._act(self.connection.on_writable())
            else:
                self._access_log.flush()
                return self.needed

    def _act(self, needed: Next) -> None:
        if needed is CLOSE and self.needed is not CLOSE:
            self.connection.close()
        self.needed = needed

    def _is_ready(self, event: int) -> bool:
        poll = select.poll()
        poll.register(self.connection.socket, event)
        return bool(poll.poll(0))

    def expire(self) -> Next:
        """The loop has found that the connection waits for too long."""
        self._act(self.connection.expire())
        return self.turn()

    # ── the client ──

    def send(self, data: bytes) -> Next:
        self.client.sendall(data)
        return self.turn()

    def push(self, data: bytes) -> Next:
        """As `send`, of more than fits into the kernel at once; it goes on as long as it is read."""
        self.client.setblocking(False)
        while data:
            try:
                data = data[self.client.send(data) :]
            except BlockingIOError:
                break
            if self.turn() is not READ:
                break
        self.client.settimeout(TIMEOUT)
        return self.needed

    def end(self) -> Next:
        """The client ends its side."""
        self.client.shutdown(socket.SHUT_WR)
        return self.turn()

    def leave(self) -> Next:
        """The client goes away."""
        self.client.close()
        return self.turn()

    def receive(self) -> bytes:
        """All that there is to read now, in both of our memories."""
        self.client.setblocking(False)
        try:
            while True:
                self.turn()
                data = self.client.recv(1 << 16)
                self._received += data
                if not data:
                    self._ended = True
                    break
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self._ended = True
        self.client.settimeout(TIMEOUT)
        received, self._received = self._received, b""
        return received

    def responses(self, *methods: str, version: str = "1.1") -> list[Response]:
        """The answers to requests of these methods, and nothing besides."""
        data = self.receive()
        found = []
        for method in methods:
            read = read_response(data, method, version, ended=self._ended)
            assert read is not None, f"incomplete: {data!r}"
            response, data = read
            found.append(response)
        assert data == b"", f"surplus: {data!r}"
        return found

    def ask(self, request: bytes = b"", method: str = "GET") -> Response:
        """The answer to one request."""
        self.send(request or head(f"{method} / HTTP/1.1", "Host: a.example"))
        (response,) = self.responses(method)
        return response

    @property
    def has_ended(self) -> bool:
        """Whether the client has seen the end of the connection."""
        return self._ended


def head(*lines: str) -> bytes:
    return "".join(line + "\r\n" for line in (*lines, "")).encode("latin-1")


GET = head("GET / HTTP/1.1", "Host: a.example")


def post(body: bytes, *fields: str) -> bytes:
    return head("POST / HTTP/1.1", "Host: a.example", f"Content-Length: {len(body)}", *fields) + body


def chunked(*pieces: bytes) -> bytes:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return head("POST / HTTP/1.1", "Host: a.example", "Transfer-Encoding: chunked") + coded + b"0\r\n\r\n"


def hello(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]


def echo(environ: Environ, start_response: Any) -> list[bytes]:
    """Sends the request's body back."""
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [environ["wsgi.input"].read()]


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))

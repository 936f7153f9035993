"""What is recorded of each request, whichever loop has served it: counters, duration, access log line.

    first byte read ── head complete ── application ── last byte of the response taken by the kernel
    └──────────────────────────────── duration ───────────────────────────────┘

The duration is the same in the access log and in the histogram of the scoreboard. Each request is recorded
once, however it ended: answered, refused, cut short, left by its client (499).
"""

import time
from typing import Any

from appserve.http.http1 import Http1Connection
from appserve.http.messages import READING_BODY, RequestLine
from appserve.observe.access import AccessLog
from appserve.observe.counters import CLIENT_LEFT, Counters


class RequestRecord:
    """The requests of one connection, one after the other. Times are monotonic ns.

    counts    where they are counted: of the thread that has the connection
    access    None without an access log
    client    the address that the current request comes from, "" for that of a unix socket
    referer, agent   those fields of the current request as latin-1, "" where there is none
    began     when the first byte of the current request was read
    read_at   when anything was read last
    """

    __slots__ = ("_next_began", "access", "agent", "began", "client", "counts", "read_at", "referer")

    def __init__(self, counts: Counters, access: AccessLog | None, client: str) -> None:
        self.counts = counts
        self.access = access
        self.client = client
        self.referer = ""
        self.agent = ""
        # Something is refused before a byte of it was read: what is no TLS, for one.
        self.began = self.read_at = self._next_began = time.monotonic_ns()

    def received(self, size: int, http: Http1Connection[Any, Any]) -> int:
        """So many bytes were read; `http` has not got them yet."""
        # hot: bench sync-hello, asgi-hello.
        self.counts.bytes_in += size
        self.read_at = now = time.monotonic_ns()
        if not http.unread or http.reading is READING_BODY:
            self._next_began = now
        return now

    def begin(self) -> None:
        """The head of a request is complete."""
        self.began = self._next_began
        self._next_began = self.read_at  # what comes behind it was read last

    def begin_refused(self, client: str) -> None:
        """A head that has no request in it is about to be refused."""
        self.begin()
        self.client = client
        self.referer = self.agent = ""

    def end(self, line: RequestLine | str | bytes, status: int, sent: int, now: int) -> None:
        """The request has ended, at `now`.

        line     its line, or what there was of it when its head was refused
        status   of the response; CLIENT_LEFT when the client left before it had all of it
        sent     bytes of the response's body
        """
        # hot: bench sync-hello, asgi-hello.
        counts = self.counts
        nanoseconds = now - self.began
        counts.requests += 1
        counts.latency[(nanoseconds // 1000).bit_length()] += 1
        if status == CLIENT_LEFT:
            counts.aborted += 1
        else:
            counts.responses[status // 100] += 1
        if self.access is not None:
            if isinstance(line, RequestLine):
                if line.raw_path in self.access.excluded and status < 400:
                    return
                line = f"{line.method} {line.target.decode('latin-1')} {line.protocol}"
            self.access.record(self.client, line, status, sent, nanoseconds / 1e9, self.referer, self.agent)

"""One HTTP connection speaking with one WSGI application: bytes of a socket in, calls out, responses back.

It never waits for its client. Asked when the socket can be read or written, it does what can be done at
once and answers what it needs next; the loop that owns it (workers/sync_loop.py) does the waiting. Only the
application takes time.
"""

import io
import math
import socket
import time
from collections.abc import Callable
from enum import Enum
from socket import SocketType
from typing import Final

from appserve.connection.eviction import Evictable
from appserve.connection.origin import endpoints_of
from appserve.connection.preamble import Preamble
from appserve.connection.waiting import FRESH, lingering_wait
from appserve.errors import Cause, ClientDisconnected, Rejected
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CLOSED, END, NEED_DATA, READING_BODY, RequestHead
from appserve.http.policy import PLAIN_ON_TLS
from appserve.http.timeouts import WaitFor, WaitTimer
from appserve.net.address import SocketAddress
from appserve.net.kernel_queues import count_untaken, reset_on_close, silent_for
from appserve.observe.counters import Counters
from appserve.wsgi.outbox import Outbox
from appserve.wsgi.preamble_socket import PreambleSocket
from appserve.wsgi.runner import RequestRunner
from appserve.wsgi.service import WsgiService

READ_SIZE = 65536
"""Bytes taken from a socket at once; it bounds what one client can make this process hold unread."""

PIPELINED = 16
"""Brief requests that one connection gets answered in a row before the others have their turn."""


class Next(Enum):
    """What a connection needs next."""

    READ = "to be called when its socket can be read"
    WRITE = "to be called when its socket can be written"
    AGAIN = "to be called again: more requests wait in its memory"
    CLOSE = "to be closed"


# hot: see messages.END.
READ: Final = Next.READ
WRITE: Final = Next.WRITE
AGAIN: Final = Next.AGAIN
CLOSE: Final = Next.CLOSE


class WsgiConnection:
    """One client. Every method that handles an event returns what is needed next.

    watched  what its executor has the poller watch for; None before the first time
    out      for an executor that lends it to threads (workers/pool.py)
    rests    see connection/waiting.py, as for every look at it
    """

    __slots__ = (
        "_has_ended",
        "_http",
        "_outbox",
        "_recv",
        "_runner",
        "_service",
        "_swallowed",
        "_waited",
        "_watch",
        "_wrapped",
        "fd",
        "out",
        "rests",
        "socket",
        "watched",
    )

    out: list[None]

    def __init__(
        self, service: WsgiService, client: SocketType, peer: SocketAddress, local: SocketAddress
    ) -> None:
        """Raises OSError if the client has left, or may not connect."""
        shared = service.shared
        rules = shared.preamble
        has_tls = rules is not None and rules.make_session is not None
        endpoints = endpoints_of(peer, local, has_tls)
        self._service = service
        self.socket: SocketType | PreambleSocket = client
        self.fd = client.fileno()
        self._recv: Callable[[int], bytes] = client.recv
        self._wrapped: PreambleSocket | None = None  # while something comes before HTTP, and with TLS
        if rules is not None:
            try:
                rules.check_peer(endpoints.host)
            except Rejected as rejected:
                shared.refusals.add(endpoints.host, rejected.reason)
                raise ConnectionAbortedError(rejected.reason) from None
            self.socket = self._wrapped = PreambleSocket(client, Preamble(rules, endpoints))
            self._recv = self._receive_first
        self._http = Http1Connection(shared.limits, shared.fields, shared.date_fields)
        self._outbox = Outbox(self.socket, service.quota, shared.timeouts.write, shared.counters)
        self._runner = RequestRunner(service, endpoints, self._http, self._outbox)
        self._has_ended = False  # the client's end was read behind its last bytes, which no poll announces
        self._waited = silent_for(client) if has_tls else 0  # for the handshake, before it began (ns)
        self._watch = WaitTimer()
        self._swallowed = -1  # bytes read and dropped since it lingers
        self.watched: Next | None = None
        self.rests = False

    @property
    def peer(self) -> str:
        """The client's address, "" for that of a unix socket."""
        return self._runner.peer

    def served_by(self, counts: Counters) -> None:
        """The thread that counts here has the connection from now on."""
        self._outbox.counters = self._runner.record.counts = counts

    # ── events ──

    def on_readable(self) -> Next:
        """The socket has bytes, or its end."""
        # hot: bench real. What _take_in does for a connection without a preamble that goes on.
        if self._wrapped is not None or self._swallowed >= 0:
            needed = self._take_in()
            return self.proceed() if needed is AGAIN else needed
        if self.rests:
            self._service.waiting.wake(self)
        try:
            data = self._recv(READ_SIZE)
        except BlockingIOError:
            return READ
        except OSError:
            return self._lost()
        if not data:
            self._http.receive_eof()
        return self.proceed(data)

    def _take_in(self) -> Next:
        """Receive, and look at nothing of it yet: AGAIN when there is something to go on with."""
        if self.rests:
            self._service.waiting.wake(self)
        try:
            data = self._recv(READ_SIZE)
        except BlockingIOError:
            return READ if self._wrapped is None or not self._wrapped.wants_write else WRITE
        except OSError as error:
            return self._lost() if self._wrapped is None else self._without_tls(self._wrapped, error)
        if self._swallowed >= 0:
            self._swallowed += len(data)
            self._runner.record.counts.bytes_in += len(data)
            return READ if data else CLOSE
        if data:
            self._runner.record.received(len(data), self._http)
            self._http.receive_data(data)
            if self._wrapped is not None and self._wrapped.has_ended:
                self._has_ended = True
                self._http.receive_eof()
        else:
            self._http.receive_eof()
        return AGAIN

    def _receive_first(self, size: int) -> bytes:
        """Stands in for the socket's recv until the first bytes of HTTP are there: the preamble is over."""
        wrapped = self._wrapped
        assert wrapped is not None
        try:
            data = wrapped.recv(size)
        except Rejected as rejected:
            self._service.shared.refusals.add(self.peer, rejected.reason)
            raise ConnectionAbortedError(rejected.reason) from None
        self._runner.set_endpoints(wrapped.preamble.endpoints, wrapped.facts())
        self._recv = wrapped.recv
        return data

    def note_arrival(self, now: int, limit: int, reads: bool) -> None:
        """It is this connection's turn soon: the request that comes next is late if it waits for `limit` ns.

        One that is read now has come in before, while the application was running, or before the
        connection was accepted. One that was here already has waited for its client to take a response.
        """
        waited = silent_for(self.socket) if reads else 0
        if not self._http.cycle:
            waited += self._waited
        self._runner.late_at = now + limit - waited

    def on_writable(self) -> Next:
        """The client has taken something of what waits."""
        needed = self.relieve()
        return self.proceed() if needed is AGAIN else needed

    def relieve(self) -> Next:
        """As on_writable, but what comes next is left for later (AGAIN). So the application is not called."""
        if self.rests:
            self._service.waiting.wake(self)
        if self._wrapped is not None and self._wrapped.wants_write:
            return self._take_in()
        outbox = self._outbox
        try:
            if not outbox.flush():
                return WRITE
        except ClientDisconnected:
            return CLOSE
        if outbox.missing:
            self._runner.on_shrunk(outbox.missing)
        self._runner.on_sent()
        return self._after_response() or AGAIN

    def proceed(self, data: bytes = b"") -> Next:
        """Go on with what has been received before, and with `data`, which was received now."""
        # hot: bench sync-hello. One turn for a request without a body.
        if self.rests:
            self._service.waiting.wake(self)
        http, runner = self._http, self._runner
        now = answered = 0
        if data:
            now = runner.record.received(len(data), http)
            http.receive_data(data)
        while answered < PIPELINED:
            try:
                event = http.next_event()
                if type(event) is RequestHead:
                    runner.record.begin()
                    body = http.take_body() if event.rules.body_length else b""
                    if body is None:
                        runner.await_body(event)
                        continue
                    runner.serve(event, io.BytesIO(body), now or time.monotonic_ns())
                elif event is NEED_DATA:
                    return READ
                elif type(event) is bytes:
                    if runner.body is not None:
                        runner.body.append(event)
                    continue
                elif event is END and runner.head is not None and runner.body is not None:
                    runner.serve(runner.head, runner.body.open(), time.monotonic_ns())
                elif event is CLOSED:
                    return CLOSE
            except Rejected as rejected:
                return self._reject(rejected)
            except ClientDisconnected:
                return self._lost()
            # hot: bench sync-hello. What _after_response does, for a response that was taken at once.
            if self._outbox.pending or not http.start_next_cycle():
                return self._after_response() or AGAIN
            if not http.unread and not self._has_ended:
                return READ
            if runner.took_long:
                break
            answered += 1
            now = 0
        runner.took_long = False
        return AGAIN

    # ── the end of a response, of a connection ──

    def _after_response(self) -> Next | None:
        """What is needed when a response has been written, None if it is the next request."""
        if self._outbox.pending:
            return WRITE
        if self._http.start_next_cycle():
            return None if self._http.buffered or self._has_ended else READ
        return self._end()

    def _end(self) -> Next:
        """Close, but not while the client may be sending: the kernel would answer its bytes with a reset, and
        the client lose the response (RFC 9112 §9.6)."""
        if self._outbox.is_lost or self._runner.resets:
            return CLOSE
        if self._wrapped is not None and not self._wrapped.notify():
            self._outbox.pending = True  # the close_notify, which there is no room for yet
            return WRITE
        if not self._http.may_send_more:
            return CLOSE
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return CLOSE
        self._swallowed = 0
        return READ

    def _reject(self, rejected: Rejected) -> Next:
        self._runner.refuse(rejected)
        if self._outbox.is_lost:
            return CLOSE
        return WRITE if self._outbox.pending else self._end()

    def _lost(self) -> Next:
        """The client is gone. Inside a request that is recorded; close() records a response that is cut."""
        self._runner.client_left()
        return CLOSE

    def _without_tls(self, wrapped: PreambleSocket, error: OSError) -> Next:
        """The client is gone, or there is no TLS with it, or no more."""
        session = wrapped.preamble.session
        if self.lingers:
            return CLOSE
        if session is None:
            return self._lost()
        self._service.shared.log.debug(
            f"TLS with {wrapped.preamble.peer} failed: {error.strerror or type(error).__name__}"
        )
        if session.speaks_plain:
            return self._refuse_plain(wrapped)
        self._lost()
        try:
            wrapped.shutdown(socket.SHUT_WR)
        except OSError:
            return CLOSE
        self._swallowed = 0  # it lingers, so that the alert which says why is not lost
        return READ

    def _refuse_plain(self, wrapped: PreambleSocket) -> Next:
        """The client speaks HTTP without TLS: a user left out the s, most likely, so the answer says it."""
        wrapped.turn_raw()
        self._wrapped = None
        self._recv = wrapped.recv
        self._runner.set_endpoints(wrapped.preamble.endpoints, {})
        rejected = Rejected(400, PLAIN_ON_TLS, Cause.PLAIN_HTTP)
        self._http.refuse(rejected)
        return self._reject(rejected)

    # ── the worker's sweep ──

    def is_expired(self, now: float) -> bool:
        """Whether the client has been awaited for too long. `now` is monotonic seconds of attention."""
        waiting, mark = self._awaited()
        return self._watch.expired(waiting, mark, now, self._service.shared.timeouts)

    def due(self, now: float) -> float:
        """The earliest time at which it may be overdue, if nothing happens before."""
        return self._watch.due(now, self._service.shared.timeouts)

    def _awaited(self) -> tuple[WaitFor, int]:
        """What is waited for, and a number that changes with progress."""
        http = self._http
        if self.lingers:
            untaken = count_untaken(self.socket.fileno())
            return lingering_wait(self._outbox.taken, untaken, self._swallowed)
        if self._outbox.pending:
            return WaitFor.READER, self._outbox.reached
        if http.reading is READING_BODY:
            return WaitFor.BODY, (http.cycle << 48) + http.body_received
        if not http.is_idle:
            return WaitFor.HEAD, http.cycle
        return (WaitFor.IDLE if http.cycle else WaitFor.FIRST), http.cycle

    def expire(self) -> Next:
        """End the wait that has become too long: 408 where a request had begun, else close without an answer.

        The application is not called: AGAIN when what was waited for has come in.
        """
        if self.lingers:
            # Closed alone, it would stay with the kernel for minutes when the client takes nothing.
            self._runner.resets = self._awaited()[0] is WaitFor.READER
            self._runner.record.counts.timeouts += self._runner.resets
            return CLOSE
        if not self._outbox.pending:
            waiting, _ = self._awaited()
            needed = self._take_in()
            if needed is AGAIN and waiting is WaitFor.HEAD and self._http.lacks_head:
                needed = self.proceed()  # which calls no application without a head
            if self._swallowed >= 0:
                return needed
            if needed not in (READ, WRITE):
                # It came while the application had the thread, so the client was not late.
                return needed
        self._runner.record.counts.timeouts += 1
        if self._outbox.pending or self._http.is_idle:
            return CLOSE
        rejected = self._watch.rejection(self._service.shared.timeouts)
        self._http.refuse(rejected)
        return self._reject(rejected)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request or a response is under way."""
        return self._http.is_idle and not self._outbox.pending

    def can_go(self, now: int) -> bool:
        """Whether it is idle (`now` is monotonic ns), and no new client that had no time to ask."""
        return self.is_idle and (self._http.cycle > 0 or now - self._runner.since > FRESH * 1e9)

    def evictable(self, now: int) -> tuple[Evictable, float] | None:
        """If it may be closed to make room for others (`now` is monotonic ns): what it is, and since when.
        See `can_go` for those that may not."""
        http = self._http
        if self.is_idle:
            return (Evictable.IDLE, self._runner.since) if self.can_go(now) else None
        if self._outbox.pending or not http.lacks_head:
            return None
        is_seen = self._watch.has_seen(WaitFor.HEAD, http.cycle)
        return Evictable.HEAD, self._watch.since if is_seen else math.inf

    def make_room(self) -> Next:
        """Close for others, unless what it waits for has come in (AGAIN)."""
        was_idle = self.is_idle
        if self._take_in() is AGAIN and (was_idle or not self._http.lacks_head):
            return AGAIN
        return CLOSE

    @property
    def lingers(self) -> bool:
        """Whether it is over, and reads on so that its last response is not lost to a reset."""
        return self._swallowed >= 0

    def close_after_response(self) -> None:
        """Let the next response be the last."""
        self._http.response.close_after_response()

    def close_idle(self) -> Next:
        """Close an idle connection, unless a request has come in that was not read yet (AGAIN)."""
        needed = self._take_in()
        return CLOSE if needed is not AGAIN and self.is_idle else needed

    def cut(self) -> Next:
        """The worker's time is up: a request that has come in, or of which the rest is missing, is answered
        503. The application is not called."""
        if self.lingers or self._outbox.pending:
            return CLOSE
        self._runner.late_at = 0
        self._http.response.close_after_response()
        needed = self._take_in()
        if needed is not CLOSE and not self.lingers:
            needed = self.proceed()
        if self._runner.head is None:
            return needed
        rejected = Rejected(503, "the server is stopping")
        self._http.refuse(rejected)
        return self._reject(rejected)

    def close(self) -> None:
        """Give everything back. A response that is cut by it is reset, so that the client can tell."""
        self.release()
        self.socket.close()

    def release(self) -> None:
        """Give back what is held besides the socket, which has to be closed next."""
        if self.rests:
            self._service.waiting.forget(self)
        if self._outbox.pending or self._outbox.is_lost or self._runner.resets:
            try:
                reset_on_close(self.socket)
            except OSError:
                pass  # gone already
        elif self._wrapped is not None:
            self._wrapped.notify()
        self._runner.on_sent()
        self._outbox.discard()
        self._runner.forget_body()

    def disown(self) -> None:
        """Runs in a process that the application forked: the client is the worker's alone."""
        self.socket.close()
        self._outbox.disown()
        self._http.response.close_after_response()

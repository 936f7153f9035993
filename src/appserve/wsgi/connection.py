"""One HTTP connection speaking with one WSGI application: bytes of a socket in, calls out, responses back.

It never waits for its client. Asked when the socket can be read or written, it does what can be done at
once and answers what it needs next; the loop that owns it (workers/wsgi.py) does the waiting. Only the
application takes time.
"""

import io
import os
import socket
import struct
import time
from enum import Enum
from typing import BinaryIO

from appserve import forked
from appserve.errors import ClientDisconnected, Rejected
from appserve.http.deadlines import Waiting, Watch
from appserve.http.http1 import Connection
from appserve.http.messages import CHUNKED, CLOSED, END, NEED_DATA, Reading, RequestHead, Writing
from appserve.observe.access import AccessLog
from appserve.observe.log import Level
from appserve.observe.tally import CLIENT_LEFT
from appserve.tracebacks import application_traceback
from appserve.wsgi.body import RequestBody
from appserve.wsgi.environ import CgiVariable, add_addresses, make_environ
from appserve.wsgi.outbox import Outbox
from appserve.wsgi.response import Response
from appserve.wsgi.service import Service

READ_SIZE = 65536
"""Bytes taken from a socket at once; it bounds what one client can make this process hold unread."""

PIPELINED = 16
"""Requests that one connection gets answered in a row before the others have their turn."""

LINGER = 2.0
"""Seconds that a connection which ends early goes on reading, so that its last response is not lost."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""The SO_LINGER that turns a close into a reset, and drops what the kernel has not sent yet."""

READING_BODY, WRITING_HEAD, WRITING_DONE = Reading.BODY, Writing.HEAD, Writing.DONE  # hot: see messages.END.


class Next(Enum):
    """What a connection needs next."""

    READ = "to be called when its socket can be read"
    WRITE = "to be called when its socket can be written"
    AGAIN = "to be called again: more requests wait in its memory"
    CLOSE = "to be closed"


READ, WRITE, AGAIN, CLOSE = Next.READ, Next.WRITE, Next.AGAIN, Next.CLOSE  # hot: see messages.END.


class WsgiConnection:
    """One client. Every method that handles an event returns what is needed next."""

    __slots__ = (
        "_body",
        "_head",
        "_http",
        "_lingers_since",
        "_outbox",
        "_peer",
        "_recv",
        "_resets",
        "_service",
        "_since",
        "_template",
        "_watch",
        "fd",
        "socket",
    )

    def __init__(self, service: Service, client: socket.socket, peer: object) -> None:
        self.socket = client
        self.fd = client.fileno()
        self._recv = client.recv
        self._service = service
        self._template = add_addresses(service.template, client.getsockname(), peer)
        self._peer: str = self._template["REMOTE_ADDR"]
        self._http = Connection(service.limits, service.fields, service.stamp)
        self._outbox = Outbox(client, service.quota, service.patience.write)
        self._watch = Watch()
        self._head: RequestHead[CgiVariable] | None = None  # while its body comes in
        self._body: RequestBody | None = None
        self._since = 0  # when the request's head was complete, monotonic nanoseconds
        self._lingers_since = 0.0
        self._resets = False  # a response was cut short, and only a reset can tell the client

    # ── events ──

    def on_readable(self) -> Next:
        """The socket has bytes, or its end."""
        try:
            data = self._recv(READ_SIZE)
        except BlockingIOError:
            return READ
        except OSError:
            return self._lost()
        if self._lingers_since:
            return READ if data else CLOSE
        if data:
            self._http.receive_data(data)
        else:
            self._http.receive_eof()
        return self.proceed()

    def on_writable(self) -> Next:
        """The client has taken something of what waits."""
        try:
            if not self._outbox.flush():
                return WRITE
        except ClientDisconnected:
            return CLOSE
        return self._after_response() or self.proceed()

    def proceed(self) -> Next:
        """Go on with what has been received."""
        # hot: bench sync-hello. One turn for a request without a body.
        http = self._http
        answered = 0
        while answered < PIPELINED:
            try:
                event = http.next_event()
                if type(event) is RequestHead:
                    self._since = time.monotonic_ns()
                    if event.rules.body_length:
                        self._await_body(event)
                        continue
                    self._serve(event, io.BytesIO())
                elif event is NEED_DATA:
                    return READ
                elif type(event) is bytes:
                    if self._body is not None:
                        self._body.append(event)
                    continue
                elif event is END and self._head is not None and self._body is not None:
                    self._serve(self._head, self._body.open())
                elif event is CLOSED:
                    return CLOSE
            except Rejected as rejected:
                return self._reject(rejected)
            except ClientDisconnected:
                return self._lost()
            # hot: bench sync-hello. What _after_response does, for a response that was taken at once.
            if self._outbox.pending or not http.start_next_cycle():
                return self._after_response() or AGAIN
            if not http.unread:
                return READ
            answered += 1
        return AGAIN

    # ── one request ──

    def _await_body(self, head: RequestHead[CgiVariable]) -> None:
        self._head = head
        self._body = RequestBody(self._service.quota)
        if head.expects_continue and not self._http.unread:
            # The application is called with the whole body, so the body is asked for here (PEP 3333
            # "HTTP 1.1 Expect/Continue", first way).
            self._outbox.write(self._http.send_informational(100))

    def _serve(self, head: RequestHead[CgiVariable], body: BinaryIO) -> None:
        service = self._service
        http = self._http
        tally = service.tally
        tally.begin(head.line.label, self._since if self._head is None else time.monotonic_ns())
        environ = make_environ(self._template, head, body)
        access = service.access
        if access is not None:
            referer, agent = environ.get("HTTP_REFERER", ""), environ.get("HTTP_USER_AGENT", "")
        if self._body is not None and head.body_length == CHUNKED:
            # Some applications read nothing without it; it is the decoded length (RFC 3875 §4.1.2).
            environ["CONTENT_LENGTH"] = str(self._body.size)
        response = Response(http, self._outbox)
        try:
            response.finish(service.application(environ, response.start_response))
            status = response.code
            if http.short:
                self._report_short(head, http.short)
        except BaseException as error:
            status = self._fail(head, response, error)
        if self._body is not None:
            self._forget_body()
        now = time.monotonic_ns()
        tally.end(status, now)
        if access is not None:
            self._record(access, head, status, now, referer, agent)

    def _fail(self, head: RequestHead[CgiVariable], response: Response, error: BaseException) -> int:
        """The application raised, or broke a rule; the status that the request ends with."""
        service = self._service
        http = self._http
        if os.getpid() != service.pid:
            forked.leave(error)
        if self._outbox.is_lost:
            http.abandon_response()
            return CLIENT_LEFT
        service.tally.app_errors += 1
        service.log.block(
            Level.ERROR,
            f"application error in {_name(head)}: it raised {type(error).__name__}",
            application_traceback(error),
        )
        if http.writing is WRITING_HEAD:
            return self._apologise()
        if http.writing is not WRITING_DONE:  # else it failed in its close(), after the response
            self._resets = http.ends_by_close
            http.abandon_response()
        return response.code

    def _apologise(self) -> int:
        """Answer in the application's stead."""
        http = self._http
        answer = http.respond(
            500, [("Content-Type", "text/plain; charset=utf-8")], b"Internal Server Error\n"
        )
        try:
            self._outbox.write(answer)
        except ClientDisconnected:
            http.abandon_response()
            return CLIENT_LEFT
        return 500

    def _report_short(self, head: RequestHead[CgiVariable], missing: int) -> None:
        self._service.tally.app_errors += 1
        self._service.log.error(
            f"application error in {_name(head)}: the body ended {missing} bytes short of its "
            "Content-Length; the connection was closed, so that the client can tell"
        )

    def _forget_body(self) -> None:
        if self._body is not None:
            self._body.discard()
        self._head = self._body = None

    # ── the end of a response, of a connection ──

    def _after_response(self) -> Next | None:
        """What is needed when a response has been written, None if it is the next request."""
        if self._outbox.pending:
            return WRITE
        if self._http.start_next_cycle():
            return None if self._http.buffered else READ
        return self._end()

    def _end(self) -> Next:
        """Close, but not while the client may be sending: the kernel would answer its bytes with a reset, and
        the client lose the response (RFC 9112 §9.6)."""
        if self._outbox.is_lost or self._resets or not self._http.may_send_more:
            return CLOSE
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return CLOSE
        self._lingers_since = time.monotonic()
        return READ

    def _reject(self, rejected: Rejected) -> Next:
        service = self._service
        http = self._http
        status = rejected.status
        service.tally.count(status)
        service.log.debug(f"refused a request of {self._peer or 'a local client'}: {rejected}")
        answer = http.reject(status, rejected.reason)
        if self._head is not None:
            self._record_unserved(self._head, status)
        elif service.access is not None:
            service.access.record(self._peer, http.refused, status, http.body_sent, 0.0, "", "")
        self._forget_body()
        try:
            self._outbox.write(answer)
        except ClientDisconnected:
            return CLOSE
        return WRITE if self._outbox.pending else self._end()

    def _lost(self) -> Next:
        """The client is gone. Inside a request that is recorded; a response was recorded when it was made."""
        if self._head is not None:
            self._service.tally.count(CLIENT_LEFT)
            self._record_unserved(self._head, CLIENT_LEFT)
        return CLOSE

    def _record_unserved(self, head: RequestHead[CgiVariable], status: int) -> None:
        """A request whose body did not come as it should, so that the application was not called."""
        access = self._service.access
        if access is not None:
            fields = dict(head.fields)
            referer, agent = fields.get("HTTP_REFERER", ""), fields.get("HTTP_USER_AGENT", "")
            self._record(access, head, status, time.monotonic_ns(), referer, agent)

    def _record(
        self,
        access: AccessLog,
        head: RequestHead[CgiVariable],
        status: int,
        now: int,
        referer: str,
        agent: str,
    ) -> None:
        line = head.line
        request_line = f"{line.method} {line.target.decode('latin-1')} {line.protocol}"
        seconds = (now - self._since) / 1e9
        access.record(self._peer, request_line, status, self._http.body_sent, seconds, referer, agent)

    # ── the worker's sweep ──

    def is_overdue(self, now: float) -> bool:
        """Whether the client has kept us waiting for too long. `now` is monotonic seconds of attention."""
        if self._lingers_since:
            return time.monotonic() - self._lingers_since > LINGER
        waiting, mark = self._awaited()
        return self._watch.overdue(waiting, mark, now, self._service.patience)

    def _awaited(self) -> tuple[Waiting, int]:
        """What is waited for, and a number that changes with progress."""
        http = self._http
        if self._outbox.pending:
            return Waiting.READER, self._outbox.taken
        if http.reading is READING_BODY:
            return Waiting.BODY, http.body_received
        return (Waiting.IDLE if http.is_idle else Waiting.HEAD), http.cycle

    def expire(self) -> Next:
        """End the wait that has become too long: 408 where a request had begun, else without a word."""
        if self._lingers_since:
            return CLOSE
        if not self._outbox.pending:
            awaited = self._awaited()
            needed = self.on_readable()
            if needed is not READ or self._lingers_since or awaited != self._awaited():
                # It came while the application had the thread, so it was not the client who was late.
                return needed
        self._service.tally.timeouts += 1
        if self._outbox.pending or self._http.is_idle:
            return CLOSE
        rejected = Rejected(408, "the request did not arrive in time (RFC 9110 §15.5.9)")
        self._http.refuse(rejected)
        return self._reject(rejected)

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request or a response is under way."""
        return self._http.is_idle and not self._outbox.pending

    @property
    def lingers(self) -> bool:
        """Whether it is over, and only waits for the client to see that."""
        return self._lingers_since > 0

    def close_after_response(self) -> None:
        """Let the next response be the last."""
        self._http.close_after_response()

    def take_leave(self) -> Next:
        """Close an idle connection, unless a request has come in that nobody has seen."""
        needed = self.on_readable()
        return CLOSE if needed is READ and self.is_idle else needed

    def close(self) -> None:
        """Give everything back. A response that is cut by it is reset, so that the client can tell."""
        if self._outbox.pending or self._outbox.is_lost or self._resets:
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            except OSError:
                pass  # gone already
        self._outbox.discard()
        self._forget_body()
        self.socket.close()

    def disown(self) -> None:
        """Runs in a process that the application forked: the client is the worker's alone."""
        self.socket.close()
        self._http.close_after_response()


def _name(head: RequestHead[CgiVariable]) -> str:
    return head.line.label.decode("latin-1")

"""Runs bytes through the connection alone, in any pieces: answers every request, and records everything."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from appserve.asgi.scope import AsgiFields, Field, Headers
from appserve.errors import Rejected
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Event, Limits, RequestHead
from tests.conformance.case import CLOSES, ENDS, OPEN, WAITS, Case, Request, Then
from tests.conformance.wire import Malformed, read_response

Head = RequestHead[Headers]

DATE_FIELDS = DateFields(1_000_000_000)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the connection reported it. `cut`: its END never came."""

    method: str
    target: bytes
    version: str
    raw_path: bytes
    path: str
    query: bytes
    fields: tuple[Field, ...]
    length: int
    expects_continue: bool
    upgrade: bytes
    keep_alive: bool
    body: bytes
    cut: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that came of some bytes, and nothing of how they were split."""

    requests: tuple[Seen, ...]
    then: Then | int
    written: bytes
    refused: bytes = field(default=b"", compare=False)
    """The first line of a head that was refused, as far as it had come; for logs, so splits may show."""


@dataclass(slots=True)
class Driver:
    """A worker without sockets: pulls events, and answers each request with a fixed 200.

    early: answers when the head is there, and reads the body afterwards.
    """

    connection: Http1Connection[Headers, Field]
    early: bool = False
    seen: list[Seen] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    head: Head | None = None
    body: bytes = b""
    then: Then | int | None = None

    def pull(self) -> None:
        """Follow the connection until it wants bytes or is over."""
        connection = self.connection
        while self.then is None:
            try:
                event = connection.next_event()
            except Rejected as rejected:
                self._refused(rejected)
                return
            if isinstance(event, RequestHead):
                assert self.head is None, "a head inside a request"
                self.head = event
                self.body = b""
                if self.early:
                    self._answer()
            elif isinstance(event, bytes):
                assert event, "an empty piece of a body"
                self.body += event
            elif event is Event.END:
                self._end()
            elif event is Event.CLOSED:
                self.then = ENDS
            else:
                assert event is Event.NEED_DATA, event
                return

    def finish(self) -> Outcome:
        """What came of it; call it when no more bytes will come."""
        then = self.then
        if then is None:
            then = OPEN if self.head is None and self.connection.is_idle else WAITS
        if self.head is not None:
            self._see(cut=True)
        return Outcome(tuple(self.seen), then, b"".join(self.written), self.connection.refused)

    def _answer(self) -> None:
        self.written.append(self.connection.response.respond(200, [(b"content-type", b"text/plain")], b"ok"))

    def _end(self) -> None:
        connection = self.connection
        assert connection.next_event() is Event.PAUSED, "a request goes on after its END"
        self._see(cut=False)
        if not self.early:
            self._answer()
        if connection.keeps_alive:
            connection.start_next_cycle()
        else:
            self.then = CLOSES

    def _refused(self, rejected: Rejected) -> None:
        connection = self.connection
        self.then = rejected.status
        assert rejected.reason
        connection.receive_data(b"GET /after-the-fault HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            again: object = connection.next_event()
        except Rejected as same:
            again = same
        assert again is rejected, "a refusal is final"
        self.written.append(connection.response.reject(rejected.status, rejected.reason))
        assert not connection.keeps_alive

    def _see(self, *, cut: bool) -> None:
        head = self.head
        assert head is not None
        line = head.line
        self.seen.append(
            Seen(
                line.method,
                line.target,
                line.version,
                line.raw_path,
                line.path,
                line.query,
                tuple(head.fields),
                head.body_length,
                head.expects_continue,
                head.upgrade,
                head.keep_alive,
                self.body,
                cut,
            )
        )
        self.head = None


def make_connection(
    limits: Limits, fields: Fields[Field, Field] | None = None
) -> Http1Connection[Field, Field]:
    """The connection under test; `fields` has what was remembered of lines."""
    return Http1Connection(limits, fields or AsgiFields(), DATE_FIELDS)


def run(
    pieces: Iterable[bytes],
    eof: bool,
    limits: Limits,
    fields: Fields[Field, Field] | None = None,
    early: bool = False,
) -> Outcome:
    """What comes of these pieces, pulled after each. `early`: each is answered before its body is read."""
    driver = Driver(make_connection(limits, fields), early)
    for piece in filter(None, pieces):
        driver.connection.receive_data(piece)
        driver.pull()
    if eof:
        driver.connection.receive_eof()
        driver.pull()
    return driver.finish()


def run_at_once(sent: bytes, eof: bool, limits: Limits) -> Outcome:
    """What comes of bytes that are all in, and the end too, before the first is looked at."""
    driver = Driver(make_connection(limits))
    if sent:
        driver.connection.receive_data(sent)
    if eof:
        driver.connection.receive_eof()
    driver.pull()
    return driver.finish()


def check(case: Case, outcome: Outcome) -> None:
    """Assert that this is what the case asks for, and that what was written is well-formed."""
    summary = [f"{seen.method} {seen.target!r}{' (cut)' if seen.cut else ''}" for seen in outcome.requests]
    assert (len(case.requests), case.then) == (len(outcome.requests), outcome.then), summary
    for expected, seen in zip(case.requests, outcome.requests, strict=True):
        check_request(expected, seen)
    check_written(outcome)


def check_request(expected: Request, seen: Seen) -> None:
    """Assert that the connection reported this request, in full."""
    assert (expected.method, expected.target.encode("latin-1"), expected.version) == (
        seen.method,
        seen.target,
        seen.version,
    )
    assert expected.expected_raw_path.encode("latin-1") == seen.raw_path
    assert expected.expected_path == seen.path
    assert expected.expected_query.encode("latin-1") == seen.query
    assert (expected.length, expected.body, expected.cut) == (seen.length, seen.body, seen.cut)
    assert (expected.expects_continue, expected.upgrade) == (seen.expects_continue, seen.upgrade)
    for name, value in expected.fields:
        values = [seen_value for seen_name, seen_value in seen.fields if seen_name == name.encode("latin-1")]
        joined = (b"; " if name == "cookie" else b",").join(values) if values else None
        assert (name, value) == (name, joined)


def check_written(outcome: Outcome) -> None:
    """Assert that a strict client reads one 200 for every complete request, and one answer to a fault."""
    written = outcome.written
    complete = [seen for seen in outcome.requests if not seen.cut]
    for number, seen in enumerate(complete, 1):
        response, written = _next_response(written, seen.method, seen.version)
        last = number == len(complete) and outcome.then is CLOSES
        assert (200, last) == (response.status, response.closes)
    if isinstance(outcome.then, int):
        cut = [seen for seen in outcome.requests if seen.cut]
        method, version = "GET", "1.1"
        if cut:
            method, version = cut[0].method, cut[0].version
        elif outcome.refused.startswith(b"HEAD "):
            method = "HEAD"  # as the client sees it, whatever else is wrong with its request
        response, written = _next_response(written, method, version)
        assert (outcome.then, True) == (response.status, response.closes)
    assert written == b""


def _next_response(written: bytes, method: str, version: str):  # type: ignore[no-untyped-def]  # see read_response
    read = read_response(written, method, version, ended=True)
    if read is None:
        raise Malformed(f"an incomplete response: {written!r}")
    return read

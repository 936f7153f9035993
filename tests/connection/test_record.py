"""How a request is recorded: when it began, and what the log and the counters have of it."""

import os
from collections.abc import Iterator

import pytest

from appserve.connection import record as module
from appserve.connection.record import RequestRecord
from appserve.http.date import DateFields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import END, NEED_DATA, Limits, RequestHead
from appserve.http.request_line import read_request_line
from appserve.observe.access import AccessLog
from appserve.observe.counters import CLIENT_LEFT, Counters, publish
from appserve.observe.scoreboard import LATENCY_BUCKETS, Scoreboard, size_for
from appserve.wsgi.environ import CgiFields, CgiVariables, Header
from tests.observe.latency import latency_bucket

pytestmark = pytest.mark.pure  # the clock is replaced

SECOND = 10**9
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Clock:
    """A clock that a test sets; seconds."""

    def __init__(self) -> None:
        self.now = 1000

    def monotonic_ns(self) -> int:
        return self.now * SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(module, "time", one)
    return one


class Client:
    """A connection that is read, with the record of its requests."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.http: Http1Connection[CgiVariables, Header] = Http1Connection(
            Limits(), CgiFields(), DateFields(0.0)
        )
        self.counts = Counters()
        self.record = RequestRecord(self.counts, None, "192.0.2.7")

    def send(self, data: bytes, at: int) -> None:
        self.clock.now = at
        self.record.received(len(data), self.http)
        self.http.receive_data(data)

    def read_head(self) -> int:
        """Read the next head; gives when its request began, in seconds."""
        event = self.http.next_event()
        assert type(event) is RequestHead, event
        self.record.begin()
        return self.record.began // SECOND

    def read_body(self) -> None:
        while (event := self.http.next_event()) is not NEED_DATA and event is not END:
            assert type(event) is bytes

    def answer(self) -> None:
        self.http.response.respond(200, [], b"")
        assert self.http.start_next_cycle()


@pytest.fixture
def client(clock: Clock) -> Client:
    return Client(clock)


# ── when a request began ──


def test_a_request_begins_with_the_first_byte_of_its_head(client: Client):
    client.send(GET[:1], at=1001)
    assert client.http.next_event() is NEED_DATA
    client.send(GET[1:10], at=1002)
    assert client.http.next_event() is NEED_DATA
    client.send(GET[10:], at=1005)

    assert client.read_head() == 1001
    client.answer()
    client.send(GET, at=1009)
    assert client.read_head() == 1009, "the time between two requests is no request's"


def test_requests_that_came_together_began_together(client: Client):
    client.send(GET * 2, at=1001)
    assert client.read_head() == 1001
    client.clock.now = 1004
    client.answer()

    assert client.read_head() == 1001, "the second has waited for the first"


def test_what_comes_behind_a_head_in_parts_began_with_the_last_part(client: Client):
    client.send(GET[:5], at=1001)
    assert client.http.next_event() is NEED_DATA
    client.send(GET[5:] + GET, at=1003)
    assert client.read_head() == 1001
    client.answer()

    assert client.read_head() == 1003


@pytest.mark.parametrize("framing", [b"Content-Length: 3\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
def test_a_body_does_not_change_when_its_request_began(client: Client, framing: bytes):
    chunked = b"chunked" in framing
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing, at=1001)
    assert client.read_head() == 1001
    client.send(b"3\r\na" if chunked else b"a", at=1003)
    client.read_body()
    client.send((b"bc\r\n0\r\n\r\n" if chunked else b"bc") + GET, at=1006)
    client.read_body()

    assert client.record.began // SECOND == 1001
    client.answer()
    assert client.read_head() == 1006


def test_what_is_sent_while_a_request_is_answered_begins_when_it_comes(client: Client):
    client.send(GET, at=1001)
    assert client.read_head() == 1001
    client.send(GET[:3], at=1004)
    client.send(GET[3:], at=1007)
    client.answer()

    assert client.read_head() == 1004


def test_all_bytes_are_counted(client: Client):
    client.send(GET[:7], at=1001)
    client.send(GET[7:], at=1002)

    assert client.counts.bytes_in == len(GET)


# ── what is recorded ──


@pytest.mark.parametrize("status", [100, 200, 204, 302, 404, 500, 503, 600, 999])
def test_every_status_has_its_class(client: Client, status: int):
    client.record.end(b"GET / HTTP/1.1", status, 0, client.record.began)

    responses = [0] * 10
    responses[status // 100] = 1
    assert (client.counts.responses, client.counts.requests, client.counts.aborted) == (responses, 1, 0)


def test_a_client_that_left_got_no_response(client: Client):
    client.record.end(b"GET / HTTP/1.1", CLIENT_LEFT, 0, client.record.began)

    assert (sum(client.counts.responses), client.counts.requests, client.counts.aborted) == (0, 1, 1)


@pytest.mark.parametrize("microseconds", [0, 1, 2, 3, 1000, 10**6, 3600 * 10**6, 10**13])
def test_durations_are_counted_where_the_scoreboard_has_them(client: Client, microseconds: int):
    client.record.end(b"", 200, 0, client.record.began + microseconds * 1000)
    row = Scoreboard(bytearray(size_for(1)), 1).row(0)
    publish(row, (client.counts,), 1, 0, 0)

    expected = [0] * LATENCY_BUCKETS
    expected[latency_bucket(microseconds / 1e6)] = 1
    assert row.totals().latency == tuple(expected)


@pytest.fixture
def lines(client: Client) -> Iterator[int]:
    reader, writer = os.pipe()
    client.record.access = AccessLog(writer, clock=lambda: 0.0)
    yield reader
    os.close(reader)
    os.close(writer)


def read_lines(client: Client, reader: int) -> str:
    assert client.record.access is not None
    client.record.access.flush()
    return os.read(reader, 10_000).decode()


def test_the_line_has_the_duration_of_the_histogram(client: Client, lines: int):
    client.send(GET, at=1001)
    client.read_head()
    head = client.record
    head.referer, head.agent = "http://b/", "curl/8"
    head.end(b"GET / HTTP/1.1", 200, 5, 1001 * SECOND + 250_000)

    expected = '"GET / HTTP/1.1" 200 5 "http://b/" "curl/8" 0.000250\n'
    assert read_lines(client, lines) == f"192.0.2.7 - - [01/Jan/1970:00:00:00 +0000] {expected}"
    assert client.counts.latency[latency_bucket(0.00025)] == 1


def test_a_refused_head_has_nothing_of_the_request_before_it(client: Client, lines: int):
    client.record.referer, client.record.agent, client.record.client = "http://b/", "curl/8", "203.0.113.9"
    client.send(b"nonsense\r\n\r\n", at=1005)
    client.clock.now = 1007
    client.record.begin_refused("192.0.2.7")
    client.record.end(b"nonsense", 400, 20, client.clock.monotonic_ns())

    expected = '192.0.2.7 - - [01/Jan/1970:00:00:00 +0000] "nonsense" 400 20 "-" "-" 2.000000\n'
    assert read_lines(client, lines) == expected


def test_a_path_that_is_excluded_is_logged_only_when_it_fails(client: Client, lines: int):
    client.record.access = AccessLog(lines, excluded=frozenset({b"/healthz"}))
    noted: list[str] = []
    for target, status in (("/healthz", 200), ("/healthz?a=1", 204), ("/healthz", 503), ("/healthz/x", 200)):
        client.record.access._records.clear()
        client.record.end(
            read_request_line(f"GET {target} HTTP/1.1".encode()), status, 0, client.record.began
        )
        noted += [f"{one[1]} {one[2]}" for one in client.record.access._records]

    assert noted == ["GET /healthz HTTP/1.1 503", "GET /healthz/x HTTP/1.1 200"]
    assert client.counts.requests == 4

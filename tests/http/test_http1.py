"""The events and accounts of a connection; the corpus of good and bad bytes is in tests/conformance."""

import itertools
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from appserve.errors import Rejected
from appserve.http.fields import Fields
from appserve.http.http1 import BLANK_LINES, LONGEST_BLOCK
from appserve.http.messages import CHUNKED, HEAD_SETTINGS, Event, Limits, Reading
from tests.http.plain import (
    GET,
    GET_1_0,
    HEAD,
    POST_5,
    POST_CHUNKED,
    PlainConnection,
    after,
    connect,
    events,
    head_bytes,
    only_head,
    plain_fields,
)


def answer(connection: PlainConnection) -> bytes:
    """Answer a request, and go on to the next if that may be."""
    written = connection.response.respond(200, [(b"Content-Type", b"text/plain")], b"ok")
    connection.start_next_cycle()
    return written


def seen(connection: PlainConnection) -> list[object]:
    """The events, heads by their method."""
    return [
        event if isinstance(event, (bytes, Event, int)) else event.line.method for event in events(connection)
    ]


def iter_events(connection: PlainConnection) -> Iterator[object]:
    """The events until it waits. Raises what it refuses."""
    while (event := connection.next_event()) is not Event.NEED_DATA:
        yield event


# ── events ──


def test_a_request_is_its_head_its_body_and_its_end():
    connection = connect()
    connection.receive_data(POST_5 + b"hello")

    assert seen(connection) == ["POST", b"hello", Event.END, Event.PAUSED]
    assert seen(connection) == [Event.PAUSED]


def test_a_body_is_given_as_it_comes():
    connection = connect()
    for piece in (POST_5, b"he", b"", b"l", b"loGET"):
        connection.receive_data(piece)

    assert seen(connection)[1:] == [b"hello", Event.END, Event.PAUSED]
    assert connection.unread == b"GET"


def test_a_chunked_body_ends_with_its_last_chunk():
    connection = connect()
    connection.receive_data(POST_CHUNKED)
    assert seen(connection) == ["POST", Event.NEED_DATA]
    assert connection.reading is Reading.BODY

    connection.receive_data(b"5\r\nhello\r\n0\r\n")
    assert seen(connection) == [b"hello", Event.NEED_DATA]
    connection.receive_data(b"\r\nGET")
    assert seen(connection) == [Event.END, Event.PAUSED]
    assert connection.body_received == 5
    assert (answer(connection)[:12], seen(connection)) == (b"HTTP/1.1 200", [Event.NEED_DATA])


def test_the_next_request_waits_for_the_answer_to_this_one():
    connection = after(GET + HEAD + POST_5)

    assert connection.buffered == len(HEAD + POST_5)
    answer(connection)
    assert seen(connection) == ["HEAD", Event.END, Event.PAUSED]
    answer(connection)
    assert seen(connection) == ["POST", Event.NEED_DATA]
    assert connection.cycle == 2


def test_a_request_without_a_body_may_be_answered_before_its_end_event():
    connection = connect()
    connection.receive_data(GET + GET)
    only_head(connection)

    assert connection.is_read
    answer(connection)
    assert seen(connection) == ["GET", Event.END, Event.PAUSED]


def test_a_head_says_what_it_is():
    connection = connect()
    connection.receive_data(
        head_bytes("PUT /a HTTP/1.1", "Host: b", "Transfer-Encoding: chunked", "Expect: 100-continue")
    )
    head = only_head(connection)

    assert (head.keep_alive, head.body_length, head.expects_continue, head.upgrade) == (
        True,
        CHUNKED,
        True,
        b"",
    )
    assert head.fields == [(b"host", b"b"), (b"transfer-encoding", b"chunked"), (b"expect", b"100-continue")]
    assert repr(head) == "<RequestHead <RequestLine PUT b'/a' HTTP/1.1> 3 fields, body -1>"


def test_the_authority_of_an_absolute_form_target_takes_the_place_of_host():
    connection = connect()
    for _ in range(2):
        connection.receive_data(
            head_bytes("GET http://b.example:80/ HTTP/1.1", "X: 1", "Host: a.example", "Y_Z: 2", "X: 3")
        )

        assert only_head(connection).fields == [(b"host", b"b.example:80"), (b"x", b"1"), (b"x", b"3")]
        answer(connection)


def test_an_offer_to_upgrade_is_declined_by_answering_and_nothing_behind_it_is_read():
    connection = connect()
    upgrade = head_bytes(
        "POST / HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: h2c", "Content-Length: 5"
    )
    connection.receive_data(upgrade + b"hello" + GET)

    assert seen(connection) == ["POST", b"hello", Event.END, Event.PAUSED]
    assert b"\r\nConnection: close\r\n" in answer(connection)
    assert not connection.keeps_alive
    assert connection.may_send_more
    assert seen(connection) == [Event.PAUSED]


# ── idle, and the end ──


def test_idle_is_without_a_byte_of_a_next_request():
    connection = connect()
    assert connection.is_idle
    connection.receive_data(b"G")
    assert not connection.is_idle
    connection.receive_data(GET[1:])
    only_head(connection)
    assert not connection.is_idle
    answer(connection)
    assert connection.is_idle


def test_a_few_blank_lines_may_come_before_each_request():
    connection = connect()
    for _ in range(3):
        connection.receive_data(b"\r\n" * BLANK_LINES)
        assert seen(connection) == [Event.NEED_DATA]
        assert connection.is_idle
        connection.receive_data(b"\r")
        assert seen(connection) == [Event.NEED_DATA]
        connection.unread = b""
        connection.receive_data(GET)
        assert seen(connection) == ["GET", Event.END, Event.PAUSED]
        answer(connection)


def test_blank_lines_are_counted_even_if_they_come_one_by_one():
    connection = connect()
    for _ in range(BLANK_LINES):
        connection.receive_data(b"\r\n")
        assert seen(connection) == [Event.NEED_DATA]
    connection.receive_data(b"\r\n")

    assert seen(connection) == [400]


@pytest.mark.parametrize("sent", [b"", GET, POST_5 + b"hello"])
def test_the_end_between_two_requests_is_clean(sent: bytes):
    connection = after(sent)
    connection.receive_eof()
    if sent:
        assert seen(connection) == [Event.PAUSED]
        answer(connection)

    assert seen(connection) == [Event.CLOSED]
    assert seen(connection) == [Event.CLOSED]
    assert connection.reading is Reading.CLOSED


@pytest.mark.parametrize(
    "sent", [b"\r", b"GET", GET[:-1], POST_5, POST_5 + b"hell", POST_CHUNKED + b"5\r\nhello"]
)
def test_the_end_inside_a_request_is_400(sent: bytes):
    connection = after(sent)
    connection.receive_eof()

    assert seen(connection)[-1] == 400


@pytest.mark.parametrize(
    ("sent", "eof", "may_send_more"),
    [
        (b"", False, True),
        (GET, False, True),
        (GET, True, False),
        (GET_1_0, False, False),
        (GET_1_0 + b"GET", False, True),
        (head_bytes("GET / HTTP/1.1", "Host: a", "Connection: close"), False, False),
        (head_bytes("POST / HTTP/1.0", "Content-Length: 5"), False, True),
        (head_bytes("POST / HTTP/1.0", "Content-Length: 5") + b"hello", False, False),
        (b"nonsense\r\n", False, True),
    ],
)
def test_whether_the_peer_may_send_more(sent: bytes, eof: bool, may_send_more: bool):
    connection = after(sent)
    if eof:
        connection.receive_eof()

    assert connection.may_send_more == may_send_more


# ── refusals ──


def test_a_refusal_is_final():
    connection = connect()
    connection.receive_data(b"GET / HTTP/3.0\r\nSecret: 1\r\n\r\n" + GET)
    with pytest.raises(Rejected) as first:
        connection.next_event()
    connection.receive_data(GET)
    with pytest.raises(Rejected) as second:
        connection.next_event()

    assert first.value is second.value
    assert first.value.status == 505
    assert connection.refused == b"GET / HTTP/3.0"
    assert not connection.start_next_cycle()


def test_what_is_kept_of_a_refused_line_is_bounded():
    connection = after(b"GET /" + b"a" * 100_000)

    assert connection.refused == b"GET /" + b"a" * 195
    assert connection.buffered == 0


def test_of_several_faults_the_first_counts():
    bad = head_bytes("GET / HTTP/1.1", "Host: a", "Transfer-Encoding: gzip, chunked", "X : a")
    connection = connect()
    connection.receive_data(bad)

    assert seen(connection) == [400]


def test_a_shell_may_refuse_what_takes_too_long():
    connection = after(b"HEAD /a HTTP/1.1\r\nHo")
    connection.refuse(Rejected(408, "late"))

    assert connection.refused == b"HEAD /a HTTP/1.1"
    assert connection.response.reject(408, "late").endswith(b"\r\n\r\n"), "a body in answer to HEAD"
    connection.receive_data(b"st: a\r\n\r\n")
    assert seen(connection) == [408]


def test_a_shell_may_refuse_a_body_that_takes_too_long():
    connection = after(POST_5 + b"he")
    connection.refuse(Rejected(408, "late"))

    assert connection.refused == b""
    assert seen(connection) == [408]
    assert b"late" in connection.response.reject(408, "late")


def test_a_refusal_after_head_has_a_body_again():
    connection = after(HEAD)
    connection.response.respond(200, [], b"")
    connection.start_next_cycle()
    connection.receive_data(b"NONSENSE\r\n\r\n")

    assert seen(connection) == [400]
    assert connection.response.reject(400, "no").endswith(b"\r\n\r\n400 no\n")


# ── bounds ──

SMALL = Limits(request_line=30, fields=3, field_size=30, body=10)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head_bytes("GET /" + "a" * 17 + " HTTP/1.1", "Host: a"), 414),
        (head_bytes("GET / HTTP/1.1", "Host: a", "X: " + "a" * 28), 431),
        (head_bytes("GET / HTTP/1.1", "Host: a", "X: 1", "Y: 2", "Z: 3"), 431),
        (head_bytes("POST / HTTP/1.1", "Host: a", "Content-Length: 11"), 413),
    ],
)
def test_limits_hold_at_once_and_byte_by_byte(sent: bytes, status: int):
    whole, pieces = connect(limits=SMALL), connect(limits=SMALL)
    whole.receive_data(sent)
    for byte in sent:
        pieces.receive_data(bytes([byte]))
        if (reported := seen(pieces)) != [Event.NEED_DATA]:
            break

    assert seen(whole) == reported == [status]


NARROW = Limits(request_line=40, fields=3, field_size=40, body=10)
WIDE = Limits(request_line=40000, fields=100000, field_size=20000, body=0)
TRAILERS = head_bytes("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"0\r\n"


@pytest.mark.parametrize(
    ("sent", "limits", "reason"),
    [
        (b"GET /" + b"a" * 40, NARROW, "request line longer than 40 bytes (--limit-request-line)"),
        (
            head_bytes("GET / HTTP/1.1", "X: " + "a" * 40),
            NARROW,
            "header field longer than 40 bytes (--limit-request-field-size)",
        ),
        (
            head_bytes("GET / HTTP/1.1", *["X: a"] * 4),
            NARROW,
            "more than 3 header fields (--limit-request-fields)",
        ),
        (
            head_bytes("GET / HTTP/1.1", *["X: " + "a" * 15000] * 6),
            WIDE,
            "request head longer than 80000 bytes (from --limit-request-line and --limit-request-field-size)",
        ),
        (
            head_bytes("POST / HTTP/1.1", "Host: a", "Content-Length: 11"),
            NARROW,
            "request body longer than 10 bytes (--limit-request-body)",
        ),
        (
            head_bytes("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"b\r\n",
            NARROW,
            "request body longer than 10 bytes (--limit-request-body)",
        ),
        (
            TRAILERS + b"X: " + b"a" * 40 + b"\r\n",
            NARROW,
            "trailer field longer than 40 bytes (--limit-request-field-size)",
        ),
        (TRAILERS + b"X: a\r\n" * 4, NARROW, "more than 3 trailer fields (--limit-request-fields)"),
        (
            TRAILERS + (b"X: " + b"a" * 15000 + b"\r\n") * 6,
            WIDE,
            f"trailer section longer than 80000 bytes ({HEAD_SETTINGS})",
        ),
        (
            b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
            NARROW,
            "byte above 0x7F in the request target: percent-encode it (RFC 3986 §2.1)",
        ),
        (b"GET /\x01\xc3\xa9 HTTP/1.1\r\n\r\n", NARROW, "malformed request line (RFC 9112 §3)"),
        (b"G\xc3T / HTTP/1.1\r\n\r\n", NARROW, "malformed request line (RFC 9112 §3)"),
    ],
)
@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_refusal_names_its_limit_and_setting_however_the_bytes_come(
    sent: bytes, limits: Limits, reason: str, step: int
):
    connection = connect(limits=limits)
    step = max(step, len(sent) // 500)
    with pytest.raises(Rejected) as caught:
        for at in range(0, len(sent), step):
            connection.receive_data(sent[at : at + step])
            list(iter_events(connection))

    assert caught.value.reason == reason
    assert connection.response.reject(caught.value.status, reason).endswith(
        f"\r\n\r\n{caught.value.status} {reason}\n".encode()
    )


def test_a_whole_head_is_bounded_even_if_its_lines_are_not():
    connection = after(head_bytes("GET / HTTP/1.1", "Host: a", *["X: " + "a" * 8000] * 9))

    assert seen(connection) == [431]


def test_long_heads_are_not_held_for_comparison():
    for size, held in ((1000, True), (LONGEST_BLOCK, False)):
        connection = connect()
        head = head_bytes("GET / HTTP/1.1", "Host: a", "X: " + "a" * size)
        for is_again in (False, True):
            connection.receive_data(head)
            only_head(connection)
            answer(connection)

            assert (connection._held is not None) == (held and is_again)


@pytest.mark.parametrize("name", ["Cookie", "Authorization", "Proxy-Authorization"])
def test_a_secret_is_held_by_its_own_connection_alone_and_until_another_head(name: str):
    fields = plain_fields()
    connection = connect(fields)
    for sent in (*[GET] * 2, *[head_bytes("GET / HTTP/1.1", "Host: a.example", f"{name}: geheim")] * 3) * 2:
        connection.receive_data(sent)
        only_head(connection)
        answer(connection)
        assert "geheim" not in repr([getattr(fields, slot) for slot in Fields.__slots__])
    assert "geheim" in repr(connection._held)
    connection.receive_data(GET)
    only_head(connection)

    assert "geheim" not in repr((connection._held, connection.unread))


def test_the_first_head_of_a_connection_raises_nothing():
    raised = []

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "exception":
            raised.append(argument)
        return trace

    fields = plain_fields()
    after(GET, fields)  # of a process, the first head with these names does
    connection = connect(fields)
    connection.receive_data(GET)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        connection.next_event()
    finally:
        sys.settrace(before)

    assert raised == []


def test_llhttp_has_a_say():
    """It refuses what our own reading lets through, were there anything; no such head is known."""
    connection = connect()
    with pytest.raises(Rejected) as caught:
        connection._ask_llhttp(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 0)

    assert caught.value.status == 400


def test_llhttp_may_expect_no_further_request():
    """It takes Proxy-Connection, which no RFC knows, for Connection."""
    connection = connect()
    for _ in range(3):
        connection.receive_data(head_bytes("GET / HTTP/1.1", "Host: a", "Proxy-Connection: close"))
        assert seen(connection) == ["GET", Event.END, Event.PAUSED]
        answer(connection)
        connection.receive_data(GET)
        assert seen(connection) == ["GET", Event.END, Event.PAUSED]
        answer(connection)


# ── the comparison with the last head ──

FIELDS = ("Host: a.example", "Accept: */*", "Cookie: a=1")
HEADS = {
    "get": head_bytes("GET / HTTP/1.1", *FIELDS),
    "another path": head_bytes("GET /a/b HTTP/1.1", *FIELDS),
    "a query": head_bytes("GET /?a=b HTTP/1.1", *FIELDS),
    "head": head_bytes("HEAD / HTTP/1.1", *FIELDS),
    "options *": head_bytes("OPTIONS * HTTP/1.1", *FIELDS),
    "1.0": head_bytes("GET / HTTP/1.0", *FIELDS),
    "1.0 kept": head_bytes("GET / HTTP/1.0", *FIELDS, "Connection: keep-alive"),
    "1.1 with keep-alive": head_bytes("GET / HTTP/1.1", *FIELDS, "Connection: keep-alive"),
    "close": head_bytes("GET / HTTP/1.1", *FIELDS, "Connection: close"),
    "another host": head_bytes("GET / HTTP/1.1", "Host: b.example", *FIELDS[1:]),
    "absolute": head_bytes("GET http://c.example/ HTTP/1.1", *FIELDS),
    "other cookie": head_bytes("GET / HTTP/1.1", *FIELDS[:2], "Cookie: a=2"),
    "other order": head_bytes("GET / HTTP/1.1", *reversed(FIELDS)),
    "dropped field": head_bytes("GET / HTTP/1.1", *FIELDS, "X_Y: 1"),
    "upgrade": head_bytes("GET / HTTP/1.1", *FIELDS, "Connection: upgrade", "Upgrade: h2c"),
    "length 0": head_bytes("POST / HTTP/1.1", *FIELDS, "Content-Length: 0"),
    "get with length 0": head_bytes("GET / HTTP/1.1", *FIELDS, "Content-Length: 0"),
    "no fields": head_bytes("GET / HTTP/1.0"),
    "body": head_bytes("POST / HTTP/1.1", *FIELDS, "Content-Length: 2") + b"hi",
    "chunked": head_bytes("POST / HTTP/1.1", *FIELDS, "Transfer-Encoding: chunked") + b"2\r\nhi\r\n0\r\n\r\n",
    "no host": head_bytes("GET / HTTP/1.1", *FIELDS[1:]),
    "bad line": head_bytes("GET  / HTTP/1.1", *FIELDS),
    "bad version": head_bytes("GET / HTTP/2.0", *FIELDS),
}


def account(connection: PlainConnection) -> tuple[object, ...]:
    """All that there is to say about one request and its answer, which is given."""
    reported: list[object] = []
    for event in events(connection):
        if isinstance(event, (bytes, Event, int)):
            reported.append(event)
        else:
            line = event.line
            reported += [
                line.method,
                line.target,
                line.version,
                line.path,
                line.authority,
                event.fields,
                event.rules,
            ]
    if isinstance(reported[-1], int):
        return (*reported, connection.response.reject(reported[-1], "no"), connection.keeps_alive)
    return (
        *reported,
        connection.response.respond(200, [(b"Content-Type", b"text/plain")], b"ok"),
        connection.keeps_alive,
        connection.may_send_more,
        connection.response.body_sent,
    )


@pytest.mark.parametrize("first", HEADS)
def test_a_head_after_another_is_read_as_on_a_new_connection(first: str):
    for second, third in itertools.product(HEADS, ("get", "1.0 kept", "head")):
        shared = plain_fields()
        for name in (second, third, first):  # so that their lines are known
            before = connect(shared)
            before.receive_data(HEADS[name])
            account(before)
        kept_alive = connect(shared)
        for name in (first, second, third):
            fresh = connect()
            fresh.receive_data(HEADS[name])
            kept_alive.receive_data(HEADS[name])

            assert account(kept_alive) == account(fresh), (first, second, third)
            if not kept_alive.start_next_cycle():
                break


def test_the_fields_of_a_repeated_head_are_each_requests_own():
    connection = connect()
    fields = []
    for _ in range(4):
        connection.receive_data(GET)
        fields.append(only_head(connection).fields)
        fields[-1].append((b"x-added", b"by the application"))
        answer(connection)

    assert [len(one) for one in fields] == [2, 2, 2, 2]


def test_a_repeated_head_has_its_body_again():
    connection = connect()
    for _ in range(3):
        connection.receive_data(POST_5)
        assert seen(connection) == ["POST", Event.NEED_DATA]
        connection.receive_data(b"hello")
        assert seen(connection) == [b"hello", Event.END, Event.PAUSED]
        answer(connection)


def test_each_head_that_comes_in_pieces_is_followed_from_its_own_beginning():
    connection = connect()
    for sent in (GET, HEAD):
        connection.receive_data(sent[:-1])
        assert seen(connection) == [Event.NEED_DATA]
        connection.receive_data(sent[-1:])
        assert seen(connection)[1:] == [Event.END, Event.PAUSED]
        answer(connection)
    connection.receive_data(b"\x16\x03\x01")

    assert seen(connection) == [400]


def test_a_repeated_head_is_recognised_only_when_it_is_alone_and_whole():
    connection = connect()
    for sent in (GET, GET + GET, GET[:10], GET[10:] + b"GET", GET[3:]):
        connection.receive_data(sent)
        while (reported := seen(connection)) == ["GET", Event.END, Event.PAUSED]:
            answer(connection)

        assert reported == [Event.NEED_DATA]
    assert connection.cycle == 5
    assert connection.is_idle


# ── a body that is there with its head ──


@pytest.mark.parametrize(
    ("sent", "taken", "then"),
    [
        (POST_5 + b"12345", b"12345", [Event.END, Event.PAUSED]),
        (POST_5 + b"12345" + GET, b"12345", [Event.END, Event.PAUSED]),
        (POST_5 + b"1234", None, [b"1234", Event.NEED_DATA]),
        (POST_5, None, [Event.NEED_DATA]),
        (POST_CHUNKED + b"5\r\n12345\r\n0\r\n\r\n", None, [b"12345", Event.END, Event.PAUSED]),
        (GET, None, [Event.END, Event.PAUSED]),
    ],
)
def test_a_body_is_taken_at_once_only_if_all_of_it_is_there(
    sent: bytes, taken: bytes | None, then: list[object]
):
    connection = connect()
    connection.receive_data(sent)
    connection.next_event()

    assert connection.take_body() == taken
    assert list(events(connection)) == then
    assert connection.body_received == len(taken or b"".join(one for one in then if isinstance(one, bytes)))
    assert connection.unread == (GET if sent.endswith(GET) and sent != GET else b"")


def test_a_body_that_is_taken_at_once_is_no_longer_waited_for():
    connection = connect()
    head = head_bytes("POST / HTTP/1.1", "Host: a.example", "Content-Length: 2", "Expect: 100-continue")
    connection.receive_data(head + b"ab")
    connection.next_event()

    assert connection.take_body() == b"ab"
    assert connection.response.respond(200, [], b"").startswith(b"HTTP/1.1 200 OK\r\n")
    assert connection.start_next_cycle()

"""The states and accounts of the writer; the corpus of answers is in tests/conformance."""

import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from appserve.errors import AppMistake
from appserve.http.date import DateFields
from appserve.http.messages import Writing
from tests.http.plain import (
    DATE,
    DATE_FIELDS,
    GET,
    GET_1_0,
    HEAD,
    LIMITS,
    POST_5,
    SERVER,
    PlainConnection,
    after,
    events,
    head_bytes,
    plain_fields,
)

TEXT = (b"Content-Type", b"text/plain")
LENGTH_5 = (b"Content-Length", b"5")
GET_1_0_KEPT = head_bytes("GET / HTTP/1.0", "Connection: keep-alive")


def whole(*lines: bytes, body: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + DATE + SERVER + b"".join(line + b"\r\n" for line in (*lines, b"")) + body


def state(connection: PlainConnection) -> tuple[Writing, int, bool]:
    """(state, bytes of the body sent, whether a next request may follow)"""
    return connection.response.writing, connection.response.body_sent, connection.keeps_alive


def test_a_response_whose_length_is_right_is_written_as_it_is():
    connection = after(GET)

    assert connection.response.respond(200, [TEXT, LENGTH_5], b"hello") == whole(
        b"Content-Type: text/plain", b"Content-Length: 5", body=b"hello"
    )
    assert state(connection) == (Writing.DONE, 5, True)


CLOSE = (b"Connection", b"close")


@pytest.mark.parametrize("fault", [[], [(b"X", b"a\r\nb")]])
@pytest.mark.parametrize("closes", [False, True])
def test_what_a_replaced_head_says_of_the_connection_does_not_count(fault: list[Any], closes: bool):
    connection = after(GET)
    try:
        connection.response.write_fields([b"", b""], 200, [CLOSE, *fault])
    except AppMistake:
        assert fault

    assert not connection.response.closes
    answer = connection.response.respond(200, [TEXT, LENGTH_5, *([CLOSE] if closes else [])], b"hello")

    assert (b"Connection: close\r\n" in answer) == closes
    assert connection.keeps_alive == (not closes)


def test_a_response_without_a_length_gets_one():
    connection = after(GET)

    assert connection.response.respond(200, [TEXT], b"hello") == whole(
        b"Content-Type: text/plain", b"Content-Length: 5", body=b"hello"
    )
    assert state(connection) == (Writing.DONE, 5, True)


def test_a_response_has_one_date_also_when_another_thread_renews_ours_meanwhile():
    date_fields = DateFields(784111777)
    connection = PlainConnection(LIMITS, plain_fields(), date_fields)
    connection.receive_data(GET)
    list(events(connection))

    def fields() -> Iterator[tuple[bytes, bytes]]:
        date_fields.renew(784111778)
        yield b"Date", b"x"

    assert connection.response.respond(200, fields(), b"") == (
        b"HTTP/1.1 200 OK\r\n" + SERVER + b"Date: x\r\nContent-Length: 0\r\n\r\n"
    )


def test_a_status_line_of_the_application_takes_the_place_of_ours():
    answer = after(GET).response.respond(200, [LENGTH_5], b"hello", b"HTTP/1.1 200 Fine\r\n")
    head = after(GET).response.start_response(200, [LENGTH_5], b"HTTP/1.1 200 Fine\r\n")

    assert answer.startswith(b"HTTP/1.1 200 Fine\r\nDate: ")
    assert head.startswith(b"HTTP/1.1 200 Fine\r\nDate: ")


def test_pieces_go_out_as_chunks_and_are_counted_without_their_framing():
    connection = after(GET)

    assert connection.response.start_response(200, []) == whole(b"Transfer-Encoding: chunked")
    assert connection.response.left_to_write == -1
    assert connection.response.send_body(b"hello", True) == b"5\r\nhello\r\n"
    assert connection.response.send_body(b"", True) == b""
    assert state(connection) == (Writing.BODY, 5, False)
    assert connection.response.send_body(b"world", False) == b"5\r\nworld\r\n0\r\n\r\n"
    assert state(connection) == (Writing.DONE, 10, True)


def test_the_head_and_the_first_piece_can_be_had_at_once():
    assert after(GET).response.start_response(200, [], b"", b"hello") == whole(
        b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"
    )
    assert after(HEAD).response.start_response(200, [LENGTH_5], b"", b"hello") == whole(b"Content-Length: 5")


@pytest.mark.parametrize("request_bytes", [GET, GET_1_0])
def test_a_first_piece_that_is_too_long_takes_the_head_back(request_bytes: bytes):
    connection = after(request_bytes)

    with pytest.raises(
        AppMistake, match="longer than its Content-Length: only the remaining 5 bytes were sent"
    ):
        connection.response.start_response(200, [LENGTH_5], b"", b"hello!")
    assert connection.response.writing is Writing.HEAD
    assert b"500" in connection.response.respond(500, [], b"sorry")


def test_a_whole_body_that_is_too_long_takes_the_head_back():
    connection = after(GET)

    with pytest.raises(AppMistake, match="longer"):
        connection.response.respond(200, [LENGTH_5], b"hello!")
    assert state(connection) == (Writing.HEAD, 0, False)
    assert connection.response.respond(200, [], b"ok") == whole(b"Content-Length: 2", body=b"ok")
    assert state(connection) == (Writing.DONE, 2, True)


def test_a_piece_that_is_too_long_is_not_written_and_ends_the_connection():
    connection = after(GET)
    connection.response.start_response(200, [LENGTH_5])
    connection.response.send_body(b"hell", True)

    with pytest.raises(AppMistake, match="only the remaining 1 bytes were sent"):
        connection.response.send_body(b"oo", False)
    assert (connection.response.left_to_write, connection.response.body_sent, connection.response.closes) == (
        1,
        4,
        True,
    )


@pytest.mark.parametrize(("whole_body", "missing"), [(b"", 5), (b"hell", 1)])
def test_a_body_that_ends_short_ends_the_connection(whole_body: bytes, missing: int):
    at_once, in_pieces = after(GET), after(GET)
    at_once.response.respond(200, [LENGTH_5], whole_body)
    in_pieces.response.start_response(200, [LENGTH_5])
    in_pieces.response.send_body(whole_body, False)

    for connection in (at_once, in_pieces):
        assert connection.response.short == missing
        assert state(connection) == (Writing.DONE, len(whole_body), False)
        assert not connection.start_next_cycle()


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status: int):
    at_once, in_pieces = after(GET), after(GET)

    assert at_once.response.respond(status, [], b"hello").endswith(SERVER + b"\r\n")
    assert in_pieces.response.start_response(status, []).endswith(SERVER + b"\r\n")
    assert in_pieces.response.send_body(b"hello", False) == b""
    assert state(at_once) == state(in_pieces) == (Writing.DONE, 0, True)


def test_a_length_is_dropped_from_204_and_kept_in_304_and_for_head():
    assert b"ength" not in after(GET).response.respond(204, [LENGTH_5], b"")
    assert b"ength: 5" in after(GET).response.respond(304, [LENGTH_5], b"")
    assert after(HEAD).response.respond(200, [LENGTH_5], b"") == whole(b"Content-Length: 5")
    assert after(HEAD).response.respond(200, [], b"hello") == whole(b"Content-Length: 5")
    assert after(HEAD).response.respond(200, [], b"") == whole()


@pytest.mark.parametrize("request_bytes", [GET, HEAD])
@pytest.mark.parametrize("fields", [[], [LENGTH_5]])
def test_the_body_of_a_205_is_dropped_and_its_length_is_0(
    request_bytes: bytes, fields: list[tuple[bytes, bytes]]
):
    at_once, in_pieces = after(request_bytes), after(request_bytes)
    head = after(request_bytes).response.respond(205, [], b"")

    assert head.count(b"ength") == head.count(b"\r\nContent-Length: 0\r\n") == 1
    assert at_once.response.respond(205, fields, b"hello") == head
    assert in_pieces.response.start_response(205, fields, b"", b"hello") == head
    assert in_pieces.response.send_body(b" again", False) == b""
    assert state(at_once) == state(in_pieces) == (Writing.DONE, 0, True)


def test_a_response_to_http_1_0_says_whether_the_connection_stays_open():
    assert b"\r\nConnection: close\r\n" in after(GET_1_0).response.respond(200, [], b"")
    assert b"\r\nConnection: keep-alive\r\n" in after(GET_1_0_KEPT).response.respond(
        200, [LENGTH_5], b"hello"
    )


def test_only_a_body_that_ends_with_the_connection_takes_a_reset_to_be_cut():
    old, new = after(GET_1_0_KEPT), after(GET)
    for connection in (old, new):
        assert not connection.response.ends_by_close
        connection.response.start_response(200, [])
        assert connection.response.closes == connection.response.ends_by_close == (connection is old)
        connection.response.abandon_response()
        assert state(connection) == (Writing.DONE, 0, False)
        assert connection.response.ends_by_close == (connection is old)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"Date", b"x")], SERVER + b"Date: x\r\n"),
        ([(b"Server", b"x")], DATE + b"Server: x\r\n"),
        ([(b"Date", b"x"), (b"Server", b"y")], b"Date: x\r\nServer: y\r\n"),
        ([(b"Server", b"y"), (b"Date", b"x")], b"Server: y\r\nDate: x\r\n"),
        ([(b"Date", b"x"), (b"Date", b"z")], SERVER + b"Date: x\r\n"),
        ([(b"Server", b"x"), (b"Date", b"y"), (b"Server", b"z")], b"Server: x\r\nDate: y\r\n"),
    ],
)
def test_date_and_server_of_the_application_take_the_place_of_ours(
    fields: list[tuple[bytes, bytes]], expected: bytes
):
    connection = after(GET)

    assert (
        connection.response.respond(204, fields, b"") == b"HTTP/1.1 204 No Content\r\n" + expected + b"\r\n"
    )
    connection.start_next_cycle()
    connection.receive_data(GET)
    list(events(connection))
    assert connection.response.respond(204, [], b"").endswith(DATE + SERVER + b"\r\n"), (
        "the next has ours again"
    )


@pytest.mark.parametrize(
    "field", [(b"Transfer-Encoding", b"gzip"), (b"Keep-Alive", b"a"), (b"Connection", b"upgrade")]
)
def test_hop_by_hop_fields_are_ours(field: tuple[bytes, bytes]):
    assert after(GET).response.respond(200, [field], b"") == whole(b"Content-Length: 0")


def test_the_application_may_end_the_connection():
    connection = after(GET)

    assert b"Connection: close" in connection.response.respond(200, [(b"Connection", b"close")], b"")
    assert connection.response.closes


def test_a_shell_may_end_the_connection_with_this_response_or_the_next():
    connection = after(GET)
    connection.response.close_after_response()

    assert b"Connection: close" in connection.response.respond(200, [], b"")
    assert state(connection) == (Writing.DONE, 0, False)


def test_nothing_is_written_when_a_field_is_wrong():
    connection = after(GET)
    for fields in ([LENGTH_5, LENGTH_5], [(b"X", b"a\r\nb")], [(b"", b"")]):
        for write in (
            connection.response.start_response,
            lambda *args: connection.response.respond(*args, b"hello"),
        ):
            with pytest.raises(AppMistake):
                write(200, fields)
            assert connection.response.writing is Writing.HEAD
    connection.response.respond(200, [LENGTH_5], b"hello")

    assert state(connection) == (Writing.DONE, 5, True)


@pytest.mark.parametrize(
    "field", [(b"Set-Cookie", b"secret\0"), (b"a c", b"secret"), (b"Content-Length", b"five")]
)
def test_the_error_of_a_wrong_field_names_the_mistake_and_nothing_else(field: tuple[bytes, bytes]):
    with pytest.raises(AppMistake) as reported:
        after(GET).response.start_response(200, [field])

    text = "".join(traceback.format_exception(reported.value))
    assert "KeyError" not in text and "secret" not in text
    assert " b'" not in str(reported.value), "the application gave a str"


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 1000, -200])
def test_a_status_that_ends_no_response_is_the_applications_mistake(status: int):
    connection = after(GET)

    with pytest.raises(AppMistake, match="not the status of a final response"):
        connection.response.start_response(status, [])
    assert connection.response.writing is Writing.HEAD


def test_calls_in_the_wrong_order_are_mistakes():
    connection = after(GET)
    with pytest.raises(AppMistake):
        connection.response.send_body(b"", False)
    connection.response.start_response(200, [])
    for call in (
        lambda: connection.response.start_response(200, []),
        lambda: connection.response.respond(200, [], b""),
        lambda: connection.response.send_informational(103),
    ):
        with pytest.raises(AppMistake):
            call()
    connection.response.send_body(b"", False)
    with pytest.raises(AppMistake):
        connection.response.send_body(b"", False)
    assert connection.keeps_alive


# ── informational ──


def test_an_informational_response_has_no_framing():
    fields = [(b"Link", b"</a>"), LENGTH_5, (b"Connection", b"close")]

    assert (
        after(GET).response.send_informational(103, fields)
        == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    )
    assert not after(GET).response.closes
    assert after(GET_1_0).response.send_informational(103, fields) == b""


def test_after_a_final_response_instead_of_100_the_connection_ends():
    sent = head_bytes("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue")
    unasked, asked, unneeded = after(sent), after(sent), after(sent + b"h")

    assert asked.response.send_informational(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert b"Connection: close" in unasked.response.respond(200, [LENGTH_5], b"hello")
    assert b"Connection: close" not in asked.response.respond(200, [LENGTH_5], b"hello")
    assert b"Connection: close" not in unneeded.response.respond(200, [LENGTH_5], b"hello")


# ── refusals ──


def test_a_refusal_is_a_whole_response_and_the_last():
    connection = after(POST_5)
    answer = connection.response.reject(413, "too much")

    text = b"413 too much\n"
    assert answer == (
        b"HTTP/1.1 413 Content Too Large\r\n"
        + DATE_FIELDS.date_server
        + b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text
    )
    assert state(connection) == (Writing.DONE, len(text), False)


def test_a_refusal_of_head_has_no_body():
    assert after(HEAD).response.reject(400, "no").endswith(b"\r\n\r\n")


def test_after_the_head_of_a_response_a_refusal_says_nothing():
    connection = after(POST_5)
    connection.response.start_response(200, [])

    assert connection.response.reject(400, "no") == b""
    assert state(connection) == (Writing.DONE, 0, False)


# ── a head that is made before the body ──


def test_a_head_that_is_made_can_be_dropped_for_another():
    connection = after(GET)
    for fields in ([LENGTH_5], [TEXT]):
        parts = [b"HTTP/1.1 200 OK\r\n", DATE_FIELDS.date_server]
        length = connection.response.write_fields(parts, 200, fields)
        assert state(connection) == (Writing.HEAD, 0, False)

    assert connection.response.respond_with(parts, 200, length, b"hello") == whole(
        b"Content-Type: text/plain", b"Content-Length: 5", body=b"hello"
    )


def test_a_head_can_be_used_again_when_its_first_piece_was_refused():
    connection = after(GET)
    parts = [b"HTTP/1.1 200 OK\r\n", DATE_FIELDS.date_server]
    length = connection.response.write_fields(parts, 200, [LENGTH_5])
    for _ in range(2):
        with pytest.raises(AppMistake):
            connection.response.start_with(parts, 200, length, b"hello!")
        with pytest.raises(AppMistake):
            connection.response.respond_with(parts, 200, length, b"hello!")

    assert connection.response.start_with(parts, 200, length, b"hello") == whole(
        b"Content-Length: 5", b"Connection: close", body=b"hello"
    )


def test_a_length_that_the_application_left_out_can_be_known_from_elsewhere():
    def begin(request: bytes, status: int, length: int) -> bytes:
        return after(request).response.start_with(
            [b"HTTP/1.1 200 OK\r\n", DATE_FIELDS.date_server], status, length, b"", 7
        )

    assert begin(GET, 200, -1) == begin(HEAD, 200, -1) == whole(b"Content-Length: 7")
    assert begin(GET, 204, -1) == begin(GET, 304, -1) == whole()
    assert b"Content-Length" not in begin(GET, 200, 5), "it said it before"


# ── a file in the body ──


@pytest.mark.parametrize("more", [True, False])
@pytest.mark.parametrize(
    ("request_bytes", "fields", "size", "expected"),
    [
        (GET, [LENGTH_5], 5, (b"", 5, b"")),
        (GET, [LENGTH_5], 9, (b"", 5, b"")),
        (GET, [LENGTH_5], 3, (b"", 3, b"")),
        (GET, [], 255, (b"ff\r\n", 255, b"\r\n")),
        (GET, [], 0, (b"", 0, b"")),
        (GET_1_0, [], 255, (b"", 255, b"")),
        (HEAD, [LENGTH_5], 5, (b"", 0, b"")),
        (HEAD, [], 5, (b"", 0, b"")),
    ],
)
def test_a_file_is_framed_like_any_piece_of_the_body(
    more: bool,
    request_bytes: bytes,
    fields: list[tuple[bytes, bytes]],
    size: int,
    expected: tuple[bytes, int, bytes],
):
    connection = after(request_bytes)
    connection.response.start_response(200, fields)
    before, sent, behind = connection.response.frame_file(size, more)

    is_chunked = request_bytes is GET and not fields
    assert (before, sent, behind.removesuffix(b"0\r\n\r\n")) == expected
    assert behind.endswith(b"0\r\n\r\n") == (is_chunked and not more)
    assert connection.response.body_sent == sent
    assert (connection.response.writing is Writing.DONE) == (not more)
    assert connection.response.short == (2 if size == 3 and not more else 0)


def test_pieces_and_files_share_a_length():
    connection = after(GET)
    connection.response.start_response(200, [LENGTH_5])
    connection.response.send_body(b"h", True)
    assert (connection.response.frame_file(2, True), connection.response.left_to_write) == ((b"", 2, b""), 2)
    connection.response.send_body(b"l", True)

    assert connection.response.frame_file(100, False) == (b"", 1, b"")
    assert state(connection) == (Writing.DONE, 5, True)


def test_outside_of_a_body_there_is_no_file():
    connection, answered = after(GET), after(GET)
    answered.response.respond(200, [], b"")
    for one in (connection, answered):
        with pytest.raises(AppMistake):
            one.response.frame_file(5, False)


def test_bytes_that_a_file_had_lost_end_the_connection():
    connection = after(GET)
    connection.response.start_response(200, [LENGTH_5])
    connection.response.frame_file(5, False)
    assert connection.keeps_alive
    connection.response.fall_short(2)

    assert state(connection) == (Writing.DONE, 3, False)
    assert (connection.response.short, connection.response.closes) == (2, True)


def test_how_much_of_a_body_may_follow_is_known():
    for request_bytes, status, fields, left in (
        (GET, 200, [LENGTH_5], 5),
        (GET, 200, [], -1),
        (GET_1_0, 200, [], -1),
        (HEAD, 200, [LENGTH_5], 0),
        (GET, 204, [], 0),
        (GET, 304, [LENGTH_5], 0),
    ):
        connection = after(request_bytes)
        connection.response.start_response(status, fields)
        assert connection.response.left_to_write == left
        assert connection.response.is_bodiless == (left == 0)

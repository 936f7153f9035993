"""The response side: whatever the application says, a strict client reads it in one way only."""

from collections import Counter

import pytest

from appserve.asgi.scope import AsgiFields, Field, Headers
from appserve.errors import AppMistake, Rejected
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Event, Limits
from appserve.wsgi.environ import CgiFields, CgiVariables, Header
from tests.conformance.answer import Answer, Mistake
from tests.conformance.case import CLOSES, get, head, post
from tests.conformance.core import DATE_FIELDS, make_connection
from tests.conformance.corpus import ANSWERS
from tests.conformance.wire import Response, read_response

SHARED = AsgiFields()


def connection_after(request: bytes) -> Http1Connection[Headers, Field]:
    """A connection that has read this request, up to its END if it is all there."""
    connection = make_connection(Limits(), SHARED)
    connection.receive_data(request)
    pull(connection)
    return connection


def pull(connection: Http1Connection[Headers, Field]) -> None:
    while connection.next_event() not in {Event.END, Event.NEED_DATA}:
        pass


def answer_in_bytes(answer: Answer) -> tuple[Http1Connection[Headers, Field], bytes, AppMistake | None]:
    """The connection after this response, what was written, and the mistake that ended it if any."""
    connection = connection_after(answer.request)
    written = []
    try:
        if isinstance(answer.body, bytes):
            written.append(connection.response.respond(answer.status, answer.fields, answer.body))
        else:
            written.append(connection.response.start_response(answer.status, answer.fields))
            for number, piece in enumerate(answer.body, 1):
                written.append(connection.response.send_body(piece, number < len(answer.body)))
    except AppMistake as mistake:
        return connection, b"".join(written), mistake
    return connection, b"".join(written), None


def read_only_response(written: bytes, request: bytes = b"GET / HTTP/1.1") -> Response:
    """The one response that these bytes are."""
    method, _, version = request.partition(b"\r\n")[0].decode().split()
    read = read_response(written, method, version.removeprefix("HTTP/"), ended=True)
    assert read is not None, f"incomplete: {written!r}"
    response, rest = read
    assert rest == b""
    return response


every_answer = pytest.mark.parametrize("answer", ANSWERS, ids=[answer.name for answer in ANSWERS])


def test_names_are_unique():
    counts = Counter(answer.name for answer in ANSWERS)

    assert not [name for name, count in counts.items() if count > 1]


@every_answer
def test_answer(answer: Answer):
    connection, written, mistake = answer_in_bytes(answer)

    if answer.mistake is Mistake.HEAD:
        assert mistake is not None
        assert written == b""
        sorry = connection.response.respond(500, [(b"content-type", b"text/plain")], b"sorry")
        assert (read_only_response(sorry).status, read_only_response(sorry).body) == (500, b"sorry")
    elif answer.mistake is Mistake.BODY:
        assert mistake is not None
        read = read_response(written, "GET", ended=True)
        assert read is None or read[1] == b"", "more than was announced"
        connection.response.abandon_response()
        assert not connection.keeps_alive
    else:
        assert mistake is None
        assert (answer.then is CLOSES) == (not connection.keeps_alive)
        assert answer.short == connection.response.short
        check_client_reads(answer, written)


def check_client_reads(answer: Answer, written: bytes) -> None:
    if answer.framing == "short":
        assert read_response(written, "GET", ended=True) is None, "a client could take it for complete"
        assert written.endswith(b"\r\n\r\n" + answer.received)
        return
    response = read_only_response(written, answer.request)
    assert (answer.status, answer.framing, answer.received) == (
        response.status,
        response.framing,
        response.body,
    )
    # A response that turns out short only in its body cannot say close in its head.
    assert response.closes == (answer.then is CLOSES)
    for name, values in answer.has:
        assert (name, values) == (name, tuple(response.values(name)))


@every_answer
def test_answer_of_a_wsgi_application(answer: Answer):
    """Fields of str make the same bytes."""
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.fields]
    connection: Http1Connection[CgiVariables, Header] = Http1Connection(Limits(), CgiFields(), DATE_FIELDS)
    connection.receive_data(answer.request)
    while connection.next_event() is not Event.END:
        pass
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    in_bytes = Answer(**{name: getattr(answer, name) for name in Answer.__slots__} | {"body": body})
    _, expected, mistake = answer_in_bytes(in_bytes)

    try:
        written = connection.response.respond(answer.status, fields, body)
    except AppMistake:
        assert mistake is not None
    else:
        assert expected == written


@every_answer
def test_the_next_response_is_not_touched(answer: Answer):
    connection, _, mistake = answer_in_bytes(answer)
    if mistake is not None or not connection.keeps_alive:
        return
    connection.start_next_cycle()
    connection.receive_data(get())
    pull(connection)

    written = connection.response.start_response(200, []) + connection.response.send_body(b"next", False)

    response = read_only_response(written)
    assert (
        response.status,
        response.body,
        response.framing,
        response.closes,
    ) == (200, b"next", "chunked", False)


# ── order ──


def test_a_second_response_is_a_mistake():
    connection = connection_after(get())
    connection.response.start_response(200, [])

    with pytest.raises(AppMistake):
        connection.response.start_response(200, [])
    with pytest.raises(AppMistake):
        connection.response.respond(200, [], b"")


def test_a_body_before_its_head_is_a_mistake():
    with pytest.raises(AppMistake):
        connection_after(get()).response.send_body(b"a", True)


def test_a_body_after_its_end_is_a_mistake():
    connection = connection_after(get())
    connection.response.respond(200, [], b"a")

    with pytest.raises(AppMistake):
        connection.response.send_body(b"b", True)


def test_a_rejection_after_the_head_writes_nothing():
    connection = connection_after(get())
    connection.response.start_response(200, [])

    assert connection.response.reject(400, "late") == b""
    assert not connection.keeps_alive


def test_a_mistake_in_the_head_leaves_no_trace_of_it():
    connection = connection_after(get())
    with pytest.raises(AppMistake):
        connection.response.respond(200, [(b"connection", b"close"), (b"date", b"never"), (b"x", b"\n")], b"")

    response = read_only_response(connection.response.respond(500, [], b""))

    assert response.values(b"date") == [b"Sun, 09 Sep 2001 01:46:40 GMT"]


def test_a_drain_ends_the_connection_with_this_response():
    connection = connection_after(get())
    connection.response.close_after_response()

    assert read_only_response(connection.response.respond(200, [(b"content-length", b"0")], b"")).closes
    assert not connection.keeps_alive


# ── interim responses (RFC 9110 §15.2) ──


def test_continue_is_a_bare_head():
    connection = connection_after(post("Expect: 100-continue", "Content-Length: 5"))

    assert connection.response.send_informational(100, []) == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_early_hints_come_before_the_response():
    connection = connection_after(get())
    hints = connection.response.send_informational(103, [(b"link", b"</a.css>; rel=preload")])
    written = hints + connection.response.respond(200, [], b"hello")

    first = read_response(written, "GET")
    assert first is not None
    assert (first[0].status, first[0].values(b"link")) == (103, [b"</a.css>; rel=preload"])
    assert read_only_response(first[1]).body == b"hello"


def test_early_hints_have_no_framing():
    """RFC 9112 §6.1, RFC 9110 §8.6: neither field in a 1xx; connection options are ours."""
    fields = [(b"content-length", b"5"), (b"transfer-encoding", b"chunked"), (b"connection", b"close")]

    hints = read_only_response(connection_after(get()).response.send_informational(103, fields))

    assert hints.fields == ()


def test_interim_responses_are_not_sent_to_http_1_0():
    connection = connection_after(head("GET / HTTP/1.0"))

    assert connection.response.send_informational(103, [(b"link", b"</a.css>")]) == b""


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\0"])
def test_a_split_early_hint_is_a_mistake(value: bytes):
    with pytest.raises(AppMistake):
        connection_after(get()).response.send_informational(103, [(b"link", value)])


def test_an_interim_response_after_the_head_is_a_mistake():
    connection = connection_after(get())
    connection.response.start_response(200, [])

    with pytest.raises(AppMistake):
        connection.response.send_informational(103, [])


# ── a response before the end of the request ──


def test_a_response_before_the_body_waits_for_the_body():
    connection = connection_after(post("Content-Length: 5"))
    connection.response.respond(200, [], b"early")
    assert not connection.keeps_alive

    connection.receive_data(b"hello" + get())
    pull(connection)

    assert connection.keeps_alive


def test_a_final_response_instead_of_100_closes():
    """RFC 9110 §10.1.1: whether the body still comes cannot be known."""
    connection = connection_after(post("Expect: 100-continue", "Content-Length: 5"))

    assert read_only_response(connection.response.respond(403, [], b"no")).closes
    assert not connection.keeps_alive


def test_a_response_after_100_and_the_body_keeps_the_connection():
    connection = connection_after(post("Expect: 100-continue", "Content-Length: 5"))
    connection.response.send_informational(100, [])
    connection.receive_data(b"hello")
    pull(connection)

    assert not read_only_response(connection.response.respond(200, [], b"yes")).closes
    assert connection.keeps_alive


def test_a_client_that_does_not_wait_for_100_keeps_the_connection():
    connection = connection_after(post("Expect: 100-continue", "Content-Length: 5") + b"hello")

    assert not read_only_response(connection.response.respond(200, [], b"yes")).closes


def test_a_refusal_to_head_has_no_body():
    """RFC 9110 §9.3.2, as far as the method is known."""
    connection = connection_after(head("HEAD / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"))
    connection.receive_data(b"x\r\n")
    with pytest.raises(Rejected) as rejected:
        pull(connection)

    written = connection.response.reject(rejected.value.status, rejected.value.reason)

    assert read_only_response(written, b"HEAD / HTTP/1.1").status == 400

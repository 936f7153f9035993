"""What no one wrote down: whatever is sent or answered, nothing but Rejected and AppMistake comes of it.

The examples are the same in every run.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appserve.asgi.scope import asgi_fields
from appserve.errors import AppMistake
from appserve.http.http1 import Connection
from appserve.http.limits import Limits
from appserve.http.messages import CHUNKED, Event
from tests.conformance.accounting import account
from tests.conformance.case import DEFAULT, SMALL, SMUGGLED, get, head
from tests.conformance.core import STAMP, check_written, run, run_at_once
from tests.conformance.mutations import TOKENS, cut, nearly_requests
from tests.conformance.splits import byte_by_byte
from tests.conformance.wire import read_response

SHARED = {limits: asgi_fields() for limits in (DEFAULT, SMALL)}

quick = settings(
    max_examples=120, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
thorough = settings(quick, max_examples=300)


def check_any(data: bytes, pieces: list[bytes], eof: bool, limits: Limits) -> None:
    """Every property that holds for any bytes at all."""
    whole = run([data], eof, limits)

    assert whole == run(pieces, eof, limits, SHARED[limits])
    assert whole == run(byte_by_byte(data), eof, limits)
    assert whole == run_at_once(data, eof, limits)
    account(data, whole.requests, whole.refused)
    check_written(whole)


@thorough
@given(st.data(), st.booleans(), st.sampled_from([DEFAULT, SMALL]))
def test_nearly_requests(source: st.DataObject, eof: bool, limits: Limits):
    data = source.draw(nearly_requests())

    check_any(data, source.draw(cut(data)), eof, limits)


@quick
@given(st.data(), st.lists(st.sampled_from(TOKENS), max_size=30), st.booleans())
def test_tokens_in_any_order(source: st.DataObject, tokens: list[bytes], eof: bool):
    data = b"".join(tokens)

    check_any(data, source.draw(cut(data)), eof, DEFAULT)


@quick
@given(st.data(), st.binary(max_size=200), st.booleans())
def test_any_bytes(source: st.DataObject, data: bytes, eof: bool):
    check_any(data, source.draw(cut(data)), eof, DEFAULT)


@quick
@given(st.data(), st.lists(st.sampled_from(TOKENS), max_size=12))
def test_chunked_bodies_of_tokens(source: st.DataObject, tokens: list[bytes]):
    data = head("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked") + b"".join(tokens)

    check_any(data, source.draw(cut(data)), False, SMALL)


BODIES = st.one_of(
    st.binary(max_size=60), st.sampled_from([SMUGGLED, b"\r\n\r\n", b"0\r\n\r\n", get()]), st.none()
)


@st.composite
def good_requests(draw: st.DrawFn, number: int) -> tuple[bytes, str, bytes]:
    """(the bytes of a good request, its target, its body)."""
    body = draw(BODIES)
    target = f"/{number}"
    lines = [f"{draw(st.sampled_from(['GET', 'POST', 'HEAD']))} {target} HTTP/1.1", "Host: a"]
    lines += draw(st.lists(st.sampled_from(["X-A: 1", "Connection: upgrade", "Upgrade: h2c", "Cookie: a"])))
    if body is None:
        return head(*lines), target, b""
    if draw(st.booleans()):
        return head(*lines, f"Content-Length: {len(body)}") + body, target, body
    pieces = [piece for piece in draw(cut(body)) if piece]
    chunks = b"".join(b"%X;e=f\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    trailer = draw(st.sampled_from([b"", b"X-T: 1\r\n"]))
    return head(*lines, "Transfer-Encoding: chunked") + chunks + b"0\r\n" + trailer + b"\r\n", target, body


@quick
@given(st.data(), st.integers(1, 6))
def test_exactly_what_was_sent_is_seen(source: st.DataObject, count: int):
    sent = [source.draw(good_requests(number)) for number in range(count)]
    data = b"".join(text for text, _, _ in sent)

    outcome = run(source.draw(cut(data)), False, DEFAULT, SHARED[DEFAULT])

    assert [(target.encode(), body) for _, target, body in sent] == [
        (seen.target, seen.body) for seen in outcome.requests
    ]


# ── responses ──

NAMES = st.one_of(
    st.sampled_from(
        [
            b"content-length",
            b"Content-Length",
            b"transfer-encoding",
            b"connection",
            b"date",
            b"server",
            b"set-cookie",
            b"x-a",
            b"keep-alive",
        ]
    ),
    st.binary(max_size=4),
)
VALUES = st.one_of(
    st.sampled_from([b"0", b"2", b"5", b"chunked", b"close", b"keep-alive", b"", b" a "]),
    st.binary(max_size=6),
)
REQUESTS = st.sampled_from(
    [
        get(),
        get("Connection: close"),
        head("HEAD / HTTP/1.1", "Host: a"),
        head("GET / HTTP/1.0"),
        head("GET / HTTP/1.0", "Connection: keep-alive"),
        head("HEAD / HTTP/1.0", "Connection: keep-alive"),
    ]
)


@quick
@given(
    REQUESTS,
    st.one_of(st.sampled_from([200, 204, 205, 304, 404]), st.integers(-5, 1100)),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.lists(st.sampled_from([b"", b"a", b"ab", b"0\r\n\r\n"]), min_size=1, max_size=4),
    st.booleans(),
)
def test_any_response_is_read_in_one_way(
    request: bytes, status: int, fields: list[tuple[bytes, bytes]], pieces: list[bytes], whole: bool
):
    connection = Connection(DEFAULT, SHARED[DEFAULT], STAMP)
    connection.receive_data(request)
    while connection.next_event() is not Event.END:
        pass
    method, version = request[:4].decode().strip(), "1.0" if b"HTTP/1.0" in request else "1.1"
    written = b""
    finished = True
    try:
        if whole:
            written = connection.respond(status, fields, b"".join(pieces))
        else:
            written = connection.start_response(status, fields)
            for number, piece in enumerate(pieces, 1):
                written += connection.send_body(piece, number < len(pieces))
    except AppMistake:
        finished = False
        if not written:
            written = connection.respond(500, [], b"sorry")
            status, pieces, finished = 500, [b"sorry"], True

    read = read_response(written, method, version, ended=True)

    if read is None:
        assert connection.short or not finished
        assert not connection.keeps_alive
    else:
        response, rest = read
        assert rest == b""
        assert response.status == status
        assert response.body == (b"" if response.framing == "none" else b"".join(pieces)) or not finished
        assert response.closes or connection.keeps_alive or not finished


def test_the_accounting_finds_a_request_that_nobody_sent():
    """The checker itself: a body read as a request must not pass."""
    honest = run([get()], False, DEFAULT).requests
    hidden = head("POST / HTTP/1.1", "Host: a.example", f"Content-Length: {len(get())}") + get()
    body = run([hidden], False, DEFAULT).requests

    assert body[0].length != CHUNKED
    try:
        account(hidden, [*body, *honest])
    except AssertionError:
        return
    raise AssertionError("a smuggled request passed")

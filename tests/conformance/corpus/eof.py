"""The client ends its side, or stops sending."""

from tests.conformance.case import (
    CLOSES,
    ENDS,
    HOST,
    OPEN,
    WAITS,
    Case,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    seen_chunked,
    seen_get,
    seen_post,
)

CLEAN = "RFC 9112 §9.6: the end of a connection between two messages"
IN_HEAD = "RFC 9112 §8: an incomplete head may be answered 400"
IN_BODY = "RFC 9112 §8: an incomplete body is never passed as a complete one"

CHUNKED = post("Transfer-Encoding: chunked")


def _cut_head(name: str, sent: bytes) -> Case:
    return refused(f"the end {name}", IN_HEAD, sent, 400, eof=True)


def _cut_chunks(name: str, sent: bytes, body: bytes = b"") -> Case:
    return refused(f"the end {name}", IN_BODY, CHUNKED + sent, 400, seen_chunked(body, cut=True), eof=True)


CASES = (
    accepted("nothing", "RFC 9112 §9.3: an idle connection", b"", then=OPEN),
    accepted("the end at once", CLEAN, b"", then=ENDS, eof=True),
    accepted("the end after a request", CLEAN, get(), seen_get(), then=ENDS, eof=True),
    accepted(
        "the end after a body",
        CLEAN,
        post("Content-Length: 5") + b"hello",
        seen_post(b"hello"),
        then=ENDS,
        eof=True,
    ),
    accepted(
        "the end after a chunked body",
        CLEAN,
        CHUNKED + b"1\r\na\r\n0\r\n\r\n",
        seen_chunked(b"a"),
        then=ENDS,
        eof=True,
    ),
    accepted(
        "the end after three pipelined requests", CLEAN, get() * 3, *[seen_get()] * 3, then=ENDS, eof=True
    ),
    accepted("the end after an empty line", CLEAN, b"\r\n", then=ENDS, eof=True),
    accepted(
        "the end after a request and an empty line", CLEAN, get() + b"\r\n", seen_get(), then=ENDS, eof=True
    ),
    accepted(
        "the end after a request with close",
        CLEAN,
        get("Connection: close"),
        seen_get(),
        then=CLOSES,
        eof=True,
    ),
    accepted(
        "the end after a request in HTTP/1.0",
        CLEAN,
        head("GET / HTTP/1.0"),
        Request("GET / HTTP/1.0"),
        then=CLOSES,
        eof=True,
    ),
    _cut_head("in a method", b"GE"),
    _cut_head("in a target", b"GET /a"),
    _cut_head("in a version", b"GET / HTTP/1."),
    _cut_head("before the end of the request line", b"GET / HTTP/1.1"),
    _cut_head("inside the request line's CRLF", b"GET / HTTP/1.1\r"),
    _cut_head("after the request line", b"GET / HTTP/1.1\r\n"),
    _cut_head("in a field's name", head("GET / HTTP/1.1", HOST)[:-2] + b"X-"),
    _cut_head("in a field's value", head("GET / HTTP/1.1", HOST)[:-2] + b"X-A: a"),
    _cut_head("before the empty line", head("GET / HTTP/1.1", HOST)[:-2]),
    _cut_head("inside the empty line", head("GET / HTTP/1.1", HOST)[:-1]),
    _cut_head("inside an empty line before a request", b"\r"),
    refused("the end inside the second head", IN_HEAD, get() + get()[:-2], 400, seen_get(), eof=True),
    refused(
        "the end instead of a body",
        IN_BODY,
        post("Content-Length: 5"),
        400,
        seen_post(b"", length=5, cut=True),
        eof=True,
    ),
    refused(
        "the end inside a body",
        IN_BODY,
        post("Content-Length: 5") + b"hell",
        400,
        seen_post(b"hell", length=5, cut=True),
        eof=True,
    ),
    refused(
        "the end inside the body of a GET",
        IN_BODY,
        get("Content-Length: 5") + b"hell",
        400,
        seen_get(body=b"hell", length=5, cut=True),
        eof=True,
    ),
    refused(
        "the end inside the body of a request with close",
        IN_BODY,
        post("Connection: close", "Content-Length: 5") + b"h",
        400,
        seen_post(b"h", length=5, cut=True),
        eof=True,
    ),
    refused(
        "the end inside a body in HTTP/1.0",
        IN_BODY,
        head("POST / HTTP/1.0", "Content-Length: 5") + b"hell",
        400,
        Request("POST / HTTP/1.0", body=b"hell", length=5, cut=True),
        eof=True,
    ),
    refused(
        "the end instead of a body that waited for 100",
        IN_BODY,
        post("Expect: 100-continue", "Content-Length: 5"),
        400,
        seen_post(b"", length=5, expects_continue=True, cut=True),
        eof=True,
    ),
    _cut_chunks("instead of a chunk", b""),
    _cut_chunks("inside a chunk size", b"1"),
    _cut_chunks("inside the CRLF of a chunk size", b"1\r"),
    _cut_chunks("inside an extension", b"1;a"),
    _cut_chunks("after a chunk size", b"5\r\n"),
    _cut_chunks("inside chunk data", b"5\r\nhe", b"he"),
    _cut_chunks("before the CRLF of chunk data", b"5\r\nhello", b"hello"),
    _cut_chunks("inside the CRLF of chunk data", b"5\r\nhello\r", b"hello"),
    _cut_chunks("before the last chunk", b"5\r\nhello\r\n", b"hello"),
    _cut_chunks("inside the last chunk", b"5\r\nhello\r\n0", b"hello"),
    _cut_chunks("before the trailer section", b"5\r\nhello\r\n0\r\n", b"hello"),
    _cut_chunks("inside the trailer section", b"5\r\nhello\r\n0\r\nX-A: 1\r\n", b"hello"),
    _cut_chunks("inside the last CRLF", b"5\r\nhello\r\n0\r\n\r", b"hello"),
    accepted("half a request line", "RFC 9112 §3", b"GET /a", then=WAITS),
    accepted("half a head", "RFC 9112 §2.1", head("GET / HTTP/1.1", HOST)[:-2], then=WAITS),
    accepted(
        "half a body",
        "RFC 9112 §6.3",
        post("Content-Length: 5") + b"he",
        seen_post(b"he", length=5, cut=True),
        then=WAITS,
    ),
)

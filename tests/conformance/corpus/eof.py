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
    rule,
    seen_chunked,
    seen_get,
    seen_post,
)

CLEAN = "RFC 9112 §9.6: the end of a connection between two messages"
IN_HEAD = "RFC 9112 §8: an incomplete head may be answered 400"
IN_BODY = "RFC 9112 §8: an incomplete body is never passed as a complete one"

CHUNKED = post("Transfer-Encoding: chunked")


def _clean(name: str, sent: bytes, *requests: Request) -> Case:
    return accepted(f"the end {name}", CLEAN, sent, *requests, then=ENDS, eof=True)


def _cut_head(name: str, sent: bytes, *before: Request, method: str = "GET") -> Case:
    return refused(f"the end {name}", IN_HEAD, sent, 400, *before, eof=True, method=method)


def _cut_body(name: str, sent: bytes, request: Request) -> Case:
    return refused(f"the end {name}", IN_BODY, sent, 400, request, eof=True)


def _cut_chunks(name: str, sent: bytes, body: bytes = b"") -> Case:
    return _cut_body(name, CHUNKED + sent, seen_chunked(body, cut=True))


CASES = (
    *rule(
        "the end of the client's side between two requests: what was asked for is answered",
        CLEAN,
        "GET / HTTP/1.1",
        _clean("at once", b""),
        _clean("after a request", get(), seen_get()),
        _clean("after a body", post("Content-Length: 5") + b"hello", seen_post(b"hello")),
        _clean("after a chunked body", CHUNKED + b"1\r\na\r\n0\r\n\r\n", seen_chunked(b"a")),
        _clean("after three pipelined requests", get() * 3, *[seen_get()] * 3),
        _clean("after an empty line", b"\r\n"),
        _clean("after a request and an empty line", get() + b"\r\n", seen_get()),
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
    ),
    *rule(
        "the end inside a head",
        IN_HEAD,
        "GET / HTTP/1.1\\r\\nHost: a.example\\r\\nX-",
        _cut_head("in a method", b"GE"),
        _cut_head("in a target", b"GET /a"),
        _cut_head("in a version", b"GET / HTTP/1."),
        _cut_head("before the end of the request line", b"GET / HTTP/1.1"),
        _cut_head("inside the request line's CRLF", b"GET / HTTP/1.1\r"),
        _cut_head("after the request line", b"GET / HTTP/1.1\r\n"),
        _cut_head("in a field's name", get()[:-2] + b"X-"),
        _cut_head("in a field's value", get()[:-2] + b"X-A: a"),
        _cut_head("before the empty line", get()[:-2]),
        _cut_head("inside the empty line", get()[:-1]),
        _cut_head("inside an empty line before a request", b"\r"),
        _cut_head("inside the second head", get() + get()[:-2], seen_get()),
        _cut_head("inside a head of HEAD", head("HEAD / HTTP/1.1", HOST)[:-2], method="HEAD"),
        _cut_head("in a request line of HTTP/1.0", b"GET / HTTP/1.0\r\n"),
    ),
    *rule(
        "the end inside a body: the application is not called, or gets a disconnect",
        IN_BODY,
        "Content-Length: 5\\r\\n\\r\\nhell",
        _cut_body("instead of a body", post("Content-Length: 5"), seen_post(b"", length=5, cut=True)),
        _cut_body(
            "inside a body", post("Content-Length: 5") + b"hell", seen_post(b"hell", length=5, cut=True)
        ),
        _cut_body(
            "inside the body of a GET",
            get("Content-Length: 5") + b"hell",
            seen_get(body=b"hell", length=5, cut=True),
        ),
        _cut_body(
            "inside the body of a request with close",
            post("Connection: close", "Content-Length: 5") + b"h",
            seen_post(b"h", length=5, cut=True),
        ),
        _cut_body(
            "inside a body in HTTP/1.0",
            head("POST / HTTP/1.0", "Content-Length: 5") + b"hell",
            Request("POST / HTTP/1.0", body=b"hell", length=5, cut=True),
        ),
        _cut_body(
            "inside the body of an upgrade",
            post("Connection: upgrade", "Upgrade: h2c", "Content-Length: 5") + b"hell",
            seen_post(b"hell", length=5, cut=True, upgrade=b"h2c"),
        ),
        _cut_body(
            "instead of a body that waited for 100",
            post("Expect: 100-continue", "Content-Length: 5"),
            seen_post(b"", length=5, expects_continue=True, cut=True),
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
    ),
    *rule(
        "a request that has come in part, or nothing: waited for, see the timeouts",
        "RFC 9112 §8, §9.3",
        "GET /a",
        accepted("nothing", "RFC 9112 §9.3: an idle connection", b"", then=OPEN),
        accepted("half a request line", "RFC 9112 §3", b"GET /a", then=WAITS),
        accepted("half a head", "RFC 9112 §2.1", get()[:-2], then=WAITS),
        accepted(
            "half a body",
            "RFC 9112 §6.3",
            post("Content-Length: 5") + b"he",
            seen_post(b"he", length=5, cut=True),
            then=WAITS,
        ),
    ),
)

"""Several requests on one connection: answered in order, up to the first fault."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    SMUGGLED,
    WAITS,
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
from tests.conformance.corpus.request_line import TLS_HELLO

ORDER = "RFC 9112 §9.3.2: pipelined requests are answered in order"
GOOD_FIRST = "RFC 9112 §9.3.2: good requests before a fault are answered, nothing after it is a request"
SAME = "request mixing, RFC 9112 §9.3: each request is judged by itself, however like the one before"
AFTER_CLOSE = "RFC 9112 §9.6: no request after one with the close option is processed"

CHUNKED_HELLO = post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"


def _numbered(number: int) -> bytes:
    return head(f"GET /{number} HTTP/1.1", HOST)


CASES = (
    accepted(
        "two requests", ORDER, get("X-A: 1") + get("X-A: 2"), seen_get(("x-a", b"1")), seen_get(("x-a", b"2"))
    ),
    accepted(
        "fields do not leak into the next request",
        "request mixing, RFC 9112 §9.3",
        get("X-A: 1", "Cookie: a=1") + get("X-B: 2"),
        seen_get(("x-a", b"1")),
        seen_get(("x-a", None), ("cookie", None), ("x-b", b"2")),
    ),
    accepted(
        "fifty requests",
        ORDER,
        b"".join(map(_numbered, range(50))),
        *(Request(f"GET /{number} HTTP/1.1") for number in range(50)),
    ),
    accepted(
        "every framing in turn",
        ORDER,
        get()
        + post("Content-Length: 5")
        + b"hello"
        + CHUNKED_HELLO
        + post()
        + head("HEAD / HTTP/1.1", HOST)
        + post("Content-Length: 1")
        + b"a",
        seen_get(),
        seen_post(b"hello"),
        seen_chunked(b"hello"),
        seen_post(b""),
        Request("HEAD / HTTP/1.1"),
        seen_post(b"a"),
    ),
    accepted(
        "a body of requests, then requests",
        ORDER,
        post(f"Content-Length: {2 * len(SMUGGLED)}") + SMUGGLED * 2 + get() * 2,
        seen_post(SMUGGLED * 2),
        seen_get(),
        seen_get(),
    ),
    accepted(
        "an empty line between two requests",
        "RFC 9112 §2.2: old clients send one after a POST",
        post("Content-Length: 1") + b"a\r\n" + get(),
        seen_post(b"a"),
        seen_get(),
    ),
    accepted(
        "two empty lines between requests, each time",
        "RFC 9112 §2.2",
        (get() + b"\r\n\r\n") * 3 + get(),
        *[seen_get()] * 4,
    ),
    accepted(
        "the first half of a second request", "RFC 9112 §9.3.2", get() + get()[:20], seen_get(), then=WAITS
    ),
    accepted(
        "the head of a second request whose body is to come",
        "RFC 9112 §9.3.2",
        get() + post("Content-Length: 5") + b"he",
        seen_get(),
        seen_post(b"he", length=5, cut=True),
        then=WAITS,
    ),
    accepted(
        "a request after one with close",
        AFTER_CLOSE,
        get("Connection: close") + SMUGGLED,
        seen_get(),
        then=CLOSES,
    ),
    accepted(
        "a fault after a request with close",
        AFTER_CLOSE,
        get("Connection: close") + b"\0\0\0",
        seen_get(),
        then=CLOSES,
    ),
    accepted(
        "a body, close, and more",
        AFTER_CLOSE,
        post("Connection: close", "Content-Length: 5") + b"hello" + SMUGGLED,
        seen_post(b"hello"),
        then=CLOSES,
    ),
    accepted(
        "a request after one in HTTP/1.0",
        "RFC 9112 §9.3",
        head("GET / HTTP/1.0") + SMUGGLED,
        Request("GET / HTTP/1.0"),
        then=CLOSES,
    ),
    accepted(
        "HTTP/1.0 kept alive, then HTTP/1.1",
        "RFC 9112 §9.3, §C.2.2",
        head("GET / HTTP/1.0", "Connection: keep-alive") + get(),
        Request("GET / HTTP/1.0"),
        seen_get(),
    ),
    accepted(
        "HTTP/1.1, then HTTP/1.0",
        "RFC 9112 §9.3",
        get() + head("GET / HTTP/1.0") + SMUGGLED,
        seen_get(),
        Request("GET / HTTP/1.0"),
        then=CLOSES,
    ),
    accepted(
        "the same fields under another path, method and version",
        SAME,
        b"".join(
            head(line, HOST, "Connection: keep-alive")
            for line in (
                "GET /a HTTP/1.1",
                "POST /b?c HTTP/1.1",
                "GET /a HTTP/1.0",
                "HEAD /d HTTP/1.1",
                "GET /a HTTP/1.1",
            )
        ),
        Request("GET /a HTTP/1.1"),
        Request("POST /b?c HTTP/1.1"),
        Request("GET /a HTTP/1.0"),
        Request("HEAD /d HTTP/1.1"),
        Request("GET /a HTTP/1.1"),
    ),
    accepted(
        "the same fields in HTTP/1.1 and 1.0",
        SAME,
        get("X-A: 1") + head("GET / HTTP/1.0", HOST, "X-A: 1"),
        seen_get(("x-a", b"1")),
        Request("GET / HTTP/1.0", (("x-a", b"1"),)),
        then=CLOSES,
    ),
    accepted(
        "the same fields under absolute-form and origin-form",
        SAME,
        get()
        + head("GET http://b.example/ HTTP/1.1", HOST)
        + get()
        + head("GET http://c.example/ HTTP/1.1", HOST),
        seen_get(("host", b"a.example")),
        Request("GET http://b.example/ HTTP/1.1", (("host", b"b.example"),), raw_path="/"),
        seen_get(("host", b"a.example")),
        Request("GET http://c.example/ HTTP/1.1", (("host", b"c.example"),), raw_path="/"),
    ),
    accepted(
        "the same length with other bodies",
        SAME,
        post("Content-Length: 2")
        + b"ab"
        + post("Content-Length: 2")
        + b"cd"
        + post("Content-Length: 2")
        + b"\r\n"
        + get(),
        seen_post(b"ab"),
        seen_post(b"cd"),
        seen_post(b"\r\n"),
        seen_get(),
    ),
    accepted(
        "the same chunked request thrice",
        SAME,
        CHUNKED_HELLO * 3 + get(),
        *[seen_chunked(b"hello")] * 3,
        seen_get(),
    ),
    accepted(
        "the same expectation twice",
        SAME,
        (post("Expect: 100-continue", "Content-Length: 1") + b"a") * 2 + get(),
        *[seen_post(b"a", expects_continue=True)] * 2,
        seen_get(),
    ),
    accepted(
        "the same offer of an upgrade twice",
        SAME,
        get("Connection: upgrade", "Upgrade: h2c") * 2 + get(),
        *[seen_get(upgrade=b"h2c")] * 2,
        seen_get(),
    ),
    accepted(
        "a field less, a field more",
        SAME,
        get("X-A: 1", "X-B: 2") + get("X-A: 1") + get("X-A: 1", "X-B: 2"),
        seen_get(("x-b", b"2")),
        seen_get(("x-b", None)),
        seen_get(("x-b", b"2")),
    ),
    accepted(
        "the same request after one in HTTP/1.0 that was kept",
        SAME,
        get() + head("GET / HTTP/1.0", "Connection: keep-alive") + get() + get(),
        seen_get(),
        Request("GET / HTTP/1.0"),
        seen_get(),
        seen_get(),
    ),
    refused(
        "fields that were right in HTTP/1.0",
        SAME,
        head("GET / HTTP/1.0", "Connection: keep-alive") + head("GET / HTTP/1.1", "Connection: keep-alive"),
        400,
        Request("GET / HTTP/1.0"),
    ),
    refused(
        "fields that were right in HTTP/1.1",
        SAME,
        post("Connection: keep-alive", "Transfer-Encoding: chunked")
        + b"0\r\n\r\n"
        + head("POST / HTTP/1.0", HOST, "Connection: keep-alive", "Transfer-Encoding: chunked"),
        400,
        seen_chunked(b""),
    ),
    refused(
        "an expectation that was ignored in HTTP/1.0",
        SAME,
        head("GET / HTTP/1.0", HOST, "Connection: keep-alive", "Expect: rain")
        + get("Connection: keep-alive", "Expect: rain"),
        417,
        Request("GET / HTTP/1.0"),
    ),
    refused(
        "three empty lines between requests",
        "RFC 9112 §2.2: two is our bound",
        get() + b"\r\n\r\n\r\n" + get(),
        400,
        seen_get(),
    ),
    refused("a fault after a good request", GOOD_FIRST, get() + b"GET /\r\n" + SMUGGLED, 400, seen_get()),
    refused(
        "a fault after several requests with bodies",
        GOOD_FIRST,
        post("Content-Length: 1") + b"a" + CHUNKED_HELLO + head("GET / HTTP/1.1") + SMUGGLED,
        400,
        seen_post(b"a"),
        seen_chunked(b"hello"),
    ),
    refused(
        "a fault after HEAD",
        "RFC 9110 §9.3.2: the refusal answers no HEAD, so it has a body",
        head("HEAD / HTTP/1.1", HOST) + b"GET /\r\n",
        400,
        Request("HEAD / HTTP/1.1"),
    ),
    refused(
        "an unknown method after a good request",
        GOOD_FIRST,
        get() + head("BREW / HTTP/1.1", HOST) + SMUGGLED,
        501,
        seen_get(),
    ),
    refused(
        "another version after a good request",
        GOOD_FIRST,
        get() + head("GET / HTTP/2.0", HOST) + SMUGGLED,
        505,
        seen_get(),
    ),
    refused(
        "a fault in the second body",
        GOOD_FIRST,
        CHUNKED_HELLO + post("Transfer-Encoding: chunked") + b"x\r\n" + SMUGGLED,
        400,
        seen_chunked(b"hello"),
        seen_chunked(b"", cut=True),
    ),
    refused("TLS after a good request", GOOD_FIRST, get() + TLS_HELLO, 400, seen_get()),
    refused(
        "a body longer than its length",
        "RFC 9112 §6.3: the rest is the next request, and is none",
        post("Content-Length: 5") + b"hello{}",
        400,
        seen_post(b"hello"),
    ),
)

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
    rule,
    seen_chunked,
    seen_get,
    seen_post,
)

ORDER = "RFC 9112 §9.3.2: pipelined requests are answered in order"
SAME = "request mixing, RFC 9112 §9.3: each request is judged by itself, however like the one before"

CHUNKED_HELLO = post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"


def _numbered(number: int) -> bytes:
    return head(f"GET /{number} HTTP/1.1", HOST)


CASES = (
    *rule(
        "several requests at once, of every framing: answered in order",
        ORDER,
        "GET /0 HTTP/1.1",
        accepted(
            "two requests",
            ORDER,
            get("X-A: 1") + get("X-A: 2"),
            seen_get(("x-a", b"1")),
            seen_get(("x-a", b"2")),
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
            "HEAD and GET in turn",
            "RFC 9110 §9.3.2: no body answers HEAD, and one answers the GET after it",
            (head("HEAD / HTTP/1.1", HOST) + get()) * 2,
            *[Request("HEAD / HTTP/1.1"), seen_get()] * 2,
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
    ),
    *rule(
        "a request like the one before, in all but one thing: judged by itself",
        SAME,
        "GET / HTTP/1.1\\r\\nHost: a.example\\r\\nX-A: 1",
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
            get("X-A: 1") * 2 + head("GET / HTTP/1.0", HOST, "X-A: 1"),
            *[seen_get(("x-a", b"1"))] * 2,
            Request("GET / HTTP/1.0", (("x-a", b"1"),)),
            then=CLOSES,
        ),
        accepted(
            "the same fields under absolute-form and origin-form",
            SAME,
            get() * 2
            + head("GET http://b.example/ HTTP/1.1", HOST)
            + get()
            + head("GET http://c.example/ HTTP/1.1", HOST),
            *[seen_get(("host", b"a.example"))] * 2,
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
            "the same head again, its body still to come",
            SAME,
            (post("Content-Length: 5") + b"hello") * 2 + post("Content-Length: 5"),
            seen_post(b"hello"),
            seen_post(b"hello"),
            seen_post(b"", length=5, cut=True),
            then=WAITS,
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
            "an Upgrade that Connection does not name, twice",
            SAME,
            get("Upgrade: h2c") * 3 + get(),
            *[seen_get(upgrade=b"")] * 3,
            seen_get(),
        ),
        accepted(
            "a field less, a field more",
            SAME,
            get("X-A: 1", "X-B: 2") * 2 + get("X-A: 1") + get("X-A: 1", "X-B: 2"),
            *[seen_get(("x-b", b"2"))] * 2,
            seen_get(("x-b", None)),
            seen_get(("x-b", b"2")),
        ),
        accepted(
            "the same request after one in HTTP/1.0 that was kept",
            SAME,
            get() * 2 + head("GET / HTTP/1.0", "Connection: keep-alive") * 2 + get() + get(),
            *[seen_get()] * 2,
            *[Request("GET / HTTP/1.0")] * 2,
            seen_get(),
            seen_get(),
        ),
        accepted(
            "the fields of the request before, in a body",
            SAME + ": a reader that remembers the last head must not find it there",
            get("X-A: 1")
            + get("X-A: 1")
            + post("X-A: 1", f"Content-Length: {len(get('X-A: 1'))}")
            + get("X-A: 1"),
            *[seen_get(("x-a", b"1"))] * 2,
            seen_post(get("X-A: 1")),
        ),
    ),
    *rule(
        "such a request that is wrong where the one before was right",
        SAME,
        "GET / HTTP/1.0\\r\\nConnection: keep-alive\\r\\n\\r\\nGET",
        refused(
            "fields that were right in HTTP/1.0",
            SAME,
            head("GET / HTTP/1.0", "Connection: keep-alive") * 2
            + head("GET / HTTP/1.1", "Connection: keep-alive"),
            400,
            *[Request("GET / HTTP/1.0")] * 2,
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
            head("GET / HTTP/1.0", HOST, "Connection: keep-alive", "Expect: rain") * 2
            + get("Connection: keep-alive", "Expect: rain"),
            417,
            *[Request("GET / HTTP/1.0")] * 2,
        ),
        refused(
            "a length that was right for the request before",
            SAME,
            post("Content-Length: 5") + b"hello" + post("Content-Length: 5", "Content-Length: 5") + b"hello",
            400,
            seen_post(b"hello"),
        ),
    ),
)

"""Several requests on one connection: where the row of them ends."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    SMALL,
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
from tests.conformance.corpus.request_line import TLS_HELLO

GOOD_FIRST = "RFC 9112 §9.3.2: good requests before a fault are answered, nothing after it is a request"
AFTER_CLOSE = "RFC 9112 §9.6: no request after one with the close option is processed"

CHUNKED_HELLO = post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"


CASES = (
    *rule(
        "anything behind a request that ends the connection: never looked at",
        AFTER_CLOSE,
        "Connection: close\\r\\n\\r\\nGET /smuggled",
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
            "a body and more after a request in HTTP/1.0",
            "RFC 9112 §9.3: smuggling",
            head("POST / HTTP/1.0", "Content-Length: 5") + b"hello" + SMUGGLED,
            Request("POST / HTTP/1.0", body=b"hello", length=5),
            then=CLOSES,
        ),
    ),
    *rule(
        "a second request that has come in part: the first is answered meanwhile",
        "RFC 9112 §9.3.2",
        "GET / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\nPOST",
        accepted(
            "the first half of a second request",
            "RFC 9112 §9.3.2",
            get() + get()[:20],
            seen_get(),
            then=WAITS,
        ),
        accepted(
            "the head of a second request whose body is to come",
            "RFC 9112 §9.3.2",
            get() + post("Content-Length: 5") + b"he",
            seen_get(),
            seen_post(b"he", length=5, cut=True),
            then=WAITS,
        ),
    ),
    *rule(
        "a fault behind good requests: they are answered, then it is refused, and nothing behind it is read",
        GOOD_FIRST,
        "\\r\\n\\r\\nGET /\\r\\n",
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
            "a refusal of HEAD after a good request",
            "RFC 9110 §9.3.2: it has no body",
            get() + head("HEAD / HTTP/1.1"),
            400,
            seen_get(),
            method="HEAD",
        ),
        refused(
            "CONNECT after a good request",
            GOOD_FIRST,
            get() + head("CONNECT / HTTP/1.1", HOST) + SMUGGLED,
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
            "chunked in HTTP/1.0 after a good request",
            GOOD_FIRST,
            get() + head("POST / HTTP/1.0", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
            400,
            seen_get(),
        ),
        refused(
            "a body over the limit after a good one, and a request behind it",
            GOOD_FIRST,
            post("Content-Length: 1") + b"a" + post("Content-Length: 65") + b"a" * 65 + SMUGGLED,
            413,
            seen_post(b"a"),
            limits=SMALL,
        ),
        refused(
            "a fault in the second body",
            GOOD_FIRST,
            CHUNKED_HELLO + post("Transfer-Encoding: chunked") + b"x\r\n" + SMUGGLED,
            400,
            seen_chunked(b"hello"),
            seen_chunked(b"", cut=True),
        ),
        refused(
            "three empty lines between requests",
            "RFC 9112 §2.2: two is our bound",
            get() + b"\r\n\r\n\r\n" + get(),
            400,
            seen_get(),
        ),
        refused("TLS after a good request", GOOD_FIRST, get() + TLS_HELLO, 400, seen_get()),
        refused(
            "a body longer than its length",
            "RFC 9112 §6.3: the rest is the next request, and is none",
            post("Content-Length: 5") + b"hello{}",
            400,
            seen_post(b"hello"),
        ),
    ),
)

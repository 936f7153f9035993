"""The Expect field."""

from tests.conformance.case import (
    CLOSES,
    SMALL,
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

CONTINUE = "RFC 9110 §10.1.1"
OTHER = "RFC 9110 §10.1.1: 417 for any member but 100-continue"

CASES = (
    accepted(
        "100-continue",
        CONTINUE,
        post("Expect: 100-continue", "Content-Length: 5") + b"hello",
        seen_post(b"hello", expects_continue=True),
    ),
    accepted(
        "100-Continue in mixed case",
        CONTINUE + ": case-insensitive",
        post("Expect: 100-Continue", "Content-Length: 5") + b"hello",
        seen_post(b"hello", expects_continue=True),
    ),
    accepted(
        "100-continue with a chunked body",
        CONTINUE,
        post("Expect: 100-continue", "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n",
        seen_chunked(b"a", expects_continue=True),
    ),
    accepted(
        "100-continue with a chunked body that is empty",
        CONTINUE,
        post("Expect: 100-continue", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + get(),
        seen_chunked(b"", expects_continue=True),
        seen_get(),
    ),
    accepted(
        "100-continue without a body",
        CONTINUE + ": no content, nothing to wait for",
        get("Expect: 100-continue"),
        seen_get(),
    ),
    accepted(
        "100-continue with a body of no bytes",
        CONTINUE,
        post("Expect: 100-continue", "Content-Length: 0"),
        seen_post(b""),
    ),
    accepted(
        "100-continue, then another request",
        CONTINUE,
        post("Expect: 100-continue", "Content-Length: 1") + b"a" + get(),
        seen_post(b"a", expects_continue=True),
        seen_get(),
    ),
    accepted(
        "the application sees Expect",
        "RFC 9110 §10.1.1",
        post("Expect: 100-continue", "Content-Length: 1") + b"a",
        seen_post(b"a", ("expect", b"100-continue"), expects_continue=True),
    ),
    accepted(
        "100-continue in HTTP/1.0",
        CONTINUE + ": ignored in HTTP/1.0",
        head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1") + b"a",
        Request("POST / HTTP/1.0", body=b"a", length=1),
        then=CLOSES,
    ),
    accepted(
        "another expectation in HTTP/1.0",
        CONTINUE + ": ignored in HTTP/1.0",
        head("GET / HTTP/1.0", "Expect: rain"),
        Request("GET / HTTP/1.0"),
        then=CLOSES,
    ),
    *(
        refused(f"Expect: {value}", OTHER, post(f"Expect: {value}", "Content-Length: 5") + b"hello", 417)
        for value in (
            "rain",
            "200-ok",
            "100-continued",
            "100",
            "100-continue;a=b",
            "100-continue, rain",
            "rain, 100-continue",
            "payment=1",
        )
    ),
    refused(
        "two lines of Expect, one unknown",
        OTHER,
        post("Expect: 100-continue", "Expect: rain", "Content-Length: 5"),
        417,
    ),
    refused("another expectation without a body", OTHER, get("Expect: rain"), 417),
    refused(
        "100-continue with a body over the limit",
        "RFC 9110 §10.1.1: a final status instead of 100",
        post("Expect: 100-continue", "Content-Length: 65"),
        413,
        limits=SMALL,
    ),
    refused(
        "100-continue with ambiguous framing",
        "RFC 9112 §6.3: smuggling comes before the expectation",
        post("Expect: 100-continue", "Content-Length: 5", "Transfer-Encoding: chunked"),
        400,
    ),
)

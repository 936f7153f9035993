"""The Expect field."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    SMALL,
    SMUGGLED,
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

CONTINUE = "RFC 9110 §10.1.1"
OTHER = "RFC 9110 §10.1.1: 417 for any member but 100-continue"
IGNORED = CONTINUE + ": ignored in HTTP/1.0"
LIST = "RFC 9110 §10.1.1: a list; §5.6.1: empty elements are ignored"
FIRST = "RFC 9112 §6.3: smuggling comes before the expectation"

CASES = (
    *rule(
        "`Expect: 100-continue`, in any case; a 100 is sent when the body has not come yet",
        CONTINUE,
        "Expect: 100-Continue",
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
            "100-continue, then another request",
            CONTINUE,
            post("Expect: 100-continue", "Content-Length: 1") + b"a" + get(),
            seen_post(b"a", expects_continue=True),
            seen_get(),
        ),
        accepted(
            "100-continue of a GET, with a body that is a request",
            "smuggling (0.CL by Expect), RFC 9110 §10.1.1: the body is a body",
            get("Expect: 100-continue", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + get(),
            seen_get(body=SMUGGLED, length=len(SMUGGLED), expects_continue=True),
            seen_get(),
        ),
        accepted(
            "the application sees Expect",
            CONTINUE,
            post("Expect: 100-continue", "Content-Length: 1") + b"a",
            seen_post(b"a", ("expect", b"100-continue"), expects_continue=True),
        ),
        accepted(
            "100-continue twice",
            LIST,
            post("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 1") + b"a",
            seen_post(b"a", expects_continue=True),
        ),
        accepted(
            "100-continue in a list with empty elements",
            LIST,
            post("Expect: , 100-continue ,100-continue,", "Content-Length: 1") + b"a",
            seen_post(b"a", expects_continue=True),
        ),
    ),
    *rule(
        "`Expect` without a body to wait for, or without a member",
        CONTINUE + ": no content, nothing to wait for",
        "Expect: 100-continue\\r\\nContent-Length: 0",
        accepted("100-continue without a body", CONTINUE, get("Expect: 100-continue"), seen_get()),
        accepted(
            "100-continue with a body of no bytes",
            CONTINUE,
            post("Expect: 100-continue", "Content-Length: 0"),
            seen_post(b""),
        ),
        accepted("an empty Expect", LIST, post("Expect:", "Content-Length: 1") + b"a", seen_post(b"a")),
        accepted(
            "an Expect of empty elements",
            LIST,
            post("Expect: ,", "Content-Length: 1") + b"a",
            seen_post(b"a"),
        ),
    ),
    *rule(
        "any `Expect` in HTTP/1.0: ignored",
        IGNORED,
        "GET / HTTP/1.0\\r\\nExpect: rain",
        accepted(
            "100-continue in HTTP/1.0",
            IGNORED,
            head("POST / HTTP/1.0", "Expect: 100-continue", "Content-Length: 1") + b"a",
            Request("POST / HTTP/1.0", body=b"a", length=1),
            then=CLOSES,
        ),
        accepted(
            "another expectation in HTTP/1.0",
            IGNORED,
            head("GET / HTTP/1.0", "Expect: rain"),
            Request("GET / HTTP/1.0"),
            then=CLOSES,
        ),
    ),
    *rule(
        "an expectation other than `100-continue`",
        OTHER,
        "Expect: 200-ok",
        *(
            refused(f"Expect: {value}", OTHER, post(f"Expect: {value}", "Content-Length: 5") + b"hello", 417)
            for value in (
                "rain",
                "200-ok",
                "100-continued",
                "y 100-continue",
                "100-continue y",
                "100",
                "100-continue;a=b",
                "100-continue=1",
                '"100-continue"',
                "100-continue, rain",
                "rain, 100-continue",
                "payment=1",
                "100-continue\xa0",
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
            "another expectation of HEAD",
            OTHER + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1", HOST, "Expect: rain"),
            417,
            method="HEAD",
        ),
        refused(
            "another expectation, and a request behind its body",
            OTHER + "; whether the body comes cannot be known, so nothing behind it is a request: smuggling",
            post("Expect: rain", "Content-Length: 5") + b"hello" + SMUGGLED,
            417,
        ),
    ),
    *rule(
        "`Expect: 100-continue` with a body over `limit_request_body`",
        CONTINUE + ": a final status instead of 100",
        "Expect: 100-continue\\r\\nContent-Length: 65",
        refused(
            "100-continue with a body over the limit",
            CONTINUE + ": a final status instead of 100",
            post("Expect: 100-continue", "Content-Length: 65"),
            413,
            limits=SMALL,
        ),
    ),
    *rule(
        "`Expect` in a request that is ambiguous or malformed otherwise",
        FIRST,
        "Expect: rain\\r\\nContent-Length: x",
        refused(
            "100-continue with ambiguous framing",
            FIRST,
            post("Expect: 100-continue", "Content-Length: 5", "Transfer-Encoding: chunked"),
            400,
        ),
        refused(
            "another expectation with a malformed length",
            FIRST,
            post("Expect: rain", "Content-Length: x"),
            400,
        ),
        refused(
            "100-continue in a fold",
            "RFC 9112 §5.2: obs-fold: smuggling",
            post("Expect:", " 100-continue", "Content-Length: 1") + b"a",
            400,
        ),
    ),
)

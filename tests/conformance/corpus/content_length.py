"""Where a request's body ends by Content-Length, and without any framing field."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    SMUGGLED,
    Case,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    rule,
    seen_get,
    seen_post,
)

LENGTH = "RFC 9110 §8.6: Content-Length = 1*DIGIT"
TWICE = "RFC 9112 §6.3: several lengths are refused, or taken if all are equal; we take none: smuggling"
HIDDEN = "smuggling (0.CL, CL.0): one reader takes this line for a length, another does not"
OVERFLOW = "integer overflow, RFC 9110 §8.6"

NOT_DIGITS = (
    "+5",
    "-5",
    "-0",
    "0x5",
    "5h",
    "5.0",
    "5e0",
    "5a",
    "a",
    "5 5",
    "5\t5",
    "5;",
    "5;5",
    '"5"',
    "'5'",
    "(5)",
    "5_0",
    "_5",
    "5'0",
    "0b101",
    "0o5",
    "\xb2",
    "\xd9\xa5",
    "\xe0\xa5\xab",
    "5\xa0",
    "\xa05",
    "\x0b5",
    "5\x0c",
    "5\0",
    "\x005",
    "5\r",
    "5\n",
    "",
    " ",
)

HIDING = (
    "Content-Length : 5",
    "Content-Length\t: 5",
    " Content-Length: 5",
    "\tContent-Length: 5",
    "Content-Length\0: 5",
    "\0Content-Length: 5",
    "Content-Length\x0b: 5",
    "\x0bContent-Length: 5",
    "Content-Length\xa0: 5",
    "\xa0Content-Length: 5",
    "Content-Length\r: 5",
    "Content Length: 5",
    '"Content-Length": 5',
    "Content-Length;: 5",
    "Content-Length 5",
    "Content-Length",
    "X-A: 1\nContent-Length: 5",
    "X-A: 1\rContent-Length: 5",
    "X-A: 1\r\n\tContent-Length: 5",
)


def _framed(method: str, rfc: str) -> Case:
    """A request of this method, its body, and another request."""
    return accepted(
        f"a {method} with a body",
        rfc + ": no meaning here, and still framed: smuggling (CL.0)",
        head(f"{method} / HTTP/1.1", HOST, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + get(),
        Request(f"{method} / HTTP/1.1", body=SMUGGLED, length=len(SMUGGLED)),
        seen_get(),
    )


def _bad(name: str, why: str, *lines: str, status: int = 400) -> Case:
    """A POST with these lines and five bytes behind, refused."""
    return refused(name, why, post(*lines) + b"hello", status)


TRACE = "RFC 9110 §9.3.8: a client must not send content in TRACE; smuggling (CL.0)"

CASES = (
    *rule(
        "no framing field: no body, whatever the method",
        "RFC 9112 §6.3: length zero",
        "POST / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n",
        accepted(
            "no body", "RFC 9112 §6.3: no framing field, length zero", get("X-A: 1"), seen_get(length=0)
        ),
        accepted("a POST without a length has no body", "RFC 9112 §6.3", post(), seen_post(b"")),
    ),
    *rule(
        "`TRACE` with a body",
        TRACE,
        "TRACE / HTTP/1.1",
        refused(
            "a TRACE with a body",
            TRACE,
            head("TRACE / HTTP/1.1", HOST, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
            400,
        ),
        refused(
            "a TRACE with a chunked body",
            TRACE,
            head("TRACE / HTTP/1.1", HOST, "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
            400,
        ),
        refused(
            "a TRACE with a body in HTTP/1.0",
            TRACE,
            head("TRACE / HTTP/1.0", "Content-Length: 1") + b"a",
            400,
        ),
        refused(
            "a TRACE with a body after a good request",
            TRACE,
            get() + head("TRACE / HTTP/1.1", HOST, "Content-Length: 1") + b"a",
            400,
            seen_get(),
        ),
    ),
    *rule(
        "`TRACE` without a body",
        "RFC 9110 §9.3.8",
        "TRACE / HTTP/1.1",
        *(
            accepted(
                f"a TRACE with {lines or 'no length'}",
                "RFC 9110 §9.3.8",
                head("TRACE / HTTP/1.1", HOST, *lines) + get(),
                Request("TRACE / HTTP/1.1"),
                seen_get(),
            )
            for lines in ((), ("Content-Length: 0",))
        ),
    ),
    *rule(
        "a body of a length in decimal digits, of any method",
        LENGTH + "; RFC 9110 §9.3.1: no meaning in a GET, and still framed",
        "Content-Length: 0010",
        accepted("a length of zero", LENGTH, post("Content-Length: 0"), seen_post(b"")),
        accepted(
            "a length between blanks",
            "RFC 9112 §5: OWS",
            post("Content-Length: \t 5 \t") + b"hello",
            seen_post(b"hello"),
        ),
        accepted(
            "a length with leading zeros is decimal",
            LENGTH + ", not octal",
            post("Content-Length: 0010") + b"0123456789",
            seen_post(b"0123456789"),
        ),
        accepted(
            "a length of many zeros",
            LENGTH,
            post("Content-Length: 00000000000000000000") + get(),
            seen_post(b""),
            seen_get(),
        ),
        accepted(
            "a body of five bytes",
            LENGTH,
            post("Content-Length: 5") + b"hello",
            seen_post(b"hello", ("content-length", b"5")),
        ),
        accepted(
            "CONTENT-LENGTH in capitals",
            "RFC 9110 §5.1: names are case-insensitive",
            post("CONTENT-LENGTH: 5") + b"hello" + get(),
            seen_post(b"hello"),
            seen_get(),
        ),
        _framed("GET", "RFC 9110 §9.3.1"),
        _framed("HEAD", "RFC 9110 §9.3.2"),
        _framed("DELETE", "RFC 9110 §9.3.5"),
        _framed("OPTIONS", "RFC 9110 §9.3.7"),
        accepted(
            "a body that looks like a request",
            "RFC 9112 §6.3",
            post(f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
            seen_post(SMUGGLED),
        ),
        accepted(
            "a body of every byte value",
            "RFC 9110 §6.4",
            post("Content-Length: 256") + bytes(range(256)),
            seen_post(bytes(range(256))),
        ),
        accepted(
            "a body of line ends",
            "RFC 9112 §6.3",
            post("Content-Length: 8") + b"\r\n\r\n\r\n\r\n",
            seen_post(b"\r\n\r\n\r\n\r\n"),
        ),
        accepted(
            "a body in HTTP/1.0",
            "RFC 1945 §7.2.2",
            head("POST / HTTP/1.0", "Content-Length: 5") + b"hello",
            Request("POST / HTTP/1.0", body=b"hello", length=5),
            then=CLOSES,
        ),
        accepted(
            "Content-Encoding does not frame",
            "RFC 9110 §8.4",
            post("Content-Encoding: chunked", "Content-Length: 5") + b"hello",
            seen_post(b"hello"),
        ),
    ),
    *rule(
        "bytes behind a request without a length: they are the next request, and have to be one",
        "RFC 9112 §6.3: length zero",
        "\\r\\n\\r\\na=1&b=2",
        refused(
            "bytes after a POST without a length are no body",
            "RFC 9112 §6.3: length zero; what follows is read as a request, and is none",
            post() + b"a=1&b=2\r\n\r\n",
            400,
            seen_post(b""),
        ),
        refused(
            "bytes after a body of length zero",
            "RFC 9112 §6.3: smuggling (CL.0)",
            post("Content-Length: 0") + b"hello\r\n" + SMUGGLED,
            400,
            seen_post(b""),
        ),
    ),
    *rule(
        "a `Content-Length` with anything but digits: a sign, `0x`, `_`, a quote, digits of other scripts",
        LENGTH,
        "Content-Length: +5",
        *(_bad(f"Content-Length: {value!r}", LENGTH, f"Content-Length: {value}") for value in NOT_DIGITS),
        _bad("a length folded over two lines", "RFC 9112 §5.2: obs-fold", "Content-Length: 5", " 5"),
        _bad("a length in a fold", "RFC 9112 §5.2: obs-fold", "Content-Length:", " 5"),
    ),
    *rule(
        "a `Content-Length` of 19 digits or more, besides zeros in front",
        OVERFLOW,
        "Content-Length: 18446744073709551621",
        _bad("a length of 2^63", OVERFLOW, "Content-Length: 9223372036854775808"),
        _bad("a length of 2^64 + 5", OVERFLOW, "Content-Length: 18446744073709551621"),
        _bad("a length of 400 digits", OVERFLOW, "Content-Length: " + "9" * 400),
    ),
    *rule(
        "`Content-Length` twice or as a list, equal or not",
        TWICE,
        "Content-Length: 5\\r\\nContent-Length: 6",
        _bad("two different lengths", TWICE, "Content-Length: 5", "Content-Length: 6"),
        _bad("two equal lengths", TWICE, "Content-Length: 5", "Content-Length: 5"),
        _bad("two equal lengths, one in capitals", TWICE, "Content-Length: 5", "CONTENT-LENGTH: 5"),
        _bad("two spellings of one length", TWICE, "Content-Length: 5", "Content-Length: 05"),
        refused(
            "two lengths, one zero",
            TWICE,
            post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
            400,
        ),
        refused(
            "two lengths, the second zero",
            TWICE,
            post(f"Content-Length: {len(SMUGGLED)}", "Content-Length: 0") + SMUGGLED,
            400,
        ),
        _bad("two lengths, one empty", TWICE, "Content-Length:", "Content-Length: 5"),
        _bad("two lengths, one malformed", TWICE, "Content-Length: 5", "Content-Length: x"),
        _bad("a list of equal lengths", TWICE, "Content-Length: 5, 5"),
        _bad("a list of different lengths", TWICE, "Content-Length: 5,6"),
        _bad("a comma after the length", TWICE, "Content-Length: 5,"),
        _bad("a comma before the length", TWICE, "Content-Length: ,5"),
        refused(
            "two lengths in HTTP/1.0",
            TWICE,
            head("POST / HTTP/1.0", "Content-Length: 5", "Content-Length: 6") + b"hello",
            400,
        ),
        refused(
            "two lengths of HEAD",
            TWICE + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1", HOST, "Content-Length: 5", "Content-Length: 6") + b"hello",
            400,
            method="HEAD",
        ),
    ),
    *rule(
        "`Content-Length` in a malformed line",
        HIDDEN,
        "Content-Length : 5",
        *(
            refused(
                f"a length in {line!r}",
                HIDDEN,
                post(line, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
                400,
            )
            for line in HIDING
        ),
        *(refused(f"only a length in {line!r}", HIDDEN, post(line) + b"hello", 400) for line in HIDING),
    ),
)

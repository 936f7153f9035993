"""How much is accepted; what passes the limits is refused as soon as it does."""

from tests.conformance.case import (
    HOST,
    SMALL,
    SMUGGLED,
    UNLIMITED,
    WAITS,
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

LINE = "RFC 9112 §3: 414 for a request line over the limit; 8000 bytes are to be expected"
FIELDS = "RFC 6585 §5: 431 for a field that is too large, or too many"
BODY = "RFC 9110 §15.5.14: 413, before the body"
WHOLE = "RFC 6585 §5: 431 for all fields together: one silent connection may not pin 800 KB"
EARLY = "; refused before its end"
FIRST = ": the first fault counts"


def _line(length: int) -> str:
    """A request line of this many bytes."""
    return "GET /" + "a" * (length - len("GET / HTTP/1.1")) + " HTTP/1.1"


def _fields(number: int) -> tuple[str, ...]:
    return tuple(f"X-{index}: 1" for index in range(number))


def _small(name: str, why: str, sent: bytes, status: int, *before: Request, method: str = "GET") -> Case:
    return refused(name, why, sent, status, *before, limits=SMALL, method=method)


CASES = (
    *rule(
        "a request up to the limits",
        LINE,
        "GET /aaaaaaaa",
        accepted(
            "a request line of the limit", LINE, head(_line(64), "Host: a"), Request(_line(64)), limits=SMALL
        ),
        accepted("a request line of 8190 bytes", LINE, head(_line(8190), "Host: a"), Request(_line(8190))),
        accepted(
            "as many fields as the limit", FIELDS, get(*_fields(7)), seen_get(("x-6", b"1")), limits=SMALL
        ),
        accepted("100 fields", FIELDS, get(*_fields(99)), seen_get(("x-98", b"1"))),
        accepted(
            "a field of the limit", FIELDS, get("X: " + "a" * 61), seen_get(("x", b"a" * 61)), limits=SMALL
        ),
        accepted("a field of 8190 bytes", FIELDS, get("X: " + "a" * 8187), seen_get(("x", b"a" * 8187))),
        accepted(
            "seven fields of 8000 bytes",
            WHOLE,
            get(*(f"X-{index}: " + "a" * 7993 for index in range(7))),
            seen_get(("x-6", b"a" * 7993)),
        ),
        accepted(
            "a body of the limit",
            BODY,
            post("Content-Length: 64") + b"a" * 64,
            seen_post(b"a" * 64),
            limits=SMALL,
        ),
        accepted(
            "no limit on bodies",
            "a limit of 0 is none, RFC 9110 §15.5.14",
            post("Content-Length: 9999999999"),
            seen_post(b"", length=9999999999, cut=True),
            then=WAITS,
            limits=UNLIMITED,
        ),
    ),
    *rule(
        "a request line over `limit_request_line`",
        LINE,
        "GET /aaaaaaaaaa",
        _small("a request line over the limit", LINE, head(_line(65), "Host: a"), 414),
        _small("a request line that does not end", LINE + EARLY, b"GET /" + b"a" * 100, 414),
        _small("a method that does not end", LINE + EARLY, b"A" * 100, 501),
        _small(
            "a request line over the limit after a good request",
            LINE,
            get() + head(_line(65), "Host: a"),
            414,
            seen_get(),
        ),
        _small(
            "a request line of HEAD over the limit",
            LINE + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD /" + "a" * 60 + " HTTP/1.1", "Host: a"),
            414,
            method="HEAD",
        ),
        _small(
            "an absolute-form target over the limit",
            LINE,
            head("GET http://a.example/" + "a" * 40 + " HTTP/1.1", HOST),
            414,
        ),
        _small(
            "a request line over the limit, and a request behind its head",
            LINE + "; nothing behind it is a request: smuggling",
            head(_line(65), "Host: a") + SMUGGLED,
            414,
        ),
        refused("a request line of 8191 bytes", LINE, head(_line(8191), "Host: a"), 414),
        _small("a long request line that turns bad", LINE + FIRST, b"GET /" + b"a" * 100 + b"\x01", 414),
    ),
    *rule(
        "more fields than `limit_request_fields`",
        FIELDS,
        "X-0: 1\\r\\nX-1: 1",
        _small("a field too many", FIELDS, get(*_fields(8)), 431),
        _small("a field too many, before the head ends", FIELDS, get(*_fields(8))[:-2], 431),
        _small("a dropped field too many", FIELDS + "; dropped ones count", get(*_fields(7), "X_8: 1"), 431),
        _small(
            "a field too many of HEAD",
            FIELDS + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1", "Host: a", *_fields(8)),
            431,
            method="HEAD",
        ),
        refused("101 fields", FIELDS, get(*_fields(100)), 431),
        _small("a field too many before a malformed one", FIELDS + FIRST, get(*_fields(8), "X A: 1"), 431),
    ),
    *rule(
        "a field over `limit_request_field_size`",
        FIELDS,
        "X: aaaaaaaaaa",
        _small("a field over the limit", FIELDS, get("X: " + "a" * 62), 431),
        _small("a name over the limit", FIELDS, get("X" * 64 + ":"), 431),
        _small("blanks over the limit", FIELDS + "; blanks count", get("X:" + " " * 63), 431),
        _small("a field that does not end", FIELDS + EARLY, b"GET / HTTP/1.1\r\nX: " + b"a" * 100, 431),
        _small("a Host over the limit", FIELDS, head("GET / HTTP/1.1", "Host: " + "a" * 59), 431),
        refused("a field of 8191 bytes", FIELDS, get("X: " + "a" * 8188), 431),
    ),
    *rule(
        "a head over 64 KiB",
        WHOLE,
        "X-0: aaaaaaaaaa",
        refused(
            "nine fields of 8000 bytes", WHOLE, get(*(f"X-{index}: " + "a" * 7993 for index in range(9))), 431
        ),
    ),
    *rule(
        "a body over `limit_request_body`: before it is read",
        BODY,
        "Content-Length: 1073741825",
        refused("a length of 1 GiB and a byte", BODY, post("Content-Length: 1073741825"), 413),
        refused("a length of 18 digits", BODY, post("Content-Length: 999999999999999999"), 413),
        _small("a body over the limit", BODY, post("Content-Length: 65") + b"a" * 65, 413),
        _small("a body over the limit that does not come", BODY, post("Content-Length: 65"), 413),
        _small(
            "a body over the limit in HTTP/1.0",
            BODY,
            head("POST / HTTP/1.0", "Content-Length: 65") + b"a" * 65,
            413,
        ),
        _small(
            "a body over the limit after a good request",
            BODY,
            get() + post("Content-Length: 65"),
            413,
            seen_get(),
        ),
        _small(
            "a body over the limit, and a request behind it",
            BODY + "; nothing behind it is a request: smuggling",
            post("Content-Length: 65") + b"a" * 65 + SMUGGLED,
            413,
        ),
        _small(
            "a body over the limit that is a request",
            BODY + "; nothing behind it is a request: smuggling",
            post("Content-Length: 65") + SMUGGLED,
            413,
        ),
        _small(
            "a body over the limit of HEAD",
            BODY + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1", HOST, "Content-Length: 65"),
            413,
            method="HEAD",
        ),
    ),
    *rule(
        "a fault before a limit is passed: the first counts",
        "RFC 9112 §3, §5" + FIRST,
        "X A: 1\\r\\nX-0: 1",
        _small(
            "a malformed field before one too many", "RFC 9112 §5" + FIRST, get("X A: 1", *_fields(8)), 400
        ),
        _small("a bad request line over the limit", "RFC 9112 §3" + FIRST, b"GET /a\x01" + b"a" * 100, 400),
    ),
)

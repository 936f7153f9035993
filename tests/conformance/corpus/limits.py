"""How much is accepted; what passes the limits is refused as soon as it does."""

from tests.conformance.case import (
    SMALL,
    UNLIMITED,
    WAITS,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    seen_get,
    seen_post,
)

LINE = "RFC 9112 §3: 414 for a request line over the limit; 8000 bytes are to be expected"
FIELDS = "RFC 6585 §5: 431"
BODY = "RFC 9110 §15.5.14: 413, before the body"
WHOLE = "RFC 6585 §5: 431 for all fields together: one silent connection may not pin 800 KB"


def _line(length: int) -> str:
    """A request line of this many bytes."""
    return "GET /" + "a" * (length - len("GET / HTTP/1.1")) + " HTTP/1.1"


def _fields(number: int) -> tuple[str, ...]:
    return tuple(f"X-{index}: 1" for index in range(number))


CASES = (
    accepted(
        "a request line of the limit", LINE, head(_line(64), "Host: a"), Request(_line(64)), limits=SMALL
    ),
    refused("a request line over the limit", LINE, head(_line(65), "Host: a"), 414, limits=SMALL),
    refused(
        "a request line that does not end",
        LINE + "; refused before its end",
        b"GET /" + b"a" * 100,
        414,
        limits=SMALL,
    ),
    refused("a method that does not end", LINE + "; refused before its end", b"A" * 100, 414, limits=SMALL),
    refused(
        "a request line over the limit after a good request",
        LINE,
        get() + head(_line(65), "Host: a"),
        414,
        seen_get(),
        limits=SMALL,
    ),
    accepted("a request line of 8190 bytes", LINE, head(_line(8190), "Host: a"), Request(_line(8190))),
    refused("a request line of 8191 bytes", LINE, head(_line(8191), "Host: a"), 414),
    accepted("as many fields as the limit", FIELDS, get(*_fields(7)), seen_get(("x-6", b"1")), limits=SMALL),
    refused("a field too many", FIELDS, get(*_fields(8)), 431, limits=SMALL),
    refused("a field too many, before the head ends", FIELDS, get(*_fields(8))[:-2], 431, limits=SMALL),
    accepted("100 fields", FIELDS, get(*_fields(99)), seen_get(("x-98", b"1"))),
    refused("101 fields", FIELDS, get(*_fields(100)), 431),
    accepted("a field of the limit", FIELDS, get("X: " + "a" * 61), seen_get(("x", b"a" * 61)), limits=SMALL),
    refused("a field over the limit", FIELDS, get("X: " + "a" * 62), 431, limits=SMALL),
    refused("a name over the limit", FIELDS, get("X" * 64 + ":"), 431, limits=SMALL),
    refused("blanks over the limit", FIELDS + "; blanks count", get("X:" + " " * 63), 431, limits=SMALL),
    refused(
        "a field that does not end",
        FIELDS + "; refused before its end",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100,
        431,
        limits=SMALL,
    ),
    refused("a Host over the limit", FIELDS, head("GET / HTTP/1.1", "Host: " + "a" * 59), 431, limits=SMALL),
    accepted("a field of 8190 bytes", FIELDS, get("X: " + "a" * 8187), seen_get(("x", b"a" * 8187))),
    refused("a field of 8191 bytes", FIELDS, get("X: " + "a" * 8188), 431),
    refused(
        "nine fields of 8000 bytes", WHOLE, get(*(f"X-{index}: " + "a" * 7993 for index in range(9))), 431
    ),
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
    refused("a body over the limit", BODY, post("Content-Length: 65") + b"a" * 65, 413, limits=SMALL),
    refused("a body over the limit that does not come", BODY, post("Content-Length: 65"), 413, limits=SMALL),
    refused(
        "a body over the limit in HTTP/1.0",
        BODY,
        head("POST / HTTP/1.0", "Content-Length: 65") + b"a" * 65,
        413,
        limits=SMALL,
    ),
    refused(
        "a body over the limit after a good request",
        BODY,
        get() + post("Content-Length: 65"),
        413,
        seen_get(),
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
    refused(
        "a malformed field before one too many",
        "RFC 9112 §5: the first fault counts",
        get("X A: 1", *_fields(8)),
        400,
        limits=SMALL,
    ),
    refused(
        "a field too many before a malformed one",
        FIELDS + ": the first fault counts",
        get(*_fields(8), "X A: 1"),
        431,
        limits=SMALL,
    ),
    refused(
        "a bad request line over the limit",
        "RFC 9112 §3: the first fault counts",
        b"GET /a\x01" + b"a" * 100,
        400,
        limits=SMALL,
    ),
    refused(
        "a long request line that turns bad",
        LINE + ": the first fault counts",
        b"GET /" + b"a" * 100 + b"\x01",
        414,
        limits=SMALL,
    ),
)

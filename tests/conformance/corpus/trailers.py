"""The trailer section of a chunked request: judged, and dropped."""

from tests.conformance.case import SMALL, Case, accepted, get, post, refused, seen_chunked, seen_get

HEAD = post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n"

DROPPED = "RFC 9110 §6.5.1: not merged into the head; merging lets a client speak after the proxy has looked"
GRAMMAR = "RFC 9112 §7.1.2: trailers are field lines, and as strict: smuggling behind the last chunk"
TOO_MUCH = "RFC 6585 §5: 431; endless trailers are work for nothing"


def _dropped(name: str, *trailers: tuple[str, str]) -> Case:
    lines = b"".join(f"{field}: {value}\r\n".encode("latin-1") for field, value in trailers)
    absent = tuple(
        (field.lower(), None) for field, _ in trailers if field.lower() not in {"host", "transfer-encoding"}
    )
    kept = (("host", b"a.example"), ("transfer-encoding", b"chunked"))
    return accepted(name, DROPPED, HEAD + lines + b"\r\n", seen_chunked(b"hello", *kept, *absent))


def _fault(name: str, trailers: bytes, why: str = GRAMMAR, status: int = 400) -> Case:
    return refused(name, why, HEAD + trailers, status, seen_chunked(b"hello", cut=True))


CASES = (
    _dropped("one trailer", ("X-Checksum", "abc")),
    _dropped("several trailers", ("X-A", "1"), ("X-B", ""), ("X-C", "3")),
    _dropped("X-Forwarded-For as a trailer", ("X-Forwarded-For", "192.0.2.1")),
    _dropped("Authorization as a trailer", ("Authorization", "Basic YTpi")),
    _dropped("Cookie as a trailer", ("Cookie", "admin=1")),
    _dropped("Host as a trailer", ("Host", "evil.example")),
    _dropped("Content-Length as a trailer", ("Content-Length", "100")),
    _dropped("Transfer-Encoding as a trailer", ("Transfer-Encoding", "gzip, chunked")),
    _dropped("Expect as a trailer", ("Expect", "100-continue")),
    accepted(
        "Connection: close as a trailer does not close",
        DROPPED,
        HEAD + b"Connection: close\r\n\r\n" + get(),
        seen_chunked(b"hello"),
        seen_get(),
    ),
    accepted(
        "a trailer of the same name as a field",
        DROPPED,
        post("Transfer-Encoding: chunked", "X-A: 1") + b"0\r\nX-A: 2\r\n\r\n",
        seen_chunked(b"", ("x-a", b"1")),
    ),
    accepted(
        "an announced trailer",
        "RFC 9110 §6.6.2",
        post("Transfer-Encoding: chunked", "Trailer: X-A") + b"0\r\nX-A: 2\r\n\r\n",
        seen_chunked(b"", ("trailer", b"X-A"), ("x-a", None)),
    ),
    accepted(
        "a request after trailers",
        "RFC 9112 §7.1.2",
        HEAD + b"X-A: 1\r\nX-B: 2\r\n\r\n" + get("X-C: 3"),
        seen_chunked(b"hello"),
        seen_get(("x-a", None), ("x-c", b"3")),
    ),
    _fault("a trailer without a colon", b"X-A\r\n\r\n"),
    _fault("a trailer without a name", b": 1\r\n\r\n"),
    _fault("a space before a trailer's colon", b"X-A : 1\r\n\r\n"),
    _fault("a space before a trailer", b" X-A: 1\r\n\r\n"),
    _fault("a folded trailer", b"X-A: 1\r\n 2\r\n\r\n"),
    _fault("a space in a trailer's name", b"X A: 1\r\n\r\n"),
    _fault("a bare LF after a trailer", b"X-A: 1\nX-B: 2\r\n\r\n"),
    _fault("a bare CR in a trailer", b"X-A: 1\rX-B: 2\r\n\r\n"),
    _fault("CR CR LF after a trailer", b"X-A: 1\r\r\n\r\n"),
    _fault("NUL in a trailer", b"X-A: a\0\r\n\r\n"),
    _fault("a control character in a trailer", b"X-A: a\x0b\r\n\r\n"),
    _fault("obs-text in a trailer's name", b"X-\xe9: 1\r\n\r\n"),
    _fault("a request line in the place of trailers", get()),
    _fault("another chunk in the place of trailers", b"5\r\nhello\r\n0\r\n\r\n"),
    _fault(
        "101 trailers", b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n", TOO_MUCH, 431
    ),
    accepted(
        "100 trailers",
        "RFC 9112 §7.1.2",
        HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\n",
        seen_chunked(b"hello", ("x-1", None)),
    ),
    accepted(
        "trailers at their limits",
        "RFC 6585 §5",
        HEAD + b"X: %b\r\n" % (b"a" * 61) * 8 + b"\r\n",
        seen_chunked(b"hello"),
        limits=SMALL,
    ),
    refused(
        "a trailer too many",
        TOO_MUCH,
        HEAD + b"X: 1\r\n" * 9 + b"\r\n",
        431,
        seen_chunked(b"hello", cut=True),
        limits=SMALL,
    ),
    refused(
        "a trailer too long",
        TOO_MUCH,
        HEAD + b"X: %b\r\n\r\n" % (b"a" * 62),
        431,
        seen_chunked(b"hello", cut=True),
        limits=SMALL,
    ),
    refused(
        "a trailer that does not end",
        TOO_MUCH + "; refused before its line ends",
        HEAD + b"X: " + b"a" * 100,
        431,
        seen_chunked(b"hello", cut=True),
        limits=SMALL,
    ),
)

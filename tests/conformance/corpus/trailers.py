"""The trailer section of a chunked request: judged, and dropped."""

from tests.conformance.case import (
    SMALL,
    SMUGGLED,
    Case,
    accepted,
    get,
    post,
    refused,
    rule,
    seen_chunked,
    seen_get,
)

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
    *rule(
        "trailer fields, also forbidden ones such as `Content-Length` or `X-Forwarded-For`: dropped",
        DROPPED,
        "0\\r\\nX-Forwarded-For: 192.0.2.1",
        _dropped("one trailer", ("X-Checksum", "abc")),
        _dropped("several trailers", ("X-A", "1"), ("X-B", ""), ("X-C", "3")),
        *(
            _dropped(f"{name} as a trailer", (name, value))
            for name, value in (
                ("X-Forwarded-For", "192.0.2.1"),
                ("X-Forwarded-Proto", "https"),
                ("Forwarded", "for=192.0.2.1"),
                ("Authorization", "Basic YTpi"),
                ("Cookie", "admin=1"),
                ("Host", "evil.example"),
                ("Content-Length", "100"),
                ("Content-Type", "text/html"),
                ("Content-Encoding", "gzip"),
                ("Transfer-Encoding", "gzip, chunked"),
                ("Trailer", "X-A"),
                ("TE", "trailers"),
                ("Expect", "100-continue"),
                ("Range", "bytes=0-1"),
                ("Upgrade", "websocket"),
                ("X_A", "1"),
            )
        ),
        accepted(
            "Connection: close as a trailer does not close",
            DROPPED,
            HEAD + b"Connection: close\r\n\r\n" + get(),
            seen_chunked(b"hello"),
            seen_get(),
        ),
        accepted(
            "Content-Length and a request as a trailer section",
            DROPPED + ": smuggling",
            HEAD + b"Content-Length: 5\r\n\r\n" + get(),
            seen_chunked(b"hello", ("content-length", None)),
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
    ),
    *rule(
        "a trailer that is no field line",
        GRAMMAR,
        "0\\r\\nX-A : 1",
        _fault("a trailer without a colon", b"X-A\r\n\r\n"),
        _fault("a trailer without a name", b": 1\r\n\r\n"),
        _fault("a space before a trailer's colon", b"X-A : 1\r\n\r\n"),
        _fault("a space before a trailer", b" X-A: 1\r\n\r\n"),
        _fault("a line of a space", b" \r\n\r\n"),
        _fault("a folded trailer", b"X-A: 1\r\n 2\r\n\r\n"),
        _fault("a space in a trailer's name", b"X A: 1\r\n\r\n"),
        _fault("a bare LF after a trailer", b"X-A: 1\nX-B: 2\r\n\r\n"),
        _fault("bare LFs after every trailer", b"X-A: 1\nX-B: 2\n\n"),
        _fault("a bare LF instead of the last CRLF", b"X-A: 1\r\n\n"),
        _fault("LF CR LF ends the trailers", b"X-A: 1\n\r\n"),
        _fault("a bare CR in a trailer", b"X-A: 1\rX-B: 2\r\n\r\n"),
        _fault("CR CR LF after a trailer", b"X-A: 1\r\r\n\r\n"),
        _fault("NUL in a trailer", b"X-A: a\0\r\n\r\n"),
        _fault("a control character in a trailer", b"X-A: a\x0b\r\n\r\n"),
        _fault("obs-text in a trailer's name", b"X-\xe9: 1\r\n\r\n"),
        _fault("a request line in the place of trailers", get()),
        _fault("another request in the place of the last CRLF", SMUGGLED + b"\r\n"),
        _fault("another chunk in the place of trailers", b"5\r\nhello\r\n0\r\n\r\n"),
    ),
    *rule(
        "more trailers than `limit_request_fields`, or longer than `limit_request_field_size`",
        TOO_MUCH,
        "0\\r\\nX-0: 1",
        _fault(
            "101 trailers",
            b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
            TOO_MUCH,
            431,
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
    ),
)

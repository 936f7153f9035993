"""How the body of a response ends, and which statuses have one."""

from tests.conformance.answer import (
    LAST,
    LENGTH_OF_5,
    OLD,
    OLD_KEPT,
    Answer,
    Mistake,
    answers,
    mistaken,
)
from tests.conformance.case import CLOSES

LONGER = "RFC 9112 §6.3: a longer body would be read as the next response: response desync"
SHORTER = "RFC 9112 §8: the client waits for the rest, only a close shows it"
CODE = "RFC 9110 §15: three digits; 1xx is no final response"

FRAMING = (
    *answers(
        "a body of its `Content-Length`",
        "RFC 9112 §6.2",
        "as it is",
        Answer("a body of its length", "RFC 9112 §6.2", LENGTH_OF_5, b"hello", b"hello"),
        Answer(
            "a body of its length in pieces", "RFC 9112 §6.2", LENGTH_OF_5, (b"he", b"", b"llo"), b"hello"
        ),
        Answer(
            "a body of its length, then an empty piece",
            "RFC 9112 §6.2",
            LENGTH_OF_5,
            (b"hello", b""),
            b"hello",
        ),
        Answer("a length of zero", "RFC 9112 §6.2", ((b"content-length", b"0"),), b""),
        Answer(
            "a length of zero and empty pieces", "RFC 9112 §6.2", ((b"content-length", b"0"),), (b"", b"")
        ),
        Answer("a length in capitals", "RFC 9110 §5.1", ((b"CONTENT-LENGTH", b"5"),), b"hello", b"hello"),
        Answer(
            "a length with leading zeros", "RFC 9110 §8.6", ((b"content-length", b"005"),), b"hello", b"hello"
        ),
        Answer(
            "a 206 with its length",
            "RFC 9110 §15.3.7",
            ((*LENGTH_OF_5[0],), (b"content-range", b"bytes 0-4/10")),
            b"hello",
            b"hello",
            status=206,
        ),
    ),
    *answers(
        "a whole body without a length (an ASGI message with `more_body` false, a WSGI list)",
        "RFC 9112 §6.3",
        "with the length added",
        Answer(
            "a whole body without a length gets one",
            "RFC 9112 §6.3",
            (),
            b"hello",
            b"hello",
            has=((b"content-length", (b"5",)),),
        ),
        Answer(
            "an empty whole body gets a length", "RFC 9112 §6.3", (), b"", has=((b"content-length", (b"0",)),)
        ),
        Answer("a 404 with a body", "RFC 9112 §6.3", (), b"none", b"none", status=404),
    ),
    *answers(
        "a body in pieces without a length",
        "RFC 9112 §7.1",
        "in chunks",
        Answer(
            "pieces without a length are chunked", "RFC 9112 §7.1", (), (b"he", b"llo"), b"hello", "chunked"
        ),
        Answer(
            "empty pieces do not end a chunked body",
            "RFC 9112 §7.1: a chunk of no bytes is the last",
            (),
            (b"", b"he", b"", b"llo", b""),
            b"hello",
            "chunked",
        ),
        Answer("nothing without a length", "RFC 9112 §7.1", (), (b"",), b"", "chunked"),
        Answer("a chunk of 65536 bytes", "RFC 9112 §7.1", (), (b"a" * 65536,), b"a" * 65536, "chunked"),
        Answer(
            "chunks that look like a last chunk",
            "RFC 9112 §7.1",
            (),
            (b"0\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
            b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "chunked",
        ),
        Answer("a 500 in pieces", "RFC 9112 §6.3", (), (b"oh",), b"oh", "chunked", 500),
    ),
    *answers(
        "a body without a length to HTTP/1.0",
        "RFC 9112 §6.1: no coding to 1.0; §6.3: ended by the close",
        "ended by the end of the connection",
        Answer(
            "pieces without a length to HTTP/1.0",
            "RFC 9112 §6.1: no coding to 1.0; §6.3: ended by the close",
            (),
            (b"he", b"llo"),
            b"hello",
            "close",
            request=OLD,
            then=CLOSES,
        ),
        Answer(
            "pieces without a length to HTTP/1.0 that wants to persist",
            "RFC 9112 §6.3",
            (),
            (b"he", b"llo"),
            b"hello",
            "close",
            request=OLD_KEPT,
            then=CLOSES,
        ),
    ),
    *answers(
        "a body with a length to HTTP/1.0",
        "RFC 9112 §9.3, §C.2.2",
        "as it is; what becomes of the connection is said",
        Answer(
            "a length to HTTP/1.0",
            "RFC 9112 §9.3",
            LENGTH_OF_5,
            b"hello",
            b"hello",
            request=OLD,
            then=CLOSES,
            has=((b"connection", (b"close",)),),
        ),
        Answer(
            "a length to HTTP/1.0 that wants to persist",
            "RFC 9112 §C.2.2: keep-alive is announced",
            LENGTH_OF_5,
            b"hello",
            b"hello",
            request=OLD_KEPT,
            has=((b"connection", (b"keep-alive",)),),
        ),
        Answer(
            "a whole body to HTTP/1.0 that wants to persist",
            "RFC 9112 §C.2.2",
            (),
            b"hello",
            b"hello",
            request=OLD_KEPT,
        ),
    ),
    *answers(
        "any response to a request with `Connection: close`",
        "RFC 9112 §9.6: the server should say it too",
        "with `Connection: close`",
        Answer(
            "to a request with close",
            "RFC 9112 §9.6: the server should say it too",
            (),
            b"hello",
            b"hello",
            request=LAST,
            then=CLOSES,
            has=((b"connection", (b"close",)),),
        ),
        Answer(
            "pieces to a request with close",
            "RFC 9112 §9.6",
            (),
            (b"he", b"llo"),
            b"hello",
            "chunked",
            request=LAST,
            then=CLOSES,
        ),
    ),
    *answers(
        "a body longer than its `Content-Length`",
        LONGER,
        "500 if none of it was sent, else cut there, and the connection closed",
        Answer("a body longer than its length", LONGER, LENGTH_OF_5, b"hello!", mistake=Mistake.HEAD),
        Answer(
            "a body where the length is zero",
            LONGER,
            ((b"content-length", b"0"),),
            b"h",
            mistake=Mistake.HEAD,
        ),
        Answer("a piece longer than the length", LONGER, LENGTH_OF_5, (b"hello!",), mistake=Mistake.BODY),
        Answer("a last piece over the length", LONGER, LENGTH_OF_5, (b"hell", b"o!"), mistake=Mistake.BODY),
        Answer("a piece after the length", LONGER, LENGTH_OF_5, (b"hello", b"!"), mistake=Mistake.BODY),
    ),
    *answers(
        "a body shorter than its `Content-Length`",
        SHORTER,
        "as it is, and the connection closed",
        Answer(
            "a body shorter than its length",
            SHORTER,
            LENGTH_OF_5,
            b"hell",
            b"hell",
            "short",
            short=1,
            then=CLOSES,
        ),
        Answer(
            "no body where there is a length", SHORTER, LENGTH_OF_5, b"", b"", "short", short=5, then=CLOSES
        ),
        Answer(
            "pieces shorter than the length",
            SHORTER,
            LENGTH_OF_5,
            (b"he", b"l"),
            b"hel",
            "short",
            short=2,
            then=CLOSES,
        ),
    ),
)

STATUSES = (
    *answers(
        "a status from 200 to 999",
        "RFC 9110 §15",
        "as it is",
        *(
            Answer(f"status {status}", "RFC 9110 §15", (), b"hello", b"hello", status=status)
            for status in (201, 299, 300, 418, 499, 599, 600, 999)
        ),
    ),
    *answers(
        "another status, an interim one among them",
        CODE,
        "500, and an error in the log",
        *(
            mistaken(f"status {status}", CODE, status=status)
            for status in (-1, 0, 20, 99, 100, 102, 103, 199, 1000, 20000)
        ),
        mistaken(
            "status 101", "RFC 9110 §15.2.2: this server has not agreed to switch protocols", status=101
        ),
    ),
)

CASES = (*FRAMING, *STATUSES)

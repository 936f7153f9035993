"""How the body of a response ends, and which statuses have one."""

from tests.conformance.answer import HEAD, LAST, LENGTH_OF_5, OLD, OLD_KEPT, Answer, Mistake, mistaken
from tests.conformance.case import CLOSES, head

LONGER = "RFC 9112 §6.3: a longer body would be read as the next response: response desync"
SHORTER = "RFC 9112 §8: the client waits for the rest, only a close tells it"
BODILESS = "RFC 9110 §6.4.1: no content, whatever the fields say"
NO_LENGTH = "RFC 9110 §8.6: no Content-Length in a 204"
CODE = "RFC 9110 §15: three digits; 1xx is no final response"

FRAMING = (
    Answer("a body of its length", "RFC 9112 §6.2", LENGTH_OF_5, b"hello", b"hello"),
    Answer("a body of its length in pieces", "RFC 9112 §6.2", LENGTH_OF_5, (b"he", b"", b"llo"), b"hello"),
    Answer(
        "a body of its length, then an empty piece", "RFC 9112 §6.2", LENGTH_OF_5, (b"hello", b""), b"hello"
    ),
    Answer("a length of zero", "RFC 9112 §6.2", ((b"content-length", b"0"),), b""),
    Answer("a length of zero and empty pieces", "RFC 9112 §6.2", ((b"content-length", b"0"),), (b"", b"")),
    Answer("a length in capitals", "RFC 9110 §5.1", ((b"CONTENT-LENGTH", b"5"),), b"hello", b"hello"),
    Answer(
        "a length with leading zeros", "RFC 9110 §8.6", ((b"content-length", b"005"),), b"hello", b"hello"
    ),
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
    Answer("pieces without a length are chunked", "RFC 9112 §7.1", (), (b"he", b"llo"), b"hello", "chunked"),
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
        "RFC 9112 §C.2.2: keep-alive is told",
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
    Answer("a body longer than its length", LONGER, LENGTH_OF_5, b"hello!", mistake=Mistake.HEAD),
    Answer(
        "a body where the length is zero", LONGER, ((b"content-length", b"0"),), b"h", mistake=Mistake.HEAD
    ),
    Answer("a piece longer than the length", LONGER, LENGTH_OF_5, (b"hello!",), mistake=Mistake.BODY),
    Answer("a last piece over the length", LONGER, LENGTH_OF_5, (b"hell", b"o!"), mistake=Mistake.BODY),
    Answer("a piece after the length", LONGER, LENGTH_OF_5, (b"hello", b"!"), mistake=Mistake.BODY),
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
    Answer("no body where there is a length", SHORTER, LENGTH_OF_5, b"", b"", "short", short=5, then=CLOSES),
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
    Answer(
        "HEAD with a length",
        "RFC 9110 §9.3.2: as GET, without content",
        LENGTH_OF_5,
        b"",
        b"",
        "none",
        request=HEAD,
        has=((b"content-length", (b"5",)),),
    ),
    Answer(
        "HEAD with a body that is dropped",
        "RFC 9110 §9.3.2",
        LENGTH_OF_5,
        b"hello",
        b"",
        "none",
        request=HEAD,
        has=((b"content-length", (b"5",)),),
    ),
    Answer(
        "HEAD with a body and no length",
        "RFC 9110 §9.3.2: GET's length may be told",
        (),
        b"hello",
        b"",
        "none",
        request=HEAD,
        has=((b"content-length", (b"5",)),),
    ),
    Answer(
        "HEAD with neither",
        "RFC 9110 §8.6: GET's length is not known to be zero",
        (),
        b"",
        b"",
        "none",
        request=HEAD,
        has=((b"content-length", ()),),
    ),
    Answer(
        "HEAD with pieces",
        "RFC 9110 §9.3.2",
        (),
        (b"he", b"llo"),
        b"",
        "none",
        request=HEAD,
        has=((b"content-length", ()),),
    ),
    Answer(
        "HEAD with pieces longer than the length",
        "RFC 9110 §9.3.2: none of it is sent",
        LENGTH_OF_5,
        (b"hello!",),
        b"",
        "none",
        request=HEAD,
    ),
    Answer(
        "HEAD in HTTP/1.0 that wants to persist",
        "RFC 9110 §9.3.2",
        (),
        (b"hello",),
        b"",
        "none",
        request=head("HEAD / HTTP/1.0", "Connection: keep-alive"),
    ),
    Answer(
        "204", BODILESS, (), b"", b"", "none", 204, has=((b"content-length", ()), (b"transfer-encoding", ()))
    ),
    Answer(
        "204 in pieces",
        BODILESS,
        (),
        (b"",),
        b"",
        "none",
        204,
        has=((b"content-length", ()), (b"transfer-encoding", ())),
    ),
    Answer("204 with a body", BODILESS, (), b"hello", b"", "none", 204, has=((b"content-length", ()),)),
    Answer("204 with a body in pieces", BODILESS, (), (b"he", b"llo"), b"", "none", 204),
    Answer(
        "204 with a length of zero",
        NO_LENGTH,
        ((b"content-length", b"0"),),
        b"",
        b"",
        "none",
        204,
        has=((b"content-length", ()),),
    ),
    Answer(
        "204 with a length and a body",
        NO_LENGTH,
        ((b"Content-Length", b"5"),),
        b"hello",
        b"",
        "none",
        204,
        has=((b"content-length", ()),),
    ),
    Answer("204 to HTTP/1.0 that wants to persist", BODILESS, (), b"", b"", "none", 204, request=OLD_KEPT),
    Answer(
        "304", BODILESS, (), b"", b"", "none", 304, has=((b"content-length", ()), (b"transfer-encoding", ()))
    ),
    Answer(
        "304 with the length of the 200",
        "RFC 9110 §8.6: may be told",
        LENGTH_OF_5,
        b"",
        b"",
        "none",
        304,
        has=((b"content-length", (b"5",)),),
    ),
    Answer("304 with a body", BODILESS, (), (b"hello",), b"", "none", 304),
    Answer(
        "205 has a framing",
        "RFC 9112 §6.3: 205 is framed as any other; RFC 9110 §15.3.6",
        (),
        b"",
        status=205,
    ),
    Answer("a 404 with a body", "RFC 9112 §6.3", (), b"none", b"none", status=404),
    Answer("a 500 in pieces", "RFC 9112 §6.3", (), (b"oh",), b"oh", "chunked", 500),
    Answer(
        "a 206 with its length",
        "RFC 9110 §15.3.7",
        ((*LENGTH_OF_5[0],), (b"content-range", b"bytes 0-4/10")),
        b"hello",
        b"hello",
        status=206,
    ),
)

STATUSES = (
    *(
        mistaken(f"status {status}", CODE, status=status)
        for status in (-1, 0, 20, 99, 100, 102, 103, 199, 1000, 20000)
    ),
    mistaken("status 101", "RFC 9110 §15.2.2: this server has not agreed to switch protocols", status=101),
    *(
        Answer(f"status {status}", "RFC 9110 §15", (), b"hello", b"hello", status=status)
        for status in (201, 299, 300, 418, 499, 599, 600, 999)
    ),
)

CASES = (*FRAMING, *STATUSES)

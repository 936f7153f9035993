"""The fields of a response: the application's, the server's, and those that nobody may send."""

from tests.conformance.answer import LAST, LENGTH_OF_5, OLD, OLD_KEPT, Answer, mistaken
from tests.conformance.case import CLOSES

ONE_LENGTH = "RFC 9110 §8.6: one decimal number; two readers would take two"
CODING = "RFC 9112 §6.1: the coding is the server's; asgiref HTTP: Transfer-Encoding is ignored"
OPTIONS = (
    "RFC 9110 §7.6.1: connection options are the server's (PEP 3333: hop-by-hop fields are not to be sent)"
)
SPLITTING = "RFC 9112 §11.1: response splitting (CVE-2018-1000164, CVE-2020-7695)"
NAME = "RFC 9110 §5.1: a field name is a token"

CASES = (
    Answer(
        "fields in their order",
        "RFC 9110 §5.3",
        ((b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")),
        b"",
        has=((b"x-a", (b"1", b"3")), (b"x-b", (b"2",))),
    ),
    Answer(
        "several cookies",
        "RFC 6265 §3: never joined",
        ((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"set-cookie", b"a=1")),
        b"",
        has=((b"set-cookie", (b"a=1", b"b=2", b"a=1")),),
    ),
    Answer("an empty value", "RFC 9110 §5.5", ((b"x-a", b""),), b"", has=((b"x-a", (b"",)),)),
    Answer(
        "obs-text in a value", "RFC 9110 §5.5", ((b"x-a", b"\xe9\xff"),), b"", has=((b"x-a", (b"\xe9\xff",)),)
    ),
    Answer("a tab inside a value", "RFC 9110 §5.5", ((b"x-a", b"a\tb"),), b"", has=((b"x-a", (b"a\tb",)),)),
    Answer(
        "blanks around a value",
        "RFC 9112 §5.1: no part of it",
        ((b"x-a", b" a \t"),),
        b"",
        has=((b"x-a", (b"a",)),),
    ),
    Answer(
        "Date and Server are added",
        "RFC 9110 §6.6.1: an origin server with a clock sends Date",
        (),
        b"",
        has=((b"date", (b"Sun, 09 Sep 2001 01:46:40 GMT",)), (b"server", (b"appserve",))),
    ),
    Answer(
        "the application's Date",
        "RFC 9110 §6.6.1: one",
        ((b"date", b"Mon, 10 Sep 2001 01:46:40 GMT"),),
        b"",
        has=((b"date", (b"Mon, 10 Sep 2001 01:46:40 GMT",)), (b"server", (b"appserve",))),
    ),
    Answer(
        "the application's Server",
        "RFC 9110 §10.2.4: one",
        ((b"Server", b"mine"),),
        b"",
        has=((b"server", (b"mine",)), (b"date", (b"Sun, 09 Sep 2001 01:46:40 GMT",))),
    ),
    Answer(
        "the application's Date and Server",
        "RFC 9110 §6.6.1",
        ((b"date", b"Mon, 10 Sep 2001 01:46:40 GMT"), (b"server", b"mine")),
        b"",
        has=((b"date", (b"Mon, 10 Sep 2001 01:46:40 GMT",)), (b"server", (b"mine",))),
    ),
    Answer(
        "the application's Server and Date",
        "RFC 9110 §6.6.1",
        ((b"server", b"mine"), (b"date", b"Mon, 10 Sep 2001 01:46:40 GMT")),
        b"",
        has=((b"date", (b"Mon, 10 Sep 2001 01:46:40 GMT",)), (b"server", (b"mine",))),
    ),
    Answer(
        "two Dates and two Servers",
        "RFC 9110 §5.3: neither is a list; the first counts (our choice)",
        ((b"date", b"one"), (b"server", b"a"), (b"Date", b"two"), (b"Server", b"b")),
        b"",
        has=((b"date", (b"one",)), (b"server", (b"a",))),
    ),
    Answer(
        "chunked beside a length",
        CODING,
        (*LENGTH_OF_5, (b"transfer-encoding", b"chunked")),
        b"hello",
        b"hello",
        has=((b"transfer-encoding", ()),),
    ),
    Answer(
        "chunked and pieces",
        CODING + ", and not applied twice",
        ((b"transfer-encoding", b"chunked"),),
        (b"he", b"llo"),
        b"hello",
        "chunked",
        has=((b"transfer-encoding", (b"chunked",)),),
    ),
    Answer(
        "gzip as a coding",
        CODING,
        ((b"Transfer-Encoding", b"gzip, chunked"),),
        (b"he", b"llo"),
        b"hello",
        "chunked",
        has=((b"transfer-encoding", (b"chunked",)),),
    ),
    Answer(
        "identity as a coding",
        CODING,
        ((b"transfer-encoding", b"identity"),),
        b"hello",
        b"hello",
        has=((b"transfer-encoding", ()),),
    ),
    Answer(
        "chunked to HTTP/1.0",
        CODING,
        ((b"transfer-encoding", b"chunked"),),
        (b"hello",),
        b"hello",
        "close",
        request=OLD,
        then=CLOSES,
    ),
    Answer(
        "chunked in a 204",
        CODING,
        ((b"transfer-encoding", b"chunked"),),
        b"",
        b"",
        "none",
        204,
        has=((b"transfer-encoding", ()),),
    ),
    Answer(
        "Connection: close",
        "RFC 9112 §9.6: the application may end the connection",
        ((b"connection", b"close"),),
        b"hello",
        b"hello",
        then=CLOSES,
        has=((b"connection", (b"close",)),),
    ),
    Answer(
        "Connection: Close in a list",
        "RFC 9112 §9.6",
        ((b"Connection", b"foo, Close"),),
        b"hello",
        b"hello",
        then=CLOSES,
        has=((b"connection", (b"close",)),),
    ),
    Answer(
        "Connection: close after the length",
        "RFC 9112 §9.6",
        (*LENGTH_OF_5, (b"connection", b"close")),
        b"hello",
        b"hello",
        then=CLOSES,
    ),
    Answer(
        "Connection: close with pieces",
        "RFC 9112 §9.6",
        ((b"connection", b"close"),),
        (b"he", b"llo"),
        b"hello",
        "chunked",
        then=CLOSES,
    ),
    Answer(
        "Connection: close to HTTP/1.0 that wants to persist",
        "RFC 9112 §9.6",
        ((b"connection", b"close"),),
        b"hello",
        b"hello",
        request=OLD_KEPT,
        then=CLOSES,
    ),
    Answer(
        "Connection: keep-alive",
        OPTIONS,
        ((b"connection", b"keep-alive"),),
        b"hello",
        b"hello",
        has=((b"connection", ()),),
    ),
    Answer(
        "Connection: keep-alive to a request with close",
        OPTIONS,
        ((b"connection", b"keep-alive"),),
        b"hello",
        b"hello",
        request=LAST,
        then=CLOSES,
        has=((b"connection", (b"close",)),),
    ),
    Answer(
        "Connection: transfer-encoding",
        OPTIONS,
        ((b"connection", b"transfer-encoding"),),
        b"hello",
        b"hello",
        has=((b"connection", ()),),
    ),
    Answer(
        "Keep-Alive",
        OPTIONS,
        ((b"keep-alive", b"timeout=5"),),
        b"hello",
        b"hello",
        has=((b"keep-alive", ()),),
    ),
    Answer(
        "Proxy-Connection",
        OPTIONS,
        ((b"proxy-connection", b"close"),),
        b"hello",
        b"hello",
        has=((b"proxy-connection", ()),),
    ),
    mistaken("two different lengths", ONE_LENGTH, *LENGTH_OF_5, (b"content-length", b"6")),
    mistaken("two equal lengths", ONE_LENGTH, *LENGTH_OF_5, *LENGTH_OF_5),
    mistaken("two lengths in different case", ONE_LENGTH, *LENGTH_OF_5, (b"Content-Length", b"5")),
    *(
        mistaken(f"Content-Length: {value!r}", ONE_LENGTH, (b"content-length", value))
        for value in (b"-1", b"+5", b"5,5", b"5 5", b"", b"abc", b"0x5", b"5.0", b"\xb2", b"5" * 30)
    ),
    *(
        mistaken(f"{value!r} in a value", SPLITTING, (b"x-a", b"a" + value + b"b"))
        for value in (
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b"\r\nset-cookie: a=1",
            b"\n\n",
            b"\x0b",
            b"\x0c",
            b"\x1b",
            b"\x7f",
        )
    ),
    mistaken("CRLF at the end of a value", SPLITTING, (b"x-a", b"a\r\n")),
    mistaken("CRLF at the beginning of a value", SPLITTING, (b"x-a", b"\r\n a")),
    mistaken("a folded value", SPLITTING, (b"x-a", b"a\r\n b")),
    mistaken("CRLF in a cookie", SPLITTING, (b"set-cookie", b"a=1\r\nx-b: 2")),
    mistaken("CRLF in a Location", SPLITTING, (b"location", b"/a\r\n\r\n<script>"), status=302),
    *(
        mistaken(f"the name {name!r}", NAME, (name, b"1"))
        for name in (
            b"",
            b"x a",
            b"x:a",
            b"x-a:",
            b" x-a",
            b"x-a ",
            b"x\r\na",
            b"x\na",
            b"x\0a",
            b"\xe9",
            b"(x)",
            b"x\ta",
        )
    ),
)

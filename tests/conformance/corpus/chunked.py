"""The chunked coding of request bodies."""

from appserve.http.messages import Limits
from tests.conformance.case import (
    HOST,
    SMALL,
    SMUGGLED,
    WAITS,
    Case,
    accepted,
    get,
    head,
    post,
    refused,
    rule,
    seen_chunked,
    seen_get,
)

HEAD = post("Transfer-Encoding: chunked")
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"

SIZE = "RFC 9112 §7.1: chunk-size = 1*HEXDIG; lenient number parsers are a smuggling device"
BLANKS = "RFC 9112 §7.1: no blanks around a size; BWS before `;` is refused, as parsers disagree (our choice)"
LINE_END = "RFC 9112 §7.1: CRLF, nothing else; chunk parsers disagree about bare LF and CR: smuggling"
DATA_END = "RFC 9112 §7.1: CRLF after the data; unchecked, it is a smuggling device (CVE-2025-43859)"
EXTENSION = "RFC 9112 §7.1.1: unknown extensions are ignored"
GRAMMAR = (
    "RFC 9112 §7.1.1: names and values are tokens, values may be quoted: smuggling by what a quote hides"
)
TERMINATOR = "smuggling by terminators in extensions (TERM.EXT, EXT.TERM; CVE-2025-55315), RFC 9112 §7.1.1"
BOUND = "RFC 9112 §7.1.1: a server ought to limit the length of extensions: work for nothing"
TOO_LARGE = "RFC 9110 §15.5.14: 413, before the data"
OVERFLOW = "integer overflow, RFC 9112 §7.1"


def _body(name: str, why: str, sent: bytes, body: bytes) -> Case:
    return accepted(name, why, HEAD + sent, seen_chunked(body))


def _fault(
    name: str, why: str, sent: bytes, seen: bytes = b"", status: int = 400, limits: Limits | None = None
) -> Case:
    """A chunked body with a fault; `seen` is what came before it."""
    cut = seen_chunked(seen, cut=True)
    if limits is None:
        return refused(name, why, HEAD + sent, status, cut)
    return refused(name, why, HEAD + sent, status, cut, limits=limits)


CASES = (
    *rule(
        "chunks of 1 to 16 hexadecimal digits and as much data",
        "RFC 9112 §7.1",
        "0005\\r\\nhello\\r\\n",
        _body("one chunk", "RFC 9112 §7.1", b"6\r\nhello!\r\n" + END, b"hello!"),
        _body("several chunks", "RFC 9112 §7.1", HELLO + b"1\r\n \r\n5\r\nworld\r\n" + END, b"hello world"),
        _body("no chunk but the last", "RFC 9112 §7.1", END, b""),
        _body("a size in lower case", "RFC 9112 §7.1: HEXDIG", b"a\r\n0123456789\r\n" + END, b"0123456789"),
        _body("a size in upper case", "RFC 9112 §7.1: HEXDIG", b"A\r\n0123456789\r\n" + END, b"0123456789"),
        _body(
            "a size of two digits is hexadecimal",
            "RFC 9112 §7.1",
            b"10\r\n0123456789abcdef\r\n" + END,
            b"0123456789abcdef",
        ),
        _body("a size with leading zeros", "RFC 9112 §7.1: 1*HEXDIG", b"0005\r\nhello\r\n" + END, b"hello"),
        _body(
            "a size of sixteen digits",
            "RFC 9112 §7.1; sixteen is our bound",
            b"0000000000000005\r\nhello\r\n" + END,
            b"hello",
        ),
        _body(
            "a last chunk of several zeros",
            'RFC 9112 §7.1: last-chunk = 1*"0"',
            HELLO + b"000\r\n\r\n",
            b"hello",
        ),
        _body(
            "a chunk for every byte",
            "RFC 9112 §7.1",
            b"".join(b"1\r\n%c\r\n" % byte for byte in b"hello") + END,
            b"hello",
        ),
        _body("line ends as data", "RFC 9112 §7.1", b"4\r\n\r\n\r\n\r\n" + END, b"\r\n\r\n"),
        _body(
            "data that looks like the last chunk", "RFC 9112 §7.1", b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"
        ),
        _body(
            "data that looks like a request",
            "RFC 9112 §7.1",
            b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + END,
            SMUGGLED,
        ),
        _body("data of NULs", "RFC 9112 §7.1", b"3\r\n\0\0\0\r\n" + END, b"\0\0\0"),
        accepted(
            "two chunked requests",
            "RFC 9112 §9.3.2",
            (HEAD + HELLO + END) * 2,
            seen_chunked(b"hello"),
            seen_chunked(b"hello"),
        ),
        accepted(
            "a request after a chunked one",
            "RFC 9112 §9.3.2",
            HEAD + HELLO + END + get(),
            seen_chunked(b"hello"),
            seen_get(),
        ),
    ),
    *rule(
        "a body whose end has not come: waited for, up to `body_timeout`",
        "RFC 9112 §8",
        "5\\r\\nhello\\r\\n0\\r\\n",
        accepted(
            "a body that lacks the last empty line",
            "RFC 9112 §7.1: the trailer section may still come; request boundaries",
            HEAD + HELLO + b"0\r\n",
            seen_chunked(b"hello", cut=True),
            then=WAITS,
        ),
        accepted(
            "a body that lacks its last chunk",
            "RFC 9112 §8",
            HEAD + HELLO,
            seen_chunked(b"hello", cut=True),
            then=WAITS,
        ),
        accepted(
            "a chunk that is half there",
            "RFC 9112 §8",
            HEAD + b"5\r\nhe",
            seen_chunked(b"he", cut=True),
            then=WAITS,
        ),
    ),
    *rule(
        "extensions of up to 256 bytes in a chunk: checked and ignored",
        EXTENSION,
        '5;a="b c;d"',
        _body("an extension", EXTENSION, b"5;a\r\nhello\r\n" + END, b"hello"),
        _body("an extension with a value", EXTENSION, b"5;a=b\r\nhello\r\n" + END, b"hello"),
        _body("an extension with a quoted value", EXTENSION, b'5;a="b c;d"\r\nhello\r\n' + END, b"hello"),
        _body("an extension with an empty quoted value", EXTENSION, b'5;a=""\r\nhello\r\n' + END, b"hello"),
        _body("an extension with an escaped quote", EXTENSION, b'5;a="\\""\r\nhello\r\n' + END, b"hello"),
        _body("an extension with quoted obs-text", EXTENSION, b'5;a="\xe9"\r\nhello\r\n' + END, b"hello"),
        _body("several extensions", EXTENSION, b"5;a;b=c;d=e\r\nhello\r\n" + END, b"hello"),
        _body(
            "an extension with blanks after its semicolon",
            "RFC 9112 §7.1.1: BWS",
            b"5; a = b\t;\tc\r\nhello\r\n" + END,
            b"hello",
        ),
        _body(
            "signed chunks of S3",
            EXTENSION,
            b"5;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9\r\nhello\r\n" + END,
            b"hello",
        ),
        _body("an extension of the last chunk", EXTENSION, HELLO + b"0;a=b\r\n\r\n", b"hello"),
        _body("an extension of 256 bytes", BOUND, b"5;" + b"a" * 255 + b"\r\nhello\r\n" + END, b"hello"),
    ),
    *rule(
        "a chunk size with anything but hexadecimal digits: `0x`, a sign, `_`, other digits, or none",
        SIZE,
        "0x5\\r\\nhello",
        *(
            _fault(f"chunk size {size!r}", SIZE, size + b"\r\nhello\r\n" + END)
            for size in (
                b"",
                b"g",
                b"5g",
                b"0x5",
                b"0X5",
                b"x5",
                b"5h",
                b"5L",
                b"+5",
                b"-5",
                b"-0",
                b"-1",
                b"5_0",
                b"_5",
                b"5.0",
                b"5,5",
                b'"5"',
                b"\\x35",
                b"\xb2",
                b"\xd9\xa5",
                b"5\0",
                b"\x005",
                b"\x0b5",
                b"5\x0c",
                b"5\xa0",
                b"#5",
            )
        ),
        _fault("an extension without a size", SIZE, b";a\r\nhello\r\n" + END),
        _fault("a blank line between two chunks", SIZE, HELLO + b"\r\n" + HELLO + END, b"hello"),
        refused(
            "an unchunked body under chunked",
            SIZE,
            head("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked") + b"a=1&b=2",
            400,
            seen_chunked(b"", cut=True),
        ),
        refused(
            "a request where a chunk should be",
            SIZE + " (TE.0)",
            HEAD + SMUGGLED,
            400,
            seen_chunked(b"", cut=True),
        ),
    ),
    *rule(
        "blanks around a chunk size",
        BLANKS,
        "5 \\r\\nhello",
        *(
            _fault(f"chunk size {size!r}", BLANKS, size + b"\r\nhello\r\n" + END)
            for size in (b" 5", b"\t5", b"5 ", b"5\t", b"5 ;a", b"5\t;a=b", b"5 5", b" ")
        ),
        _fault("a blank after the last chunk's size", BLANKS, HELLO + b"0 \r\n\r\n", b"hello"),
    ),
    *rule(
        "a chunk size of more than 16 digits",
        OVERFLOW,
        "10000000000000005\\r\\n",
        _fault(
            "a size of seventeen digits", OVERFLOW + ": 2^64 + 5", b"10000000000000005\r\nhello\r\n" + END
        ),
        _fault(
            "a size of seventeen zeros", OVERFLOW + "; sixteen is our bound", b"00000000000000000\r\n\r\n"
        ),
        _fault("a size of endless zeros", OVERFLOW + "; refused before its line ends", b"0" * 200),
    ),
    *rule(
        "chunk data that is longer or shorter than its size says",
        DATA_END,
        "5\\r\\nhelloXX",
        _fault("another byte and LF after the data", DATA_END, b"5\r\nhelloX\n" + END, b"hello"),
        _fault("CR and another byte after the data", DATA_END, b"5\r\nhello\rX" + END, b"hello"),
        _fault("nothing after the data", DATA_END, b"5\r\nhello" + END, b"hello"),
        _fault("data longer than its size", DATA_END, b"5\r\nhelloXX\r\n" + END, b"hello"),
        _fault("two other bytes after the data", DATA_END, b"5\r\nhelloXX" + END, b"hello"),
        _fault("data shorter than its size", DATA_END, b"6\r\nhello\r\n" + END, b"hello\r"),
        _fault("NULs after the data", DATA_END, b"5\r\nhello\0\0" + END, b"hello"),
    ),
    *rule(
        "another line end than CRLF, after a size, after data, at the end",
        LINE_END,
        "5\\nhello",
        _fault("a bare LF after the size", LINE_END, b"5\nhello\r\n" + END),
        _fault("a bare CR after the size", LINE_END, b"5\rhello\r\n" + END),
        _fault("CR CR LF after the size", LINE_END, b"5\r\r\nhello\r\n" + END),
        _fault("LF CR after the size", LINE_END, b"5\n\rhello\r\n" + END),
        _fault("a bare LF after the data", LINE_END, b"5\r\nhello\n" + END, b"hello"),
        _fault("a bare CR after the data", LINE_END, b"5\r\nhello\r" + END, b"hello"),
        _fault("LF CR after the data", LINE_END, b"5\r\nhello\n\r" + END, b"hello"),
        _fault("CR CR LF after the data", LINE_END, b"5\r\nhello\r\r\n" + END, b"hello"),
        _fault("LF LF after the data", LINE_END, b"5\r\nhello\n\n" + END, b"hello"),
        _fault("a bare LF after the last chunk", LINE_END, HELLO + b"0\n\r\n", b"hello"),
        _fault("a bare CR after the last chunk", LINE_END, HELLO + b"0\r\r\n", b"hello"),
        _fault("a bare LF ends the trailer section", LINE_END, HELLO + b"0\r\n\n", b"hello"),
        _fault("two bare LFs end the body", LINE_END, HELLO + b"0\n\n", b"hello"),
        _fault("a bare CR ends the trailer section", LINE_END, HELLO + b"0\r\n\r" + get(), b"hello"),
    ),
    *rule(
        "a bare CR or LF in an extension, also in quotes",
        TERMINATOR,
        "5;a\\nhello",
        _fault("a bare LF in an extension", TERMINATOR, b"5;a\nhello\r\n" + END),
        _fault("a bare LF in an empty extension", TERMINATOR, b"5;\nhello\r\n" + END),
        _fault("a bare LF in a quoted extension", TERMINATOR, b'5;a="\n"\r\nhello\r\n' + END),
        _fault("CRLF in a quoted extension", TERMINATOR, b'5;a="\r\n"\r\nhello\r\n' + END),
        _fault("a bare CR in an extension", TERMINATOR, b"5;a\rX\r\nhello\r\n" + END),
        _fault("a bare CR in an empty extension", TERMINATOR, b"5;\r;\r\nhello\r\n" + END),
        _fault("CR CR LF after an extension", TERMINATOR, b"5;a\r\r\nhello\r\n" + END),
        _fault(
            "a request behind a bare LF in an extension",
            TERMINATOR,
            b"2;\nxx\r\n%x\r\n0\r\n\r\n" % (5 + len(SMUGGLED)) + SMUGGLED + b"\r\n" + END,
        ),
    ),
    *rule(
        "an extension that is not in the grammar",
        GRAMMAR,
        '5;a="b\\r\\n',
        *(
            _fault(f"the extension {extension!r}", GRAMMAR, b"5" + extension + b"\r\nhello\r\n" + END)
            for extension in (
                b";",
                b";;",
                b";a;",
                b";=b",
                b";a=",
                b";a b",
                b";a ",
                b";a=b\t",
                b";a=b c",
                b';a="b',
                b';a=b"',
                b';a="b"c',
                b';a="\\"',
                b';"a"=b',
                b";a=b=c",
                b";a\0",
                b";a\x1b",
                b';a="\x7f"',
                b";\xe9",
                b";a=\xe9",
            )
        ),
    ),
    *rule(
        "extensions of more than 256 bytes in a chunk, or 16 KiB in a body",
        BOUND,
        "5;aaaaaaaa",
        _fault("an extension of 257 bytes", BOUND, b"5;" + b"a" * 256 + b"\r\nhello\r\n" + END),
        _fault("an extension that does not end", BOUND, b"5;" + b"a" * 400),
        _fault(
            "extensions of 16 KiB and a few bytes together",
            BOUND,
            (b"1;" + b"a" * 255 + b"\r\nb\r\n") * 65 + END,
            b"b" * 64,
        ),
    ),
    *rule(
        "a chunked body of `limit_request_body`",
        "RFC 9110 §15.5.14",
        "40\\r\\naaaaaaaa",
        accepted(
            "a chunked body of the limit",
            "RFC 9110 §15.5.14",
            HEAD.replace(HOST.encode(), b"Host: a") + b"40\r\n" + b"a" * 64 + b"\r\n" + END,
            seen_chunked(b"a" * 64),
            limits=SMALL,
        ),
    ),
    *rule(
        "chunks over `limit_request_body`, one or all together: before their data is read",
        TOO_LARGE,
        "40000001\\r\\n",
        _fault("a size of sixteen f", TOO_LARGE, b"f" * 16 + b"\r\nhello\r\n", status=413),
        _fault("a size of 2^63", TOO_LARGE, b"8000000000000000\r\nhello\r\n", status=413),
        _fault("a chunk of 1 GiB and a byte", TOO_LARGE, b"40000001\r\nhello\r\n", status=413),
        _fault("chunks over the limit together", TOO_LARGE, b"1\r\na\r\n40000000\r\nhello", b"a", status=413),
        _fault(
            "a chunk over the limit",
            TOO_LARGE,
            b"41\r\n" + b"a" * 65 + b"\r\n" + END,
            status=413,
            limits=SMALL,
        ),
        _fault(
            "a second chunk over the limit",
            TOO_LARGE,
            b"40\r\n" + b"a" * 64 + b"\r\n1\r\nb\r\n" + END,
            b"a" * 64,
            status=413,
            limits=SMALL,
        ),
        _fault(
            "a chunk over the limit, and a request behind it",
            TOO_LARGE + "; nothing behind it is a request: smuggling",
            b"41\r\n" + b"a" * 65 + b"\r\n" + END + SMUGGLED,
            status=413,
            limits=SMALL,
        ),
    ),
)

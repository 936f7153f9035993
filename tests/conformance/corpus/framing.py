"""Where a request's body ends: Content-Length and Transfer-Encoding."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    SMUGGLED,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    seen_chunked,
    seen_get,
    seen_post,
)

LENGTH = "RFC 9110 §8.6: Content-Length = 1*DIGIT"
TWICE = "RFC 9112 §6.3: several lengths are refused, or believed if all are equal; we believe none: smuggling"
BOTH = "RFC 9112 §6.3: Transfer-Encoding and Content-Length together may be refused: smuggling (CL.TE, TE.CL)"
OLD = "RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0 is faulty framing: smuggling"
LAST = "RFC 9112 §6.3: 400 if chunked is not the final coding: the body's end cannot be known"
UNKNOWN = "RFC 9112 §6.1: 501 for a transfer coding that is not understood"
TWO = "RFC 9112 §6.1: chunked must not be applied twice"
OBFUSCATED = "smuggling: one reader takes it for chunked, another does not (CVE-2024-1135, CVE-2024-6827)"

ODD_LENGTHS = (
    "+5",
    "-5",
    "-0",
    "0x5",
    "5.0",
    "5e0",
    "5a",
    "a",
    "5 5",
    "5\t5",
    "5;",
    '"5"',
    "5_0",
    "\xb2",
    "\xd9\xa5",
    "\xe0\xa5\xab",
    "5\xa0",
    "\x0b5",
    "5\x0c",
    "",
    " ",
)

CASES = (
    accepted("no body", "RFC 9112 §6.3: no framing field, length zero", get("X-A: 1"), seen_get(length=0)),
    accepted("a POST without a length has no body", "RFC 9112 §6.3", post(), seen_post(b"")),
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
        "a GET with a body",
        "RFC 9110 §9.3.1: no meaning, and still framed",
        get("Content-Length: 5") + b"hello",
        seen_get(body=b"hello", length=5),
    ),
    accepted(
        "a DELETE with a body",
        "RFC 9110 §9.3.5",
        head("DELETE / HTTP/1.1", HOST, "Content-Length: 5") + b"hello",
        Request("DELETE / HTTP/1.1", body=b"hello", length=5),
    ),
    accepted(
        "a HEAD with a body",
        "RFC 9110 §9.3.2",
        head("HEAD / HTTP/1.1", HOST, "Content-Length: 5") + b"hello",
        Request("HEAD / HTTP/1.1", body=b"hello", length=5),
    ),
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
        "chunked",
        "RFC 9112 §7.1",
        post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
        seen_chunked(b"hello"),
    ),
    accepted(
        "Chunked in mixed case",
        "RFC 9112 §7: codings are case-insensitive",
        post("TRANSFER-ENCODING: cHuNkEd") + b"0\r\n\r\n",
        seen_chunked(b""),
    ),
    accepted(
        "chunked between blanks",
        "RFC 9112 §5: OWS",
        post("Transfer-Encoding: \t chunked  ") + b"0\r\n\r\n",
        seen_chunked(b""),
    ),
    accepted(
        "a chunked GET",
        "RFC 9110 §9.3.1",
        get("Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n",
        seen_get(body=b"a", length=-1),
    ),
    accepted(
        "TE is no Transfer-Encoding",
        "RFC 9110 §10.1.4",
        post("TE: chunked, trailers"),
        seen_post(b"", ("te", b"chunked, trailers")),
    ),
    accepted(
        "Content-Encoding does not frame",
        "RFC 9110 §8.4",
        post("Content-Encoding: chunked", "Content-Length: 5") + b"hello",
        seen_post(b"hello"),
    ),
    refused(
        "bytes after a POST without a length are no body",
        "RFC 9112 §6.3: length zero; what follows is read as a request, and is none",
        post() + b"a=1&b=2\r\n\r\n",
        400,
        seen_post(b""),
    ),
    *(
        refused(f"Content-Length: {value!r}", LENGTH, post(f"Content-Length: {value}") + b"hello", 400)
        for value in ODD_LENGTHS
    ),
    refused(
        "a length folded over two lines",
        "RFC 9112 §5.2: obs-fold",
        post("Content-Length: 5", " 5") + b"hello",
        400,
    ),
    refused(
        "a length of 2^63",
        "integer overflow, RFC 9110 §8.6",
        post("Content-Length: 9223372036854775808"),
        400,
    ),
    refused(
        "a length of 2^64 + 5",
        "integer overflow, RFC 9110 §8.6",
        post("Content-Length: 18446744073709551621") + b"hello",
        400,
    ),
    refused(
        "a length of 400 digits", "integer overflow, RFC 9110 §8.6", post("Content-Length: " + "9" * 400), 400
    ),
    refused(
        "a length of 1 GiB and a byte",
        "RFC 9110 §15.5.14: 413, before the body",
        post("Content-Length: 1073741825"),
        413,
    ),
    refused(
        "a length of 18 digits",
        "RFC 9110 §15.5.14: 413, before the body",
        post("Content-Length: 999999999999999999"),
        413,
    ),
    refused("two different lengths", TWICE, post("Content-Length: 5", "Content-Length: 6") + b"hello", 400),
    refused("two equal lengths", TWICE, post("Content-Length: 5", "Content-Length: 5") + b"hello", 400),
    refused("two lengths, one zero", TWICE, post("Content-Length: 0", "Content-Length: 44") + SMUGGLED, 400),
    refused("two lengths, one empty", TWICE, post("Content-Length:", "Content-Length: 5") + b"hello", 400),
    refused("a list of equal lengths", TWICE, post("Content-Length: 5, 5") + b"hello", 400),
    refused("a list of different lengths", TWICE, post("Content-Length: 5,6") + b"hello", 400),
    refused("a comma after the length", TWICE, post("Content-Length: 5,") + b"hello", 400),
    refused("a comma before the length", TWICE, post("Content-Length: ,5") + b"hello", 400),
    refused(
        "two lengths in HTTP/1.0",
        TWICE,
        head("POST / HTTP/1.0", "Content-Length: 5", "Content-Length: 6") + b"hello",
        400,
    ),
    refused(
        "a length, then chunked",
        BOTH,
        post("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        400,
    ),
    refused(
        "chunked, then a length",
        BOTH,
        post("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "chunked and a length of zero",
        BOTH,
        post("Content-Length: 0", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "chunked and a bad length",
        BOTH,
        post("Content-Length: x", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "an unknown coding and a length",
        BOTH,
        post("Transfer-Encoding: xchunked", "Content-Length: 5") + b"hello",
        400,
    ),
    refused(
        "identity and a length",
        BOTH,
        post("Transfer-Encoding: identity", "Content-Length: 5") + b"hello",
        400,
    ),
    refused(
        "chunked and a length in a GET",
        BOTH,
        get("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "chunked in HTTP/1.0", OLD, head("POST / HTTP/1.0", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400
    ),
    refused(
        "chunked and a length in HTTP/1.0",
        OLD,
        head("POST / HTTP/1.0", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "chunked in HTTP/1.0 with keep-alive",
        OLD,
        head("POST / HTTP/1.0", "Connection: keep-alive", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused("gzip, chunked", UNKNOWN, post("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
    refused(
        "gzip and chunked in two lines",
        UNKNOWN,
        post("Transfer-Encoding: gzip", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        501,
    ),
    refused(
        "deflate, gzip, chunked", UNKNOWN, post("Transfer-Encoding: deflate,gzip,chunked") + b"0\r\n\r\n", 501
    ),
    refused(
        "an invented coding, chunked", UNKNOWN, post("Transfer-Encoding: x_y.z, chunked") + b"0\r\n\r\n", 501
    ),
    *(
        refused(f"Transfer-Encoding: {value}", LAST, post(f"Transfer-Encoding: {value}") + b"0\r\n\r\n", 400)
        for value in ("gzip", "identity", "chunked, gzip", "chunked, identity", "trailers")
    ),
    refused(
        "chunked, then identity in a second line",
        LAST,
        post("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "identity, then chunked",
        "smuggling: identity was a coding once, so readers differ (CVE-2024-1135); gone with RFC 7230",
        post("Transfer-Encoding: identity, chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "chunked, then an empty second line",
        OBFUSCATED,
        post("Transfer-Encoding: chunked", "Transfer-Encoding:") + b"0\r\n\r\n",
        400,
    ),
    refused("chunked twice", TWO, post("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", 400),
    refused(
        "chunked in two lines",
        TWO,
        post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "gzip between two chunked", TWO, post("Transfer-Encoding: chunked, gzip, chunked") + b"0\r\n\r\n", 400
    ),
    *(
        refused(
            f"Transfer-Encoding: {value!r}",
            OBFUSCATED,
            post(f"Transfer-Encoding: {value}") + b"0\r\n\r\n" + SMUGGLED,
            400,
        )
        for value in (
            "xchunked",
            "chunkedx",
            "chunk",
            "chunked;q=1",
            "chunked;",
            "chunked,",
            ",chunked",
            ",",
            "gzip,,chunked",
            "gzip chunked",
            "chunked gzip",
            '"chunked"',
            "'chunked'",
            "(chunked)",
            "chunked=1",
            "",
            " ",
            "\x0bchunked",
            "chunked\x0b",
            "chu\0nked",
            "\x1fchunked",
            "\xa0chunked",
            "chunked\x85",
            "\xefchunked",
        )
    ),
    refused(
        "a space before the colon of Transfer-Encoding",
        OBFUSCATED,
        post("Transfer-Encoding : chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "a tab after chunked",
        "smuggling: OWS by RFC 9112 §5, not by llhttp; where two readers differ it is refused (our choice)",
        post("Transfer-Encoding: chunked\t") + b"0\r\n\r\n",
        400,
    ),
    refused("chunked in a fold", OBFUSCATED, post("Transfer-Encoding:", " chunked") + b"0\r\n\r\n", 400),
    refused(
        "chunked folded after a comma",
        OBFUSCATED,
        post("Transfer-Encoding: gzip,", "\tchunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "CL.TE: a length that covers a request behind the last chunk",
        BOTH,
        post(f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
        400,
    ),
    refused(
        "TE.CL: a chunk that covers a request behind the length",
        BOTH,
        post("Content-Length: 4", "Transfer-Encoding: chunked")
        + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        400,
    ),
)

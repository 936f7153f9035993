"""Where a request's body ends by Transfer-Encoding, alone and beside Content-Length."""

from tests.conformance.case import (
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
    seen_chunked,
    seen_get,
    seen_post,
)

BOTH = "RFC 9112 §6.3: Transfer-Encoding and Content-Length together may be refused: smuggling (CL.TE, TE.CL)"
OLD = "RFC 9112 §6.1: Transfer-Encoding in HTTP/1.0 is faulty framing: smuggling"
LAST = "RFC 9112 §6.3: 400 if chunked is not the final coding: the body's end cannot be known"
UNKNOWN = "RFC 9112 §6.1: 501 for a transfer coding that is not understood"
TWO = "RFC 9112 §6.1: chunked must not be applied twice"
OBFUSCATED = (
    "smuggling (TE.TE): one reader takes it for chunked, another does not (CVE-2024-1135, CVE-2024-6827)"
)
FRAMED = "smuggling (TE.0): a body that has no meaning is framed all the same"

EMPTY = b"0\r\n\r\n"

HIDDEN_CODINGS = (
    "xchunked",
    "chunkedx",
    "x chunked",
    "chunk",
    "chunked;q=1",
    "chunked;",
    ";chunked",
    "chunked,",
    ",chunked",
    "chunked, ,",
    ",",
    "gzip,,chunked",
    "gzip chunked",
    "chunked gzip",
    '"chunked"',
    "'chunked'",
    "(chunked)",
    "{chunked}",
    "chunked=1",
    "chunked:",
    ": chunked",
    "chunked-false",
    "",
    " ",
    "\x0bchunked",
    "chunked\x0b",
    "chunked\x0c",
    "chu\0nked",
    "chunked\0",
    "\0chunked",
    "\x1fchunked",
    "\x7fchunked",
    "\xa0chunked",
    "chunked\x85",
    "\xefchunked",
    "\xe2\x80\x8bchunked",
    "\xef\xbd\x83hunked",
    "chun\xe2\x84\xaaed",
    "chunked\r",
    "\nchunked",
    "chunked\n",
)

HIDING = (
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "\0Transfer-Encoding: chunked",
    "Transfer-Encoding\x0b: chunked",
    "Transfer-Encoding\xa0: chunked",
    "\xefTransfer-Encoding: chunked",
    "Transfer-Encoding\r: chunked",
    "Transfer\xad-Encoding: chunked",
    "Transfer Encoding: chunked",
    '"Transfer-Encoding": chunked',
    "Transfer-Encoding chunked",
    "X-A: 1\nTransfer-Encoding: chunked",
    "X-A: 1\rTransfer-Encoding: chunked",
    "X-A: 1\r\n Transfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: gzip,\r\n\tchunked",
    "Transfer-Encoding\r\n: chunked",
)


def _bad(name: str, why: str, *lines: str, status: int = 400) -> Case:
    """A POST with these lines and an empty chunked body, refused."""
    return refused(name, why, post(*lines) + EMPTY, status)


CASES = (
    *rule(
        "`Transfer-Encoding: chunked`, in any case, of any method",
        "RFC 9112 §7.1",
        "TRANSFER-ENCODING: cHuNkEd",
        accepted(
            "chunked",
            "RFC 9112 §7.1",
            post("Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n",
            seen_chunked(b"hello"),
        ),
        accepted(
            "Chunked in mixed case",
            "RFC 9112 §7: codings are case-insensitive",
            post("TRANSFER-ENCODING: cHuNkEd") + EMPTY,
            seen_chunked(b""),
        ),
        accepted(
            "chunked between blanks",
            "RFC 9112 §5: OWS",
            post("Transfer-Encoding: \t chunked  ") + EMPTY,
            seen_chunked(b""),
        ),
        *(
            accepted(
                f"a chunked {method}",
                FRAMED,
                head(f"{method} / HTTP/1.1", HOST, "Transfer-Encoding: chunked")
                + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
                + get(),
                Request(f"{method} / HTTP/1.1", body=SMUGGLED, length=-1),
                seen_get(),
            )
            for method in ("GET", "HEAD", "DELETE", "OPTIONS")
        ),
        accepted(
            "TE is no Transfer-Encoding",
            "RFC 9110 §10.1.4",
            post("TE: chunked, trailers"),
            seen_post(b"", ("te", b"chunked, trailers")),
        ),
    ),
    *rule(
        "`Transfer-Encoding` together with `Content-Length`",
        BOTH,
        "Content-Length: 5\\r\\nTransfer-Encoding: chunked",
        refused(
            "a length, then chunked",
            BOTH,
            post("Content-Length: 5", "Transfer-Encoding: chunked") + EMPTY + SMUGGLED,
            400,
        ),
        _bad("chunked, then a length", BOTH, "Transfer-Encoding: chunked", "Content-Length: 5"),
        _bad("chunked and a length of zero", BOTH, "Content-Length: 0", "Transfer-Encoding: chunked"),
        _bad("chunked and a bad length", BOTH, "Content-Length: x", "Transfer-Encoding: chunked"),
        _bad("chunked and an empty length", BOTH, "Content-Length:", "Transfer-Encoding: chunked"),
        _bad(
            "chunked and two lengths",
            BOTH,
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Content-Length: 5",
        ),
        _bad("an unknown coding and a length", BOTH, "Transfer-Encoding: xchunked", "Content-Length: 5"),
        _bad("no coding and a length", BOTH, "Transfer-Encoding:", "Content-Length: 5"),
        _bad("identity and a length", BOTH, "Transfer-Encoding: identity", "Content-Length: 5"),
        refused(
            "chunked and a length in a GET",
            BOTH,
            get("Content-Length: 5", "Transfer-Encoding: chunked") + EMPTY,
            400,
        ),
        refused(
            "chunked and a length in a HEAD",
            BOTH + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1", HOST, "Content-Length: 5", "Transfer-Encoding: chunked") + EMPTY,
            400,
            method="HEAD",
        ),
        refused(
            "CL.TE: a length that covers a request behind the last chunk",
            BOTH,
            post(f"Content-Length: {5 + len(SMUGGLED)}", "Transfer-Encoding: chunked") + EMPTY + SMUGGLED,
            400,
        ),
        refused(
            "TE.CL: a chunk that covers a request behind the length",
            BOTH,
            post("Content-Length: 4", "Transfer-Encoding: chunked")
            + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
            400,
        ),
    ),
    *rule(
        "`Transfer-Encoding` in HTTP/1.0",
        OLD,
        "POST / HTTP/1.0\\r\\nTransfer-Encoding: chunked",
        refused(
            "chunked in HTTP/1.0", OLD, head("POST / HTTP/1.0", "Transfer-Encoding: chunked") + EMPTY, 400
        ),
        refused(
            "chunked and a length in HTTP/1.0",
            OLD,
            head("POST / HTTP/1.0", "Transfer-Encoding: chunked", "Content-Length: 5") + EMPTY,
            400,
        ),
        refused(
            "chunked in HTTP/1.0 with keep-alive",
            OLD,
            head("POST / HTTP/1.0", "Connection: keep-alive", "Transfer-Encoding: chunked") + EMPTY,
            400,
        ),
        refused(
            "gzip, chunked in HTTP/1.0",
            OLD,
            head("POST / HTTP/1.0", "Transfer-Encoding: gzip, chunked") + EMPTY,
            400,
        ),
    ),
    *rule(
        "another coding, then `chunked`",
        UNKNOWN,
        "Transfer-Encoding: gzip, chunked",
        _bad("gzip, chunked", UNKNOWN, "Transfer-Encoding: gzip, chunked", status=501),
        _bad(
            "gzip and chunked in two lines",
            UNKNOWN,
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked",
            status=501,
        ),
        _bad("deflate, gzip, chunked", UNKNOWN, "Transfer-Encoding: deflate,gzip,chunked", status=501),
        _bad("an invented coding, chunked", UNKNOWN, "Transfer-Encoding: x_y.z, chunked", status=501),
    ),
    *rule(
        "a coding other than `chunked` as the last, or `identity`",
        LAST,
        "Transfer-Encoding: chunked, identity",
        *(
            _bad(f"Transfer-Encoding: {value}", LAST, f"Transfer-Encoding: {value}")
            for value in (
                "gzip",
                "identity",
                "chunked, gzip",
                "chunked, identity",
                "trailers",
                "chunked, x, y",
            )
        ),
        _bad(
            "chunked, then identity in a second line",
            LAST,
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: identity",
        ),
        _bad(
            "identity, then chunked",
            "smuggling: identity was a coding once, so readers differ (CVE-2024-1135); gone with RFC 7230",
            "Transfer-Encoding: identity, chunked",
        ),
        _bad(
            "identity, then chunked in a second line",
            "smuggling: identity was a coding once, so readers differ (CVE-2024-1135); gone with RFC 7230",
            "Transfer-Encoding: identity",
            "Transfer-Encoding: chunked",
        ),
    ),
    *rule(
        "`chunked` twice",
        TWO,
        "Transfer-Encoding: chunked, chunked",
        _bad("chunked twice", TWO, "Transfer-Encoding: chunked, chunked"),
        _bad("chunked twice without a blank", TWO, "Transfer-Encoding: chunked,chunked"),
        _bad("chunked in two lines", TWO, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        _bad(
            "chunked in two lines of different case",
            TWO,
            "Transfer-Encoding: chunked",
            "transfer-encoding: CHUNKED",
        ),
        _bad("gzip between two chunked", TWO, "Transfer-Encoding: chunked, gzip, chunked"),
    ),
    *rule(
        "a value that a parser might take for `chunked`: parameters, quotes, empty elements, odd blanks",
        OBFUSCATED,
        "Transfer-Encoding: xchunked",
        *(
            refused(
                f"Transfer-Encoding: {value!r}",
                OBFUSCATED,
                post(f"Transfer-Encoding: {value}") + EMPTY + SMUGGLED,
                400,
            )
            for value in HIDDEN_CODINGS
        ),
        _bad(
            "chunked, then an empty second line",
            OBFUSCATED,
            "Transfer-Encoding: chunked",
            "Transfer-Encoding:",
        ),
        _bad("an empty line, then chunked", OBFUSCATED, "Transfer-Encoding:", "Transfer-Encoding: chunked"),
        _bad(
            "a tab after chunked",
            "smuggling: OWS by RFC 9112 §5, not by llhttp; refused where two readers differ (our choice)",
            "Transfer-Encoding: chunked\t",
        ),
    ),
    *rule(
        "`Transfer-Encoding` in a malformed line",
        OBFUSCATED,
        "Transfer-Encoding : chunked",
        *(
            refused(f"a coding in {line!r}", OBFUSCATED, post(line) + EMPTY + SMUGGLED, 400)
            for line in HIDING
        ),
        *(
            refused(
                f"a length and a coding in {line!r}",
                OBFUSCATED,
                post(f"Content-Length: {5 + len(SMUGGLED)}", line) + EMPTY + SMUGGLED,
                400,
            )
            for line in HIDING
        ),
    ),
)

"""Field lines: their grammar, and what the application sees of them."""

from tests.conformance.case import HOST, Case, accepted, get, head, refused, rule, seen_get

NAME = "RFC 9110 §5.1: a field name is a token"
COLON = "RFC 9112 §5.1: 400 for whitespace between name and colon: smuggling, response splitting"
FOLD = "RFC 9112 §5.2: obs-fold is refused with 400: two readers would see two fields"
START = "RFC 9112 §2.2: whitespace after the start-line is refused: it hides fields"
VALUE = "RFC 9110 §5.5: CR, LF and NUL are dangerous, other controls invalid"
LINE_END = "RFC 9112 §2.2: CRLF ends a line; bare LF may be recognised, and is the usual smuggling device"
UNDERSCORE = (
    "spoofing: CGI writes - as _, so X_Forwarded_For would pass as X-Forwarded-For (our choice: dropped)"
)

DELIMITERS = '"(),/;<=>?@[\\]{}'
CONTROLS = "\x00\x01\x07\x08\x0b\x0c\x0e\x1b\x1c\x1d\x1e\x1f\x7f"


def _bad(name: str, why: str, *lines: str) -> Case:
    """A GET with these lines after its Host, refused."""
    return refused(name, why, get(*lines), 400)


CASES = (
    *rule(
        "fields of any name and value in the grammar, names in any case, each name as often as one likes",
        "RFC 9110 §5",
        "X-A: \\t  1 \\t ",
        accepted("no blank after the colon", "RFC 9112 §5", get("X-A:1"), seen_get(("x-a", b"1"))),
        accepted(
            "many blanks around a value",
            "RFC 9112 §5.1: OWS is excluded",
            get("X-A: \t  1 \t "),
            seen_get(("x-a", b"1")),
        ),
        accepted(
            "blanks inside a value", "RFC 9110 §5.5", get("X-A: a \t  b"), seen_get(("x-a", b"a \t  b"))
        ),
        accepted(
            "an empty value",
            "RFC 9110 §5.5: field-value = *field-content",
            get("X-A:"),
            seen_get(("x-a", b"")),
        ),
        accepted("a value of blanks", "RFC 9112 §5.1", get("X-A: \t "), seen_get(("x-a", b""))),
        accepted("colons in a value", "RFC 9112 §5", get("X-A: a:b: c"), seen_get(("x-a", b"a:b: c"))),
        accepted("a colon as a value", "RFC 9112 §5", get("X-A::"), seen_get(("x-a", b":"))),
        accepted(
            "a value of delimiters",
            "RFC 9110 §5.5: VCHAR",
            get("X-A: " + DELIMITERS),
            seen_get(("x-a", DELIMITERS.encode())),
        ),
        accepted(
            "every token character in a name",
            "RFC 9110 §5.6.2",
            get("!#$%&'*+-.^`|~09Az: 1"),
            seen_get(("!#$%&'*+-.^`|~09az", b"1")),
        ),
        accepted("a name of one letter", "RFC 9110 §5.1", get("A: 1"), seen_get(("a", b"1"))),
        accepted("a name of digits", "RFC 9110 §5.1", get("1: 2"), seen_get(("1", b"2"))),
        accepted(
            "names in any case",
            "RFC 9110 §5.1: case-insensitive",
            get("x-A: 1", "X-b: 2"),
            seen_get(("x-a", b"1"), ("x-b", b"2")),
        ),
        accepted(
            "lines of one name keep their order",
            "RFC 9110 §5.3",
            get("X-A: 1", "X-B: 0", "x-a: 2", "X-A: 3"),
            seen_get(("x-a", b"1,2,3")),
        ),
        accepted(
            "the same line twice",
            "RFC 9110 §5.3: values are combined, not unified",
            get("X-A: 1", "X-A: 1"),
            seen_get(("x-a", b"1,1")),
        ),
        accepted(
            "an empty value among others",
            "RFC 9110 §5.3",
            get("X-A: 1", "X-A:", "X-A: 3"),
            seen_get(("x-a", b"1,,3")),
        ),
        accepted(
            "two types of a body that is not there",
            "RFC 9110 §5.3: passed on as they are; which counts is the application's business",
            get("Content-Type: text/plain", "Content-Type: text/html"),
            seen_get(("content-type", b"text/plain,text/html")),
        ),
        accepted(
            "two lines of cookies",
            "RFC 6265 §5.4, RFC 9113 §8.2.3: joined by a semicolon",
            get("Cookie: a=1", "Cookie: b=2"),
            seen_get(("cookie", b"a=1; b=2")),
        ),
        accepted(
            "a request line as a value",
            "RFC 9112 §5",
            get("X-A: GET /smuggled HTTP/1.1"),
            seen_get(("x-a", b"GET /smuggled HTTP/1.1")),
        ),
        accepted(
            "sixteen fields of a browser",
            "RFC 9110 §5",
            get(
                "Connection: keep-alive",
                "Cache-Control: max-age=0",
                'sec-ch-ua: "Chromium";v="124", "Not-A.Brand";v="99"',
                "sec-ch-ua-mobile: ?0",
                'sec-ch-ua-platform: "Linux"',
                "Upgrade-Insecure-Requests: 1",
                "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
                "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
                "Sec-Fetch-Site: none",
                "Sec-Fetch-Mode: navigate",
                "Sec-Fetch-User: ?1",
                "Sec-Fetch-Dest: document",
                "Accept-Encoding: gzip, deflate, br, zstd",
                "Accept-Language: en-GB,en;q=0.9",
                "Cookie: session=abc; theme=dark",
            ),
            seen_get(
                ("sec-fetch-mode", b"navigate"),
                ("cookie", b"session=abc; theme=dark"),
                ("accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"),
            ),
        ),
    ),
    *rule(
        "bytes above 0x7F in a value, which are data; none of them is a blank or a line end",
        "RFC 9110 §5.5: opaque data",
        "X-A: a\\x85X-B: b",
        accepted(
            "obs-text in a value",
            "RFC 9110 §5.5: opaque data",
            get("X-A: a\x80\xe9\xff"),
            seen_get(("x-a", b"a\x80\xe9\xff")),
        ),
        accepted(
            "UTF-8 in a value",
            "RFC 9110 §5.5: opaque data",
            get("X-A: \xe2\x82\xac"),
            seen_get(("x-a", b"\xe2\x82\xac")),
        ),
        accepted(
            "NEL and no-break space are no blanks",
            "RFC 9110 §5.6.3: only SP and HTAB are; str.strip() takes more (CVE-2026-44546)",
            get("X-A: \x85a\xa0"),
            seen_get(("x-a", b"\x85a\xa0")),
        ),
        accepted(
            "NEL does not end a line",
            "RFC 9112 §2.2; str.splitlines() thinks it does (CVE-2026-44546)",
            get("X-A: a\x85X-B: b"),
            seen_get(("x-a", b"a\x85X-B: b"), ("x-b", None)),
        ),
        accepted(
            "a line separator of Unicode does not end a line",
            "RFC 9112 §2.2; str.splitlines() thinks it does",
            get("X-A: a\xe2\x80\xa8X-B: b"),
            seen_get(("x-a", b"a\xe2\x80\xa8X-B: b"), ("x-b", None)),
        ),
        accepted(
            "two bytes whose low bits are CR and LF",
            "response splitting, RFC 9110 §5.5: a reader that drops the high bits sees a line end",
            get("X-A: a\xc4\x8d\xc4\x8aX-B: b"),
            seen_get(("x-a", b"a\xc4\x8d\xc4\x8aX-B: b"), ("x-b", None)),
        ),
    ),
    *rule(
        "a field whose name has an underscore: dropped",
        UNDERSCORE,
        "X_Forwarded_For: 192.0.2.1",
        accepted(
            "a name with an underscore is not passed on",
            UNDERSCORE,
            get("X_Forwarded_For: 192.0.2.1", "X_A: 1", "X-A: 2"),
            seen_get(("x_forwarded_for", None), ("x-forwarded-for", None), ("x_a", None), ("x-a", b"2")),
        ),
        accepted(
            "Content_Length does not frame a body",
            UNDERSCORE,
            get("Content_Length: 5"),
            seen_get(("content-length", None)),
        ),
        accepted(
            "Content_Length beside a length",
            UNDERSCORE,
            get("Content-Length: 5", "Content_Length: 3") + b"hello",
            seen_get(("content-length", b"5"), body=b"hello", length=5),
        ),
        accepted(
            "Transfer_Encoding does not frame a body",
            UNDERSCORE,
            get("Transfer_Encoding: chunked"),
            seen_get(("transfer-encoding", None)),
        ),
        accepted(
            "Transfer_Encoding beside a length",
            UNDERSCORE,
            get("Content-Length: 5", "Transfer_Encoding: chunked") + b"0\r\n\r\n",
            seen_get(("transfer-encoding", None), body=b"0\r\n\r\n", length=5),
        ),
        accepted(
            "environ's own names as fields",
            "spoofing: httpoxy (CVE-2016-5385) and its like; CGI variables have HTTP_ before them",
            get("Proxy: http://evil.example", "SCRIPT_NAME: /a", "REMOTE_ADDR: 192.0.2.1", "wsgi.input: x"),
            seen_get(("script_name", None), ("remote_addr", None), ("proxy", b"http://evil.example")),
        ),
    ),
    *rule(
        "fields that framed a body once or elsewhere, and do not here",
        "smuggling: hixie-76 had eight bytes of body without a length (SRCCLR-SID-37550)",
        "Sec-WebSocket-Key1: 4",
        accepted(
            "Sec-WebSocket-Key1 does not frame a body",
            "smuggling: hixie-76 had eight bytes of body without a length (SRCCLR-SID-37550)",
            get("Upgrade: WebSocket", "Sec-WebSocket-Key1: 4 @1 46546xW%0l 1 5") + get(),
            seen_get(),
            seen_get(),
        ),
        accepted(
            "multipart/byteranges does not frame a body",
            "RFC 9112 §6.3: a self-delimiting type is gone since RFC 7230",
            get("Content-Type: multipart/byteranges; boundary=a") + get(),
            seen_get(),
            seen_get(),
        ),
    ),
    *rule(
        "a blank before the colon",
        COLON,
        "X-A : 1",
        _bad("a space before the colon", COLON, "X-A : 1"),
        _bad("a tab before the colon", COLON, "X-A\t: 1"),
        refused("a space before the colon of Host", COLON, head("GET / HTTP/1.1", "Host : a.example"), 400),
        refused("a space before a colon in HTTP/1.2", COLON, head("GET / HTTP/1.2", HOST, "X-A : 1"), 400),
    ),
    *rule(
        "a line that begins with a blank: a folded value, or hidden in front of the first field",
        FOLD,
        "X-A: 1\\r\\n Transfer-Encoding: chunked",
        refused("a space before the first field", START, head("GET / HTTP/1.1", " X-A: 1", HOST), 400),
        refused("a tab before the first field", START, head("GET / HTTP/1.1", "\tX-A: 1", HOST), 400),
        refused("a line of spaces before the first field", START, head("GET / HTTP/1.1", "  ", HOST), 400),
        _bad("a value folded by a space", FOLD, "X-A: 1", " 2"),
        _bad("a value folded by a tab", FOLD, "X-A: 1", "\t2"),
        _bad("a value folded to nothing", FOLD, "X-A: 1", " "),
        _bad("a value folded twice", FOLD, "X-A: 1", " 2", " 3"),
        _bad("a fold that hides a field", FOLD, "X-A: 1", " Transfer-Encoding: chunked"),
        refused("Host in a fold", FOLD, head("GET / HTTP/1.1", "Host:", " a.example"), 400),
    ),
    *rule(
        "a name that is no token, an empty one, a line without a colon",
        NAME,
        "X A: 1",
        _bad("an empty name", NAME, ": 1"),
        _bad("a line without a colon", NAME, "X-A"),
        _bad("a request line among the fields", NAME, "GET /smuggled HTTP/1.1"),
        _bad("a space in a name", NAME, "X A: 1"),
        _bad("obs-text in a name", NAME, "X-\xe9: 1"),
        _bad("a no-break space at a name's end", NAME, "X-A\xa0: 1"),
        _bad("a soft hyphen in a name", NAME, "X\xad-A: 1"),
        _bad("a control character in a name", NAME, "X-\x01A: 1"),
        _bad("DEL in a name", NAME, "X-\x7fA: 1"),
        _bad("NUL in a name", NAME, "X-\0A: 1"),
        _bad("a vertical tab before a colon", NAME, "X-A\x0b: 1"),
        refused(
            "a BOM before the first field", NAME, head("GET / HTTP/1.1", "\xef\xbb\xbfHost: a.example"), 400
        ),
        *(_bad(f"{delimiter} in a name", NAME, f"X{delimiter}A: 1") for delimiter in DELIMITERS),
    ),
    *rule(
        "a control character in a value, a bare CR among them",
        VALUE + ": smuggling",
        "X-A: 1\\rX-B: 2",
        *(_bad(f"{control!r} in a value", VALUE, f"X-A: a{control}b") for control in CONTROLS),
        _bad("a control character at a value's end", VALUE, "X-A: a\x0b"),
        _bad("a control character at a value's beginning", VALUE, "X-A:\x0ca"),
        _bad("a bare CR in a value", VALUE + ": smuggling", "X-A: 1\rX-B: 2"),
        _bad("a bare CR at a value's end", VALUE, "X-A: 1\r"),
        _bad("a bare CR as a value", VALUE, "X-A:\r"),
        _bad(
            "a bare CR hides Transfer-Encoding", VALUE + ": smuggling", "X-A: 1\rTransfer-Encoding: chunked"
        ),
        refused(
            "a bare CR in a line that does not end",
            VALUE + "; refused before its end",
            b"GET / HTTP/1.1\r\nX-A: 1\rX",
            400,
        ),
    ),
    *rule(
        "a bare LF, as a line end or anywhere else in the head",
        LINE_END,
        "HTTP/1.1\\nHost: a.example\\n\\n",
        _bad("a bare LF in a value", LINE_END, "X-A: 1\nX-B: 2"),
        _bad("a bare LF hides Transfer-Encoding", LINE_END, "X-A: 1\nTransfer-Encoding: chunked"),
        refused(
            "a bare LF in a line that does not end",
            LINE_END + "; refused before its end",
            b"GET / HTTP/1.1\r\nX-A: 1\nX",
            400,
        ),
        refused("a bare LF ends every line", LINE_END, b"GET / HTTP/1.1\nHost: a.example\n\n", 400),
        refused("a bare LF ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", 400),
        refused("LF CR ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\n\r\n", 400),
        refused(
            "LF ends the last field, CRLF the head",
            LINE_END,
            b"GET / HTTP/1.1\r\nHost: a.example\n\r\n\r\n",
            400,
        ),
        refused("CR CR ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\r" + get(), 400),
        refused("CR CR LF ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\r\n", 400),
    ),
)

"""Field lines: their grammar, and what the application sees of them."""

from tests.conformance.case import HOST, accepted, get, head, refused, seen_get

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

CASES = (
    accepted("no blank after the colon", "RFC 9112 §5", get("X-A:1"), seen_get(("x-a", b"1"))),
    accepted(
        "many blanks around a value",
        "RFC 9112 §5.1: OWS is excluded",
        get("X-A: \t  1 \t "),
        seen_get(("x-a", b"1")),
    ),
    accepted("blanks inside a value", "RFC 9110 §5.5", get("X-A: a \t  b"), seen_get(("x-a", b"a \t  b"))),
    accepted(
        "an empty value", "RFC 9110 §5.5: field-value = *field-content", get("X-A:"), seen_get(("x-a", b""))
    ),
    accepted("a value of blanks", "RFC 9112 §5.1", get("X-A: \t "), seen_get(("x-a", b""))),
    accepted("colons in a value", "RFC 9112 §5", get("X-A: a:b: c"), seen_get(("x-a", b"a:b: c"))),
    accepted(
        "a value of delimiters",
        "RFC 9110 §5.5: VCHAR",
        get("X-A: " + DELIMITERS),
        seen_get(("x-a", DELIMITERS.encode())),
    ),
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
        "two lines of cookies",
        "RFC 6265 §5.4, RFC 9113 §8.2.3: joined by a semicolon",
        get("Cookie: a=1", "Cookie: b=2"),
        seen_get(("cookie", b"a=1; b=2")),
    ),
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
        "Transfer_Encoding does not frame a body",
        UNDERSCORE,
        get("Transfer_Encoding: chunked"),
        seen_get(("transfer-encoding", None)),
    ),
    accepted(
        "Sec-WebSocket-Key1 does not frame a body",
        "smuggling: hixie-76 had eight bytes of body without a length (SRCCLR-SID-37550)",
        get("Connection: Upgrade", "Upgrade: WebSocket", "Sec-WebSocket-Key1: 4 @1 46546xW%0l 1 5") + get(),
        seen_get(upgrade=b"WebSocket"),
        seen_get(),
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
    refused("a space before the colon", COLON, get("X-A : 1"), 400),
    refused("a tab before the colon", COLON, get("X-A\t: 1"), 400),
    refused("a space before the colon of Host", COLON, head("GET / HTTP/1.1", "Host : a.example"), 400),
    refused("a space before the first field", START, head("GET / HTTP/1.1", " X-A: 1", HOST), 400),
    refused("a tab before the first field", START, head("GET / HTTP/1.1", "\tX-A: 1", HOST), 400),
    refused("a line of spaces before the first field", START, head("GET / HTTP/1.1", "  ", HOST), 400),
    refused("a value folded by a space", FOLD, get("X-A: 1", " 2"), 400),
    refused("a value folded by a tab", FOLD, get("X-A: 1", "\t2"), 400),
    refused("a value folded to nothing", FOLD, get("X-A: 1", " "), 400),
    refused("a fold that hides a field", FOLD, get("X-A: 1", " Transfer-Encoding: chunked"), 400),
    refused("Host in a fold", FOLD, head("GET / HTTP/1.1", "Host:", " a.example"), 400),
    refused("an empty name", NAME, get(": 1"), 400),
    refused("a line without a colon", NAME, get("X-A"), 400),
    refused("a request line among the fields", NAME, get("GET /smuggled HTTP/1.1"), 400),
    refused("a space in a name", NAME, get("X A: 1"), 400),
    refused("obs-text in a name", NAME, get("X-\xe9: 1"), 400),
    refused("a control character in a name", NAME, get("X-\x01A: 1"), 400),
    refused("NUL in a name", NAME, get("X-\0A: 1"), 400),
    refused("a BOM before the first field", NAME, head("GET / HTTP/1.1", "\xef\xbb\xbfHost: a.example"), 400),
    *(refused(f"{delimiter} in a name", NAME, get(f"X{delimiter}A: 1"), 400) for delimiter in DELIMITERS),
    *(refused(f"{control!r} in a value", VALUE, get(f"X-A: a{control}b"), 400) for control in CONTROLS),
    refused("a control character at a value's end", VALUE, get("X-A: a\x0b"), 400),
    refused("a control character at a value's beginning", VALUE, get("X-A:\x0ca"), 400),
    refused("a bare CR in a value", VALUE + ": smuggling", get("X-A: 1\rX-B: 2"), 400),
    refused("a bare CR at a value's end", VALUE, get("X-A: 1\r"), 400),
    refused("a bare LF in a value", LINE_END, get("X-A: 1\nX-B: 2"), 400),
    refused("a bare LF hides Transfer-Encoding", LINE_END, get("X-A: 1\nTransfer-Encoding: chunked"), 400),
    refused(
        "a bare CR hides Transfer-Encoding",
        VALUE + ": smuggling",
        get("X-A: 1\rTransfer-Encoding: chunked"),
        400,
    ),
    refused(
        "a bare CR in a line that does not end",
        VALUE + "; refused before its end",
        b"GET / HTTP/1.1\r\nX-A: 1\rX",
        400,
    ),
    refused(
        "a bare LF in a line that does not end",
        LINE_END + "; refused before its end",
        b"GET / HTTP/1.1\r\nX-A: 1\nX",
        400,
    ),
    refused("a bare LF ends every line", LINE_END, b"GET / HTTP/1.1\nHost: a.example\n\n", 400),
    refused("a bare LF ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\n\n", 400),
    refused("LF CR ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\n\r\n", 400),
    refused("CR CR ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\r" + get(), 400),
    refused("CR CR LF ends the head", LINE_END, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\r\n", 400),
)

"""The request line, and what stands before it."""

from tests.conformance.case import HOST, SMUGGLED, Case, Request, accepted, get, head, refused, rule, seen_get

METHODS = (
    "PUT DELETE OPTIONS TRACE PATCH QUERY COPY LOCK UNLOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH BIND "
    "REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PURGE "
    "MKCALENDAR LINK UNLINK"
).split()

OTHERS = (
    *"BASELINE-CONTROL CHECKIN LABEL MKREDIRECTREF MKWORKSPACE ORDERPATCH UNCHECKOUT UPDATE".split(),
    *"VERSION-CONTROL BREW DESCRIBE SOURCE PRI SSTP_DUPLEX_POST get Get !#$%&'*+-.^_`|~0aZ".split(),
    "M" * 32,
)

TLS_HELLO = bytes.fromhex(
    "16030100c0010000bc0303a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90"
    "20a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f900024130113021303c02f"
)
"""The beginning of a TLS 1.3 ClientHello: an https:// URL with the port of plain HTTP."""

ONE_SP = (
    "RFC 9112 §3: single SP between the elements, no other whitespace; a lenient split is a smuggling device"
)
AT_ONCE = "RFC 9112 §3; refused as soon as no request line can begin so, not after a timeout"
LINE_END = "RFC 9112 §2.2: CRLF ends a line; bare LF may be recognised, and is the usual smuggling device"
BARE_CR = "RFC 9112 §2.2: bare CR is invalid"
TOKEN = "RFC 9110 §9.1: a method is a token"


def _line(name: str, why: str, line: str, status: int = 400) -> Case:
    """A head with this request line, refused."""
    return refused(name, why, head(line, HOST), status)


CASES = (
    *rule(
        "a method that llhttp knows: those of HTTP, WebDAV, CalDAV and UPnP, `PURGE`, `QUERY`",
        "RFC 9110 §9.1",
        "PROPFIND / HTTP/1.1",
        accepted("a GET", "RFC 9112 §3", get(), seen_get(("host", b"a.example"))),
        accepted("HEAD", "RFC 9110 §9.3.2", head("HEAD / HTTP/1.1", HOST), Request("HEAD / HTTP/1.1")),
        *(
            accepted(
                f"the method {method}",
                "RFC 9110 §9.1, IANA method registry",
                head(f"{method} / HTTP/1.1", HOST),
                Request(f"{method} / HTTP/1.1"),
            )
            for method in METHODS
        ),
    ),
    *rule(
        "any other token of at most 32 bytes: the application knows which methods it serves",
        "RFC 9110 §9.1, IANA method registry",
        "VERSION-CONTROL / HTTP/1.1",
        *(
            accepted(
                f"the method {method}",
                "RFC 9110 §9.1: methods are case-sensitive tokens",
                head(f"{method} / HTTP/1.1", HOST),
                Request(f"{method} / HTTP/1.1"),
            )
            for method in OTHERS
        ),
        accepted(
            "another method with a body, of HTTP/1.9",
            "RFC 9110 §9.1, §2.5",
            head("BREW / HTTP/1.9", HOST, "Content-Length: 4") + b"body",
            Request("BREW / HTTP/1.1", body=b"body", length=4),
        ),
    ),
    *rule(
        "a method longer than 32 bytes",
        "RFC 9112 §3: 501 for a method longer than any implemented",
        "M" * 33 + " / HTTP/1.1",
        *(
            _line(f"a method of {size} bytes", "RFC 9112 §3", "M" * size + " / HTTP/1.1", 501)
            for size in (33, 300)
        ),
    ),
    *rule(
        "`CONNECT`",
        "RFC 9110 §9.3.6: an origin server may refuse tunnels",
        "CONNECT b.example:443",
        refused(
            "CONNECT",
            "RFC 9110 §9.3.6: an origin server may refuse tunnels",
            head("CONNECT b.example:443 HTTP/1.1", "Host: b.example:443"),
            501,
        ),
        _line("CONNECT with an origin-form target", "RFC 9110 §9.3.6", "CONNECT / HTTP/1.1", 501),
        refused(
            "CONNECT, and a request behind it",
            "RFC 9110 §9.3.6: smuggling, if a proxy took the rest for a tunnel",
            head("CONNECT b.example:443 HTTP/1.1", HOST) + SMUGGLED,
            501,
        ),
    ),
    *rule(
        "one or two empty lines before a request",
        "RFC 9112 §2.2: old clients send one after a POST",
        "\\r\\nGET / HTTP/1.1",
        accepted(
            "one empty line before the request line",
            "RFC 9112 §2.2: a server should ignore at least one",
            b"\r\n" + get(),
            seen_get(),
        ),
        accepted(
            "two empty lines before the request line",
            "RFC 9112 §2.2: at least one; two is our bound",
            b"\r\n\r\n" + get(),
            seen_get(),
        ),
    ),
    *rule(
        "anything else before a request",
        "RFC 9112 §2.2: endless lines are work for nothing, and lenient line ends a smuggling device",
        "\\nGET / HTTP/1.1",
        refused(
            "three empty lines before the request line",
            "RFC 9112 §2.2: one is enough; endless ones are work for nothing",
            b"\r\n\r\n\r\n" + get(),
            400,
        ),
        refused("a bare LF before the request line", LINE_END, b"\n" + get(), 400),
        refused("a bare LF after an empty line", LINE_END, b"\r\n\n" + get(), 400),
        refused("a bare CR before the request line", BARE_CR, b"\r" + get(), 400),
        refused("CR CR LF before the request line", BARE_CR, b"\r\r\n" + get(), 400),
        refused("a blank line of spaces before the request line", ONE_SP, b"  \r\n" + get(), 400),
        refused("a BOM before the request line", TOKEN, b"\xef\xbb\xbf" + get(), 400),
        refused("NUL before the request line", TOKEN, b"\0" + get(), 400),
    ),
    *rule(
        "a request line with other whitespace than one space between its three parts",
        ONE_SP,
        "GET  / HTTP/1.1",
        _line("a space before the method", ONE_SP, " GET / HTTP/1.1"),
        _line("a tab before the method", ONE_SP, "\tGET / HTTP/1.1"),
        _line("two spaces after the method", ONE_SP, "GET  / HTTP/1.1"),
        _line("two spaces before the version", ONE_SP, "GET /  HTTP/1.1"),
        _line("a space after the version", ONE_SP, "GET / HTTP/1.1 "),
        _line("a tab after the version", ONE_SP, "GET / HTTP/1.1\t"),
        _line("a tab after the method", ONE_SP, "GET\t/ HTTP/1.1"),
        _line("a tab before the version", ONE_SP, "GET /\tHTTP/1.1"),
        _line("a space and a tab after the method", ONE_SP, "GET \t/ HTTP/1.1"),
        _line("a vertical tab after the method", ONE_SP, "GET\x0b/ HTTP/1.1"),
        _line("a form feed after the method", ONE_SP, "GET\x0c/ HTTP/1.1"),
        _line("a no-break space after the method", ONE_SP, "GET\xa0/ HTTP/1.1"),
        _line("a next-line character before the version", ONE_SP, "GET /\x85HTTP/1.1"),
        _line("NUL after the method", ONE_SP, "GET\0/ HTTP/1.1"),
        _line("a space inside the target", ONE_SP, "GET /a b HTTP/1.1"),
        _line("a space inside the query", ONE_SP, "GET /?a b HTTP/1.1"),
        _line("a fourth element", ONE_SP, "GET / HTTP/1.1 HTTP/1.1"),
        _line("a whole request as the target", ONE_SP, "GET /?x GET /smuggled HTTP/1.1"),
        _line("no spaces at all", ONE_SP, "GET/HTTP/1.1"),
        _line("plus signs for spaces", ONE_SP, "GET+/+HTTP/1.1"),
    ),
    *rule(
        "a request line that lacks a part",
        "RFC 9112 §3",
        "GET HTTP/1.1",
        _line("no target", "RFC 9112 §3", "GET HTTP/1.1"),
        _line("an empty target", "RFC 9112 §3.2", "GET  HTTP/1.1"),
        _line("a method only", "RFC 9112 §3", "GET"),
        _line("a target only", "RFC 9112 §3", "/"),
        _line("no method", "RFC 9112 §3", "/ HTTP/1.1"),
        refused("field lines without a request line", "RFC 9112 §2.1", head(HOST, "Accept: */*"), 400),
    ),
    *rule(
        "a method with a character that is none of a token's",
        TOKEN,
        "GE(T / HTTP/1.1",
        _line("a method with a delimiter", TOKEN, "GE(T / HTTP/1.1"),
        _line("a method with a colon", TOKEN, "GET: / HTTP/1.1"),
        _line("a method with a slash", TOKEN, "GET/ / HTTP/1.1"),
        _line("a method in quotes", TOKEN, '"GET" / HTTP/1.1'),
        _line("a method with obs-text", TOKEN, "G\xc9T / HTTP/1.1"),
        _line("NUL in the method", TOKEN, "G\0ET / HTTP/1.1"),
        _line(
            "ESC in the method", "RFC 9110 §9.1; escapes in logs (CVE-2020-7694)", "\x1b[31mGET / HTTP/1.1"
        ),
    ),
    *rule(
        "a bare CR or LF in the request line",
        LINE_END,
        "GET / HTTP/1.1\\nHost: a.example",
        _line("a bare CR in the method", BARE_CR, "G\rET / HTTP/1.1"),
        _line("a bare CR before the version", BARE_CR, "GET /\rHTTP/1.1"),
        _line("a bare CR in the version", BARE_CR, "GET / HTTP/1\r.1"),
        refused("a bare CR ends the request line", BARE_CR, b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
        refused("a bare LF ends the request line", LINE_END, b"GET / HTTP/1.1\nHost: a.example\r\n\r\n", 400),
        refused("LF CR ends the request line", LINE_END, b"GET / HTTP/1.1\n\rHost: a.example\r\n\r\n", 400),
        refused(
            "CR CR LF ends the request line", LINE_END, b"GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n", 400
        ),
        _line("a bare LF in the target", LINE_END, "GET /a\nb HTTP/1.1"),
        _line("a request behind a bare LF in the target", LINE_END, "GET /a\nGET /smuggled HTTP/1.1"),
    ),
    *rule(
        "another protocol: TLS, SSH, PROXY (unless `proxy_protocol` is set), SMTP, Redis …",
        AT_ONCE,
        "SSH-2.0-OpenSSH_9.6",
        refused("a TLS ClientHello", AT_ONCE, TLS_HELLO, 400),
        refused("an SSLv2 hello", AT_ONCE, bytes.fromhex("802e0103010015000000100100800300800700c0"), 400),
        refused("an SSH banner", AT_ONCE, b"SSH-2.0-OpenSSH_9.6\r\n", 400),
        refused(
            "a PROXY v1 line",
            AT_ONCE + "; which peers may send PROXY is a setting",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n",
            400,
        ),
        refused("a PROXY v2 signature", AT_ONCE, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", 400),
        refused("an HTTP response", AT_ONCE, b"HTTP/1.1 200 OK\r\n", 400),
        refused("a JSON document", AT_ONCE, b'{"jsonrpc": "2.0"}', 400),
        refused("an SMTP greeting", AT_ONCE, b"EHLO a.example\r\n", 400),
        refused("a Redis command", AT_ONCE, b"*1\r\n$4\r\nPING\r\n", 400),
        refused("a MySQL packet", AT_ONCE, b"\x20\x00\x00\x01\x85\xa6\xff\x01", 400),
        refused("an RDP request", AT_ONCE, b"\x03\x00\x00\x2f\x2a\xe0\x00\x00\x00\x00\x00Cookie: a", 400),
        refused("a DNS query", AT_ONCE, b"\x00\x1d\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00", 400),
        refused("NUL bytes", AT_ONCE, bytes(64), 400),
    ),
)

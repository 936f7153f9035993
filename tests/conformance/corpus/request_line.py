"""The request line, and what stands before it."""

from tests.conformance.case import HOST, Request, accepted, get, head, refused, seen_get

METHODS = (
    "PUT",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "PATCH",
    "PROPFIND",
    "MKCOL",
    "REPORT",
    "M-SEARCH",
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

CASES = (
    accepted("a GET", "RFC 9112 §3", get(), seen_get(("host", b"a.example"))),
    *(
        accepted(
            f"the method {method}",
            "RFC 9110 §9.1, IANA method registry",
            head(f"{method} / HTTP/1.1", HOST),
            Request(f"{method} / HTTP/1.1"),
        )
        for method in METHODS
    ),
    accepted("HEAD", "RFC 9110 §9.3.2", head("HEAD / HTTP/1.1", HOST), Request("HEAD / HTTP/1.1")),
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
    refused(
        "three empty lines before the request line",
        "RFC 9112 §2.2: one is enough; endless ones are work for nothing",
        b"\r\n\r\n\r\n" + get(),
        400,
    ),
    refused("a bare LF before the request line", LINE_END, b"\n" + get(), 400),
    refused("a bare CR before the request line", "RFC 9112 §2.2: bare CR is invalid", b"\r" + get(), 400),
    refused("a blank line of spaces before the request line", ONE_SP, b"  \r\n" + get(), 400),
    refused("a space before the method", ONE_SP, head(" GET / HTTP/1.1", HOST), 400),
    refused("a tab before the method", ONE_SP, head("\tGET / HTTP/1.1", HOST), 400),
    refused("two spaces after the method", ONE_SP, head("GET  / HTTP/1.1", HOST), 400),
    refused("two spaces before the version", ONE_SP, head("GET /  HTTP/1.1", HOST), 400),
    refused("a space after the version", ONE_SP, head("GET / HTTP/1.1 ", HOST), 400),
    refused("a tab after the version", ONE_SP, head("GET / HTTP/1.1\t", HOST), 400),
    refused("a tab after the method", ONE_SP, head("GET\t/ HTTP/1.1", HOST), 400),
    refused("a tab before the version", ONE_SP, head("GET /\tHTTP/1.1", HOST), 400),
    refused("a vertical tab after the method", ONE_SP, head("GET\x0b/ HTTP/1.1", HOST), 400),
    refused("a form feed after the method", ONE_SP, head("GET\x0c/ HTTP/1.1", HOST), 400),
    refused("a no-break space after the method", ONE_SP, head("GET\xa0/ HTTP/1.1", HOST), 400),
    refused("a space inside the target", ONE_SP, head("GET /a b HTTP/1.1", HOST), 400),
    refused("a fourth element", ONE_SP, head("GET / HTTP/1.1 HTTP/1.1", HOST), 400),
    refused("no target", "RFC 9112 §3", head("GET HTTP/1.1", HOST), 400),
    refused("an empty target", "RFC 9112 §3.2", head("GET  HTTP/1.1", HOST), 400),
    refused("a method only", "RFC 9112 §3", head("GET", HOST), 400),
    refused("field lines without a request line", "RFC 9112 §2.1", head(HOST, "Accept: */*"), 400),
    refused(
        "a method with a delimiter", "RFC 9110 §9.1: a method is a token", head("GE(T / HTTP/1.1", HOST), 400
    ),
    refused(
        "a method with a colon", "RFC 9110 §9.1: a method is a token", head("GET: / HTTP/1.1", HOST), 400
    ),
    refused("a method in quotes", "RFC 9110 §9.1: a method is a token", head('"GET" / HTTP/1.1', HOST), 400),
    refused(
        "a method with obs-text", "RFC 9110 §9.1: a method is a token", head("G\xc9T / HTTP/1.1", HOST), 400
    ),
    refused("NUL in the method", "RFC 9110 §9.1: a method is a token", head("G\0ET / HTTP/1.1", HOST), 400),
    refused(
        "ESC in the method",
        "RFC 9110 §9.1; escapes in logs (CVE-2020-7694)",
        head("\x1b[31mGET / HTTP/1.1", HOST),
        400,
    ),
    refused(
        "a bare CR in the method", "RFC 9112 §2.2: bare CR is invalid", head("G\rET / HTTP/1.1", HOST), 400
    ),
    refused(
        "a bare CR before the version",
        "RFC 9112 §2.2: bare CR is invalid",
        head("GET /\rHTTP/1.1", HOST),
        400,
    ),
    refused(
        "a bare CR ends the request line",
        "RFC 9112 §2.2: bare CR is invalid",
        b"GET / HTTP/1.1\rHost: a\r\n\r\n",
        400,
    ),
    refused("a bare LF ends the request line", LINE_END, b"GET / HTTP/1.1\nHost: a.example\r\n\r\n", 400),
    refused("CR CR LF ends the request line", LINE_END, b"GET / HTTP/1.1\r\r\nHost: a.example\r\n\r\n", 400),
    refused(
        "an unknown method",
        "RFC 9110 §9.1: 501 for an unrecognised method",
        head("BREW / HTTP/1.1", HOST),
        501,
    ),
    refused(
        "a lower-case method", "RFC 9110 §9.1: methods are case-sensitive", head("get / HTTP/1.1", HOST), 501
    ),
    refused(
        "a method in mixed case",
        "RFC 9110 §9.1: methods are case-sensitive",
        head("Get / HTTP/1.1", HOST),
        501,
    ),
    refused(
        "a method with every token character",
        "RFC 9110 §5.6.2: a token, and unknown",
        head("!#$%&'*+-.^_`|~0aZ / HTTP/1.1", HOST),
        501,
    ),
    refused(
        "a method of 300 bytes",
        "RFC 9112 §3: 501 for a method longer than any implemented",
        head("M" * 300 + " / HTTP/1.1", HOST),
        501,
    ),
    refused(
        "CONNECT",
        "RFC 9110 §9.3.6: an origin server may refuse tunnels",
        head("CONNECT b.example:443 HTTP/1.1", "Host: b.example:443"),
        501,
    ),
    refused("CONNECT with an origin-form target", "RFC 9110 §9.3.6", head("CONNECT / HTTP/1.1", HOST), 501),
    refused("a TLS ClientHello", AT_ONCE, TLS_HELLO, 400),
    refused("an SSLv2 hello", AT_ONCE, bytes.fromhex("802e0103010015000000100100800300800700c0"), 400),
    refused("an SSH banner", AT_ONCE, b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    refused(
        "a PROXY v1 line",
        AT_ONCE + "; who may speak PROXY is a setting",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 80\r\n",
        400,
    ),
    refused("a PROXY v2 signature", AT_ONCE, b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", 400),
    refused("an HTTP response", AT_ONCE, b"HTTP/1.1 200 OK\r\n", 400),
    refused("a JSON document", AT_ONCE, b'{"jsonrpc": "2.0"}', 400),
    refused("an SMTP greeting", AT_ONCE, b"EHLO a.example\r\n", 400),
    refused("a Redis command", AT_ONCE, b"*1\r\n$4\r\nPING\r\n", 400),
    refused("NUL bytes", AT_ONCE, bytes(64), 400),
)

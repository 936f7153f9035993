"""The Host field."""

from tests.conformance.case import CLOSES, HOST, Request, accepted, get, head, refused, seen_get

ONE = "RFC 9112 §3.2: 400 for a request that lacks Host or has more than one"
SYNTAX = 'RFC 9112 §3.2: 400 for an invalid value; RFC 9110 §7.2: Host = uri-host [ ":" port ]'
EMPTY = (
    "RFC 9112 §3.3: with http a server can reject a request without an authority; "
    "RFC 9110 §4.2.1: an http URI with an empty host is invalid (our choice)"
)

VALID = (
    "a",
    "A.Example",
    "a.example.",
    "a.example:8000",
    "a.example:",
    "a.example:0",
    "a.example:65535",
    "192.0.2.1",
    "192.0.2.1:80",
    "[::1]",
    "[2001:db8::1]:8000",
    "[::ffff:192.0.2.1]",
    "[v1.fe:d]",
    "xn--bcher-kva.example",
    "under_score.example",
    "a%20b.example",
    "a!$&'()*+;=~.example",
    "-",
)

INVALID = (
    "a, b",
    "a,b",
    "a b",
    "a\tb",
    "user@a.example",
    "user:secret@a.example",
    "@a.example",
    "a.example/path",
    "a.example?query",
    "a.example#fragment",
    "http://a.example",
    "a.example\\b",
    '"a.example"',
    "<a.example>",
    "a|b",
    "a^b",
    "a`b`",
    "{a}",
    "a%zz",
    "a%2",
    "a%",
    "b\xfccher.example",
    "b\xc3\xbccher.example",
    "a.example:b",
    "a.example:80b",
    "a.example:-1",
    "a.example:+80",
    "a.example: 80",
    "a.example :80",
    "a.example:65536",
    "a.example:99999",
    "a.example:000000080",
    "a.example:80:80",
    ":",
    ":80",
    "::1",
    "[::1",
    "::1]",
    "[::1]8000",
    "[::1]a",
    "[::1][::1]",
    "[]",
    "[g::1]",
    "[::1 ]",
    "[fe80::1%25eth0]",
    "[v.a]",
    "a[::1]",
)

CASES = (
    *(
        accepted(
            f"Host: {value}",
            "RFC 9110 §7.2, RFC 3986 §3.2.2",
            head("GET / HTTP/1.1", f"Host: {value}"),
            seen_get(("host", value.encode())),
        )
        for value in VALID
    ),
    accepted(
        "Host between blanks",
        "RFC 9112 §5: OWS around a value",
        head("GET / HTTP/1.1", "Host: \t a.example \t"),
        seen_get(("host", b"a.example")),
    ),
    accepted(
        "Host after other fields",
        "RFC 9110 §7.2: first is only good practice",
        head("GET / HTTP/1.1", "A: 1", "B: 2", HOST),
        seen_get(("host", b"a.example")),
    ),
    accepted(
        "HOST in capitals",
        "RFC 9110 §5.1: names are case-insensitive",
        head("GET / HTTP/1.1", "HOST: a.example"),
        seen_get(("host", b"a.example")),
    ),
    accepted(
        "HTTP/1.0 without Host",
        "RFC 9112 §3.2 asks it of HTTP/1.1 only",
        head("GET / HTTP/1.0"),
        Request("GET / HTTP/1.0", (("host", None),)),
        then=CLOSES,
    ),
    accepted(
        "HTTP/1.0 with Host",
        "RFC 9112 §3.2",
        head("GET / HTTP/1.0", HOST),
        Request("GET / HTTP/1.0", (("host", b"a.example"),)),
        then=CLOSES,
    ),
    accepted(
        "a field that only looks like Host",
        "RFC 9110 §7.2",
        get("X-Host: b.example", "Hosts: b.example"),
        seen_get(("host", b"a.example"), ("x-host", b"b.example")),
    ),
    refused("no Host", ONE, head("GET / HTTP/1.1"), 400),
    refused("no Host, other fields", ONE, head("GET / HTTP/1.1", "Accept: */*", "X-Host: a.example"), 400),
    refused("no Host for the server as a whole", ONE, head("OPTIONS * HTTP/1.1"), 400),
    refused(
        "no Host beside an absolute-form target",
        ONE + " (§3.2.2: in absolute-form too)",
        head("GET http://a.example/ HTTP/1.1"),
        400,
    ),
    refused("two different Hosts", ONE + ": cache poisoning", get("Host: b.example"), 400),
    refused("two equal Hosts", ONE, get(HOST), 400),
    refused("two Hosts, one in capitals", ONE, get("HOST: b.example"), 400),
    refused(
        "two Hosts in HTTP/1.0",
        ONE + ": any request message",
        head("GET / HTTP/1.0", HOST, "Host: b.example"),
        400,
    ),
    refused("two Hosts, the first empty", ONE, head("GET / HTTP/1.1", "Host:", HOST), 400),
    refused("an empty Host", EMPTY, head("GET / HTTP/1.1", "Host:"), 400),
    refused("a blank Host", EMPTY, head("GET / HTTP/1.1", "Host: \t "), 400),
    refused("an empty Host in HTTP/1.0", EMPTY, head("GET / HTTP/1.0", "Host:"), 400),
    refused(
        "an invalid Host in HTTP/1.0",
        SYNTAX + ": any request message",
        head("GET / HTTP/1.0", "Host: a/b"),
        400,
    ),
    refused(
        "an invalid Host beside an absolute-form target",
        SYNTAX,
        head("GET http://a.example/ HTTP/1.1", "Host: a/b"),
        400,
    ),
    *(
        refused(f"Host: {value!r}", SYNTAX, head("GET / HTTP/1.1", f"Host: {value}"), 400)
        for value in INVALID
    ),
)

"""The Host field."""

from tests.conformance.case import CLOSES, HOST, Case, Request, accepted, get, head, refused, rule, seen_get

ONE = "RFC 9112 §3.2: 400 for a request that lacks Host or has more than one"
SYNTAX = 'RFC 9112 §3.2: 400 for an invalid value; RFC 9110 §7.2: Host = uri-host [ ":" port ]'
EMPTY = (
    "RFC 9112 §3.3: with http a server can reject a request without an authority; "
    "RFC 9110 §4.2.1: an http URI with an empty host is invalid (our choice)"
)
HIDDEN = "RFC 9112 §3.2, routing confusion: one reader sees this Host, another does not"

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
    "a.example ;b",
    "user@a.example",
    "user:secret@a.example",
    "@a.example",
    "a.example@b.example:80",
    "a.example/path",
    "a.example?query",
    "a.example#fragment",
    "http://a.example",
    "//a.example",
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
    "\xa0a.example",
    "a.example\x85",
    "a\x0bexample",
    "a\x7fexample",
    "a\0.example",
    "a.example:b",
    "a.example:80b",
    "a.example:-1",
    "a.example:+80",
    "a.example:8_0",
    "a.example:\xb2",
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
    "[192.0.2.1]",
    "[::1::2]",
    "[1:2]",
    "[v.a]",
    "a[::1]",
)


def _two(name: str, why: str, *lines: str, version: str = "1.1") -> Case:
    return refused(name, why, head(f"GET / HTTP/{version}", *lines), 400)


CASES = (
    *rule(
        "one `Host`: a name, an IPv4 address or an IPv6 address in brackets, and a port if any",
        "RFC 9110 §7.2, RFC 3986 §3.2.2",
        "Host: [2001:db8::1]:8000",
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
            "HTTP/1.0 with Host",
            "RFC 9112 §3.2",
            head("GET / HTTP/1.0", HOST),
            Request("GET / HTTP/1.0", (("host", b"a.example"),)),
            then=CLOSES,
        ),
        accepted(
            "a field that only looks like Host",
            "RFC 9110 §7.2",
            get("X-Host: b.example", "Hosts: b.example", "Host_: b.example", "X-Forwarded-Host: b.example"),
            seen_get(("host", b"a.example"), ("x-host", b"b.example")),
        ),
    ),
    *rule(
        "HTTP/1.0 without `Host`",
        "RFC 9112 §3.2 asks it of HTTP/1.1 only",
        "GET / HTTP/1.0\\r\\n\\r\\n",
        accepted(
            "HTTP/1.0 without Host",
            "RFC 9112 §3.2 asks it of HTTP/1.1 only",
            head("GET / HTTP/1.0"),
            Request("GET / HTTP/1.0", (("host", None),)),
            then=CLOSES,
        ),
    ),
    *rule(
        "HTTP/1.1 without `Host`",
        ONE,
        "GET / HTTP/1.1\\r\\n\\r\\n",
        refused("no Host", ONE, head("GET / HTTP/1.1"), 400),
        refused(
            "no Host, other fields", ONE, head("GET / HTTP/1.1", "Accept: */*", "X-Host: a.example"), 400
        ),
        refused("no Host for the server as a whole", ONE, head("OPTIONS * HTTP/1.1"), 400),
        refused("no Host in HTTP/1.2", ONE + "; RFC 9110 §2.5", head("GET / HTTP/1.2"), 400),
        refused(
            "no Host of HEAD",
            ONE + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/1.1"),
            400,
            method="HEAD",
        ),
        refused("no Host but one with an underscore", ONE, head("GET / HTTP/1.1", "Host_: a.example"), 400),
        refused(
            "no Host beside an absolute-form target",
            ONE + " (§3.2.2: in absolute-form too)",
            head("GET http://a.example/ HTTP/1.1"),
            400,
        ),
    ),
    *rule(
        "more than one `Host`",
        ONE + ": cache poisoning, routing confusion",
        "Host: a.example\\r\\nHost: b.example",
        refused("two different Hosts", ONE + ": cache poisoning", get("Host: b.example"), 400),
        refused("two equal Hosts", ONE, get(HOST), 400),
        refused("two Hosts, one in capitals", ONE, get("HOST: b.example"), 400),
        refused("two Hosts far apart", ONE, get("A: 1", "B: 2", "Host: b.example"), 400),
        _two("two Hosts in HTTP/1.0", ONE + ": any request message", HOST, "Host: b.example", version="1.0"),
        _two("two Hosts, the first empty", ONE, "Host:", HOST),
        _two("two Hosts, the second empty", ONE, HOST, "Host:"),
        _two("a bad Host before a good one", ONE, "Host: a/b", HOST),
        refused(
            "two Hosts beside an absolute-form target",
            ONE,
            head("GET http://a.example/ HTTP/1.1", HOST, "Host: b.example"),
            400,
        ),
    ),
    *rule(
        "an empty `Host`",
        EMPTY,
        "Host:\\r\\n",
        _two("an empty Host", EMPTY, "Host:"),
        _two("a blank Host", EMPTY, "Host: \t "),
        _two("an empty Host in HTTP/1.0", EMPTY, "Host:", version="1.0"),
        refused(
            "an empty Host beside an absolute-form target",
            EMPTY,
            head("GET http://a.example/ HTTP/1.1", "Host:"),
            400,
        ),
    ),
    *rule(
        "a malformed `Host`: a list, a user name, a path, a port over 65535, raw bytes above 0x7F …",
        SYNTAX,
        "Host: user@a.example",
        *(_two(f"Host: {value!r}", SYNTAX, f"Host: {value}") for value in INVALID),
        _two("an invalid Host in HTTP/1.0", SYNTAX + ": any request message", "Host: a/b", version="1.0"),
        refused(
            "an invalid Host beside an absolute-form target",
            SYNTAX,
            head("GET http://a.example/ HTTP/1.1", "Host: a/b"),
            400,
        ),
    ),
    *rule(
        "a second `Host` in a line that is malformed",
        HIDDEN,
        "Host : b.example",
        *(
            refused(f"a Host in {line!r}", HIDDEN, get(line), 400)
            for line in (
                "Host : b.example",
                "Host\t: b.example",
                " Host: b.example",
                "\tHost: b.example",
                "X-A: 1\nHost: b.example",
                "X-A: 1\rHost: b.example",
                "Host\0: b.example",
                "\0Host: b.example",
                "Host\xa0: b.example",
                "Host;: b.example",
                "Host",
            )
        ),
    ),
)

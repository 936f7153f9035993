"""The request target in its four forms, and what the application sees of it."""

from tests.conformance.case import CLOSES, HOST, Case, Request, accepted, head, refused, rule

ORIGIN = "RFC 9112 §3.2.1"
ABSOLUTE = "RFC 9112 §3.2.2"
WINS = "RFC 9112 §3.2.2: Host is ignored, the application sees the target's authority"
NO_FORM = "RFC 9112 §3.2: 400 for a target in no form that fits the method"
OTHER_METHOD = "RFC 9112 §3.2.4: asterisk-form is for OPTIONS only"
NO_CONNECT = "RFC 9112 §3.2.3: authority-form is for CONNECT only"
URI = "RFC 3986 §2: control and non-ASCII characters are no part of a URI"
LENIENT = "RFC 3986 §2 excludes it, browsers and tools send it: passed on as it is (our choice)"
FRAGMENT = "RFC 9112 §3.2: a target has no fragment: routing confusion"
SCHEME = "RFC 9110 §4.2: http and https are what is served here"
AUTHORITY = "RFC 9110 §4.2.1: an http URI with an empty or malformed host is invalid"
USERINFO = "RFC 9110 §4.2.4: userinfo is a spoofing device"


def _path(name: str, target: str, *, path: str | None = None, why: str = ORIGIN) -> Case:
    """A GET of an origin-form target; `path` is its decoded path."""
    return accepted(
        name, why, head(f"GET {target} HTTP/1.1", HOST), Request(f"GET {target} HTTP/1.1", path=path)
    )


def _absolute(target: str, raw_path: str, query: str, host: bytes, name: str | None = None) -> Case:
    return accepted(
        name or f"target {target}",
        WINS,
        head(f"GET {target} HTTP/1.1", "Host: other.example"),
        Request(f"GET {target} HTTP/1.1", (("host", host),), raw_path=raw_path, query=query),
    )


def _no_target(target: str, why: str, method: str = "GET") -> Case:
    return refused(f"target {target!r} of {method}", why, head(f"{method} {target} HTTP/1.1", HOST), 400)


CASES = (
    *rule(
        "a path and a query; the path is decoded once and not normalised, the query left as it is",
        ORIGIN + ", RFC 3986 §6.2.2: normalisation is the application's",
        "/a%2Fb%2fc",
        _path("a path", "/a/b"),
        _path("a path and a query", "/a?b=c&d"),
        _path("an empty query", "/a?"),
        _path("a question mark in a query", "/a?b?c"),
        _path("a slash in a query", "/a?/b//c"),
        _path("a URL in a query", "/a?b=http://c.example/"),
        _path("a path with parameters", "/a;b=c/d,e"),
        _path("a percent-encoded space", "/a%20b", path="/a b"),
        _path("a percent-encoded slash", "/a%2Fb%2fc", path="/a/b/c"),
        _path("a percent-encoded question mark", "/a%3Fb?c", path="/a?b"),
        _path("a percent-encoded number sign", "/a%23b", path="/a#b"),
        _path("a percent-encoded percent sign is decoded once", "/a%2520b", path="/a%20b"),
        _path("percent-encoded UTF-8", "/%E2%82%AC", path="/\u20ac"),
        _path(
            "percent-encoding that is no UTF-8",
            "/a%FFb",
            path="/a\ufffdb",
            why="RFC 3986 §2.5; U+FFFD as other ASGI servers have it",
        ),
        _path(
            "percent-encoding that is overlong UTF-8",
            "/a%C0%AFb",
            path="/a\ufffd\ufffdb",
            why="RFC 3629 §10: no second way to write a slash: path traversal abuse",
        ),
        _path(
            "a percent-encoded NUL",
            "/a%00b",
            path="/a\0b",
            why="RFC 3986 §2.1: data, for the application to judge",
        ),
        _path(
            "percent-encoded line ends",
            "/a%0d%0aX-A:%20b",
            path="/a\r\nX-A: b",
            why="response splitting; encoded it is data",
        ),
        _path("percent-encoding in a query stays", "/a?b=%20+%zz"),
        _path("a plus sign is no space", "/a+b"),
        _path(
            "dot segments stay",
            "/a/../../etc/./passwd",
            why="RFC 3986 §6.2.2.3: normalisation is the application's",
        ),
        _path("encoded dot segments stay", "/%2e%2e/a", path="/../a", why="RFC 3986 §6.2.2.2"),
        _path("empty segments stay", "/a//b/", why="RFC 3986 §3.3"),
        _path(
            "two slashes begin a path, not an authority",
            "//evil.example/a",
            why="RFC 9112 §3.2.1: origin-form; //host is a reference in links only",
        ),
        _path("a URL as a path", "/http://b.example/c"),
        _path("every character of a path", "/-._~!$&'()*+,;=:@"),
        _path("an asterisk as a path", "/*"),
        accepted(
            "OPTIONS of a path",
            "RFC 9110 §9.3.7",
            head("OPTIONS /a HTTP/1.1", HOST),
            Request("OPTIONS /a HTTP/1.1"),
        ),
    ),
    *rule(
        "ASCII characters that are no part of a URI, and broken percent-encoding: passed on as they are",
        LENIENT,
        "/a%zz%4%",
        *(_path(f"{character} in a path", f"/a{character}b", why=LENIENT) for character in '"<>\\^`{|}[]'),
        _path("delimiters in a query", '/?a="<>\\^`{|}[]"', why=LENIENT),
        _path(
            "a broken percent-encoding",
            "/a%zz%4%",
            why="RFC 3986 §2.1 excludes it; passed on as it is (our choice)",
        ),
        _path(
            "a percent sign and a letter that is no digit",
            "/%u0041",
            why="RFC 3986 §2.1: %u is IIS's own; passed on as it is (our choice)",
        ),
    ),
    *rule(
        "an absolute http or https URI; its host and port replace those of `Host`, its scheme is ignored",
        WINS,
        "GET http://b.example:8000/c",
        _absolute("http://b.example/c?d", "/c", "d", b"b.example"),
        _absolute("https://b.example/c", "/c", "", b"b.example"),
        _absolute("HTTP://B.Example/c", "/c", "", b"B.Example"),
        _absolute("http://b.example", "/", "", b"b.example"),
        _absolute("http://b.example/", "/", "", b"b.example"),
        _absolute("http://b.example?d=e", "/", "d=e", b"b.example"),
        _absolute("http://b.example?/d", "/", "/d", b"b.example"),
        _absolute("http://b.example:8000/c", "/c", "", b"b.example:8000"),
        _absolute("http://b.example:/c", "/c", "", b"b.example:"),
        _absolute("http://[::1]:8000/c", "/c", "", b"[::1]:8000"),
        _absolute("http://b.example//c", "//c", "", b"b.example"),
        _absolute("http://b.example/http://c.example/", "/http://c.example/", "", b"b.example"),
        _absolute("http://b.example/user@c.example", "/user@c.example", "", b"b.example"),
        accepted(
            "the target's authority wins in HTTP/1.0 too",
            ABSOLUTE,
            head("GET http://b.example/c HTTP/1.0"),
            Request("GET http://b.example/c HTTP/1.0", (("host", b"b.example"),), raw_path="/c"),
            then=CLOSES,
        ),
        accepted(
            "an absolute-form target beside other fields",
            WINS,
            head("GET http://b.example/c HTTP/1.1", "X-A: 1", "Host: other.example", "X_Host: 1", "X-B: 2"),
            Request(
                "GET http://b.example/c HTTP/1.1",
                (("host", b"b.example"), ("x-a", b"1"), ("x-b", b"2"), ("x_host", None), ("x-host", None)),
                raw_path="/c",
            ),
        ),
        accepted(
            "OPTIONS of a URI with a path",
            "RFC 9112 §3.2.4",
            head("OPTIONS http://b.example/ HTTP/1.1", HOST),
            Request("OPTIONS http://b.example/ HTTP/1.1", raw_path="/"),
        ),
    ),
    *rule(
        "`OPTIONS` of the server as a whole",
        "RFC 9112 §3.2.4",
        "OPTIONS * HTTP/1.1",
        accepted(
            "OPTIONS *", "RFC 9112 §3.2.4", head("OPTIONS * HTTP/1.1", HOST), Request("OPTIONS * HTTP/1.1")
        ),
        accepted(
            "OPTIONS * in HTTP/1.0",
            "RFC 9112 §3.2.4",
            head("OPTIONS * HTTP/1.0"),
            Request("OPTIONS * HTTP/1.0"),
            then=CLOSES,
        ),
        accepted(
            "OPTIONS of a URI without a path",
            "RFC 9112 §3.2.4: means the server as a whole",
            head("OPTIONS http://b.example HTTP/1.1", HOST),
            Request("OPTIONS http://b.example HTTP/1.1", (("host", b"b.example"),), raw_path="*"),
        ),
    ),
    *rule(
        "`*` of another method, `host:port` of anything but `CONNECT`",
        OTHER_METHOD + "; " + NO_CONNECT,
        "GET * HTTP/1.1",
        *(_no_target("*", OTHER_METHOD, method) for method in ("GET", "POST", "PUT")),
        *(_no_target(target, NO_CONNECT) for target in ("b.example", "b.example:80", "[::1]:80", ":80")),
    ),
    *rule(
        "a target that is neither a path nor a URI",
        NO_FORM,
        "GET ../a HTTP/1.1",
        *(_no_target(target, NO_FORM, "OPTIONS") for target in ("**", "*/", "*?a")),
        *(
            _no_target(target, NO_FORM)
            for target in ("a", "a/b", "./a", "../a", "?a", "\\a", "\\\\a\\b", "%2Fa", ":", "@/a", ";/a")
        ),
    ),
    *rule(
        "a fragment",
        FRAGMENT,
        "GET /a#b",
        *(
            _no_target(target, FRAGMENT)
            for target in (
                "/a#b",
                "/#",
                "#a",
                "/a?b#c",
                "http://b.example/#c",
                "http://b.example#@evil.example/",
            )
        ),
    ),
    *rule(
        "a URI of another scheme",
        SCHEME,
        "GET ftp://b.example/",
        *(
            _no_target(target, SCHEME)
            for target in (
                "ftp://b.example/",
                "file:///etc/passwd",
                "javascript:alert(1)",
                "ws://b.example/",
                "httpx://b.example/",
                "http+unix://b.example/",
                "gopher://b.example/",
                "urn:a:b",
            )
        ),
    ),
    *rule(
        "an http URI with no host, or a malformed one",
        AUTHORITY,
        "GET http:///c",
        *(
            _no_target(target, AUTHORITY)
            for target in (
                "http:",
                "http:/",
                "http:/c",
                "http:c",
                "http://",
                "http:///c",
                "http://?c",
                "http://:80/c",
                "http:\\\\b.example\\c",
                "http://b.example:c/",
                "http://b.example:-80/",
                "http://b.example:65536/",
                "http://b.example:80:80/",
                "http://[::1/",
                "http://[::1]b.example/",
                "http://b.example\\c/",
                "http://b%zz/",
                "http://b,c/",
                "http://<b>/",
            )
        ),
    ),
    *rule(
        "a user name in a URI",
        USERINFO,
        "GET http://user@b.example/",
        *(
            _no_target(target, USERINFO)
            for target in (
                "http://user@b.example/",
                "http://user:secret@b.example/",
                "http://@b.example/",
                "http://good.example:80@b.example/",
                "http://good.example%40b.example@c.example/",
            )
        ),
    ),
    *rule(
        "control characters and raw bytes above 0x7F, in a path or a query",
        URI,
        "/a\\x80b",
        *(
            _no_target(f"/a{character}b", URI)
            for character in "\x00\x01\x07\x08\x0b\x0c\x1b\x1f\x7f\x80\xe9\xff"
        ),
        _no_target("/\xc3\xa9", URI + "; UTF-8 too"),
        _no_target("/\xa0", URI + "; a no-break space"),
        _no_target("/a?b=\xe9", URI),
        _no_target("/a?b=\x00", URI),
        _no_target("http://b\xfccher.example/", URI),
    ),
)

"""Which side ends the connection, and when."""

from tests.conformance.case import (
    CLOSES,
    HOST,
    OPEN,
    SMUGGLED,
    Case,
    Request,
    Then,
    accepted,
    get,
    head,
    post,
    refused,
    rule,
    seen_get,
    seen_post,
)

CLOSE = "RFC 9112 §9.6: the close option; RFC 9110 §7.6.1: a list, case-insensitive"
EMPTY = CLOSE + "; §5.6.1: empty elements are ignored"
PERSIST = "RFC 9112 §9.3: HTTP/1.1 persists without the close option"
TOKEN = PERSIST + "; an option is a whole token"
OLD = "RFC 9112 §9.3: HTTP/1.0 persists with keep-alive and without close"
ABUSE = "hop-by-hop abuse, RFC 9110 §7.6.1: a proxy drops what Connection names, and another one would not"
KEPT = "RFC 9110 §7.6.1: an option is for proxies, which would drop the field"
UNSURE = "smuggling: recipients of HTTP/1.0 that look for no body there read it as a request (RFC 9112 §9.3)"


def _new(then: Then, why: str, *lines: str) -> Case:
    return accepted(f"HTTP/1.1, {', '.join(map(repr, lines))}", why, get(*lines), seen_get(), then=then)


def _old(then: Then, *lines: str) -> Case:
    name = f"HTTP/1.0, {', '.join(map(repr, lines))}"
    return accepted(name, OLD, head("GET / HTTP/1.0", *lines), Request("GET / HTTP/1.0"), then=then)


CASES = (
    *rule(
        "HTTP/1.1 with `close` among the options of `Connection`: the connection ends with the response",
        CLOSE,
        "Connection: keep-alive, close",
        _new(CLOSES, CLOSE, "Connection: close"),
        _new(CLOSES, CLOSE, "connection: CLOSE"),
        _new(CLOSES, CLOSE, "Connection: Close"),
        _new(CLOSES, CLOSE, "Connection: foo, close"),
        _new(CLOSES, CLOSE, "Connection: close, foo"),
        _new(CLOSES, CLOSE, "Connection: foo,close,bar"),
        _new(CLOSES, CLOSE, "Connection: foo\t,\tclose\t"),
        _new(CLOSES, CLOSE, "Connection: keep-alive, close"),
        _new(CLOSES, CLOSE, "Connection: close, keep-alive"),
        _new(CLOSES, CLOSE, "Connection: close, close"),
        _new(CLOSES, EMPTY, "Connection: ,close"),
        _new(CLOSES, EMPTY, "Connection: close,"),
        _new(CLOSES, EMPTY, "Connection: , ,,\t,close, ,"),
        _new(CLOSES, CLOSE, "Connection: foo", "Connection: close"),
        _new(CLOSES, CLOSE, "Connection: close", "Connection: keep-alive"),
        _new(CLOSES, CLOSE, "Connection:", "Connection: close"),
        accepted(
            "close with a body",
            CLOSE,
            post("Connection: close", "Content-Length: 5") + b"hello",
            seen_post(b"hello"),
            then=CLOSES,
        ),
    ),
    *rule(
        "HTTP/1.1 without it: the connection stays open",
        PERSIST,
        "Connection: closed",
        _new(OPEN, PERSIST, "Connection: keep-alive"),
        _new(OPEN, PERSIST, "Connection: Keep-Alive"),
        _new(OPEN, PERSIST, "Connection: foo"),
        _new(OPEN, PERSIST, "Connection:"),
        _new(OPEN, PERSIST, "Connection: ,"),
        _new(OPEN, TOKEN, "Connection: closed"),
        _new(OPEN, TOKEN, "Connection: x-close"),
        _new(OPEN, TOKEN, "Connection: clo se"),
        _new(OPEN, TOKEN, "Connection: close;q=1"),
        _new(OPEN, TOKEN, "Connection: close\xa0"),
        _new(OPEN, PERSIST + "; an option is no quoted string", 'Connection: "close"'),
        _new(OPEN, PERSIST + "; another field", "Proxy-Connection: close"),
        _new(OPEN, PERSIST + "; another field", "X-Connection: close"),
        _new(
            OPEN, PERSIST + "; Keep-Alive is advice", "Connection: keep-alive", "Keep-Alive: timeout=0, max=0"
        ),
    ),
    *rule(
        "HTTP/1.0 with `keep-alive` and without `close`: the connection stays open",
        OLD,
        "GET / HTTP/1.0\\r\\nConnection: keep-alive",
        _old(OPEN, "Connection: keep-alive"),
        _old(OPEN, "Connection: Keep-Alive"),
        _old(OPEN, "Connection: foo, keep-alive"),
        _old(OPEN, "Connection: foo", "Connection: keep-alive"),
        accepted(
            "HTTP/1.0 kept alive with a body",
            OLD,
            head("POST / HTTP/1.0", "Connection: keep-alive", "Content-Length: 5") + b"hello" + get(),
            Request("POST / HTTP/1.0", body=b"hello", length=5),
            seen_get(),
        ),
    ),
    *rule(
        "HTTP/1.0 otherwise: the connection ends with the response",
        OLD,
        "GET / HTTP/1.0\\r\\nKeep-Alive: timeout=5",
        _old(CLOSES, "Connection: close"),
        _old(CLOSES, "Connection: foo"),
        _old(CLOSES, "Connection: keep-alives"),
        _old(CLOSES, "Connection: keep-alive, close"),
        _old(CLOSES, "Connection: close", "Connection: keep-alive"),
        _old(CLOSES, "Keep-Alive: timeout=5"),
        _old(CLOSES, "Proxy-Connection: keep-alive"),
    ),
    *rule(
        "`Connection` that names `Host`, `Content-Length`, `Transfer-Encoding`, `Forwarded` or a field of "
        "the `X-Forwarded-` family",
        ABUSE,
        "Connection: close, X-Forwarded-For",
        *(
            refused(f"Connection names {name}", ABUSE, get(f"Connection: {name}") + SMUGGLED, 400)
            for name in (
                "Host",
                "content-length",
                "TRANSFER-ENCODING",
                "Forwarded",
                "X-Forwarded-Proto",
                "X-Forwarded-Host",
                "X-Forwarded-Port",
                "X-Forwarded-Prefix",
                "X-Forwarded-Anything",
            )
        ),
        refused(
            "Connection names X-Forwarded-For beside close",
            ABUSE,
            get("Connection: close, X-Forwarded-For", "X-Forwarded-For: 192.0.2.1") + SMUGGLED,
            400,
        ),
        refused(
            "a second Connection names Content-Length",
            ABUSE,
            post("Connection: keep-alive", "Connection: a,\tcontent-length\t,b", "Content-Length: 5")
            + b"hello",
            400,
        ),
        refused(
            "Connection names Transfer-Encoding of a chunked body",
            ABUSE,
            post("Connection: transfer-encoding", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
            400,
        ),
        refused(
            "Connection names X-Forwarded-For in HTTP/1.0",
            ABUSE,
            head("GET / HTTP/1.0", "Connection: keep-alive, x-forwarded-for") + SMUGGLED,
            400,
        ),
        refused(
            "Connection names Host of a HEAD",
            ABUSE,
            head("HEAD / HTTP/1.1", HOST, "Connection: host"),
            400,
            method="HEAD",
        ),
    ),
    *rule(
        "`Connection` that names any other field: that counts all the same",
        KEPT,
        "Connection: x-real-ip, cookie",
        accepted(
            "Connection names other fields",
            KEPT,
            get("Connection: x-real-ip, cookie", "X-Real-IP: 192.0.2.1", "Cookie: a=1") + get(),
            seen_get(("x-real-ip", b"192.0.2.1"), ("cookie", b"a=1")),
            seen_get(),
        ),
        accepted(
            "Connection names what begins like a field of a proxy",
            KEPT,
            get("Connection: x-forwarded, x-host, forwarded-for", "X-Forwarded: a") + get(),
            seen_get(("x-forwarded", b"a")),
            seen_get(),
        ),
    ),
    *rule(
        "`GET`, `HEAD` or `DELETE` with a body in HTTP/1.0: served, and the connection ends even with "
        "`keep-alive`",
        UNSURE,
        "GET / HTTP/1.0\\r\\nConnection: keep-alive\\r\\nContent-Length: 5",
        *(
            accepted(
                f"{method} with a body in HTTP/1.0",
                UNSURE,
                head(f"{method} / HTTP/1.0", "Connection: keep-alive", "Content-Length: 5")
                + b"hello"
                + SMUGGLED,
                Request(f"{method} / HTTP/1.0", body=b"hello", length=5),
                then=CLOSES,
            )
            for method in ("GET", "HEAD", "DELETE")
        ),
    ),
    *rule(
        "such a request with a body of no bytes in HTTP/1.0, or one with a body in HTTP/1.1: stays open",
        PERSIST,
        "DELETE / HTTP/1.1",
        *(
            accepted(
                f"{method} without a body in HTTP/1.0",
                OLD,
                head(f"{method} / HTTP/1.0", "Connection: keep-alive", "Content-Length: 0") + get(),
                Request(f"{method} / HTTP/1.0"),
                seen_get(),
            )
            for method in ("GET", "HEAD", "DELETE")
        ),
        *(
            accepted(
                f"{method} with a body in HTTP/1.1",
                PERSIST,
                head(f"{method} / HTTP/1.1", HOST, "Content-Length: 5") + b"hello" + get(),
                Request(f"{method} / HTTP/1.1", body=b"hello", length=5),
                seen_get(),
            )
            for method in ("HEAD", "DELETE")
        ),
    ),
)

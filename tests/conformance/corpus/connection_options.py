"""Which side ends the connection, and when."""

from tests.conformance.case import (
    CLOSES,
    OPEN,
    Case,
    Request,
    Then,
    accepted,
    get,
    head,
    post,
    rule,
    seen_get,
    seen_post,
)

CLOSE = "RFC 9112 §9.6: the close option; RFC 9110 §7.6.1: a list, case-insensitive"
EMPTY = CLOSE + "; §5.6.1: empty elements are ignored"
PERSIST = "RFC 9112 §9.3: HTTP/1.1 persists without the close option"
TOKEN = PERSIST + "; an option is a whole token"
OLD = "RFC 9112 §9.3: HTTP/1.0 persists with keep-alive and without close"
ABUSE = "hop-by-hop abuse, RFC 9110 §7.6.1: the option is the sender's to us, its field counts"


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
        "`Connection` that names `Host`, a framing field or a proxy's: these count all the same",
        ABUSE,
        "Connection: content-length, host",
        accepted(
            "Connection names a framing field",
            ABUSE,
            post("Connection: content-length, host", "Content-Length: 5") + b"hello" + get(),
            seen_post(b"hello", ("host", b"a.example"), ("content-length", b"5")),
            seen_get(),
        ),
        accepted(
            "Connection names fields of a proxy",
            ABUSE,
            get("Connection: x-forwarded-for, cookie", "X-Forwarded-For: 192.0.2.1", "Cookie: a=1") + get(),
            seen_get(("x-forwarded-for", b"192.0.2.1"), ("cookie", b"a=1")),
            seen_get(),
        ),
    ),
)

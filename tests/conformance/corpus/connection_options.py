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
    seen_get,
    seen_post,
)

CLOSE = "RFC 9112 §9.6: the close option; RFC 9110 §7.6.1: a list, case-insensitive"
PERSIST = "RFC 9112 §9.3: HTTP/1.1 persists without the close option"
OLD = "RFC 9112 §9.3: HTTP/1.0 persists with keep-alive and without close"


def _new(then: Then, why: str, *lines: str) -> Case:
    return accepted(f"HTTP/1.1, {', '.join(map(repr, lines))}", why, get(*lines), seen_get(), then=then)


def _old(then: Then, *lines: str) -> Case:
    name = f"HTTP/1.0, {', '.join(map(repr, lines))}"
    return accepted(name, OLD, head("GET / HTTP/1.0", *lines), Request("GET / HTTP/1.0"), then=then)


CASES = (
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
    _new(CLOSES, CLOSE + "; §5.6.1: empty elements are ignored", "Connection: ,close"),
    _new(CLOSES, CLOSE + "; §5.6.1: empty elements are ignored", "Connection: close,"),
    _new(CLOSES, CLOSE, "Connection: foo", "Connection: close"),
    _new(CLOSES, CLOSE, "Connection: close", "Connection: keep-alive"),
    _new(OPEN, PERSIST, "Connection: keep-alive"),
    _new(OPEN, PERSIST, "Connection: Keep-Alive"),
    _new(OPEN, PERSIST, "Connection: foo"),
    _new(OPEN, PERSIST, "Connection:"),
    _new(OPEN, PERSIST, "Connection: ,"),
    _new(OPEN, PERSIST + "; an option is a whole token", "Connection: closed"),
    _new(OPEN, PERSIST + "; an option is a whole token", "Connection: x-close"),
    _new(OPEN, PERSIST + "; an option is a whole token", "Connection: clo se"),
    _new(OPEN, PERSIST + "; an option is no quoted string", 'Connection: "close"'),
    _new(OPEN, PERSIST + "; another field", "Proxy-Connection: close"),
    _new(OPEN, PERSIST + "; another field", "X-Connection: close"),
    _new(OPEN, PERSIST + "; Keep-Alive is advice", "Connection: keep-alive", "Keep-Alive: timeout=0, max=0"),
    _old(CLOSES, "Connection: close"),
    _old(CLOSES, "Connection: foo"),
    _old(CLOSES, "Connection: keep-alive, close"),
    _old(CLOSES, "Connection: close", "Connection: keep-alive"),
    _old(CLOSES, "Keep-Alive: timeout=5"),
    _old(CLOSES, "Proxy-Connection: keep-alive"),
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
    accepted(
        "close with a body",
        CLOSE,
        post("Connection: close", "Content-Length: 5") + b"hello",
        seen_post(b"hello"),
        then=CLOSES,
    ),
    accepted(
        "Connection names a framing field",
        "hop-by-hop abuse, RFC 9110 §7.6.1: the option is the sender's to us, its field counts",
        post("Connection: content-length, host", "Content-Length: 5") + b"hello" + get(),
        seen_post(b"hello", ("host", b"a.example"), ("content-length", b"5")),
        seen_get(),
    ),
)

"""Upgrades, all declined: the request is served as if Upgrade were not there."""

from tests.conformance.case import (
    CLOSES,
    SMUGGLED,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    seen_chunked,
    seen_get,
    seen_post,
)

DECLINED = "RFC 9110 §7.8: a server may ignore Upgrade"
BODY = "smuggling: llhttp ends a message at Upgrade, the body was read as a request (httptools#124)"

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")

CASES = (
    accepted(
        "an offer of WebSocket",
        DECLINED,
        get(*WEBSOCKET),
        seen_get(("upgrade", b"websocket"), upgrade=b"websocket"),
    ),
    accepted(
        "an offer of WebSocket, then another request",
        DECLINED,
        get(*WEBSOCKET) + get(),
        seen_get(upgrade=b"websocket"),
        seen_get(),
    ),
    accepted(
        "an offer of h2c", "RFC 9113 §3.1: h2c by Upgrade is deprecated", get(*H2C), seen_get(upgrade=b"h2c")
    ),
    accepted(
        "an offer of h2c with a body",
        BODY,
        post(*H2C, "Content-Length: 5") + b"hello",
        seen_post(b"hello", upgrade=b"h2c"),
    ),
    accepted(
        "an offer with a body that is a request",
        BODY,
        post(*WEBSOCKET, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
        seen_post(SMUGGLED, upgrade=b"websocket"),
    ),
    accepted(
        "an offer with a body that is a request, then another request",
        BODY,
        post(*WEBSOCKET, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + get(),
        seen_post(SMUGGLED, upgrade=b"websocket"),
        seen_get(),
    ),
    accepted(
        "an offer with a chunked body",
        BODY,
        post(*WEBSOCKET, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + get(),
        seen_chunked(b"hello", upgrade=b"websocket"),
        seen_get(),
    ),
    accepted(
        "an offer with a chunked body that is a request",
        BODY,
        post(*H2C, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
        seen_chunked(SMUGGLED, upgrade=b"h2c"),
    ),
    accepted(
        "an offer with 100-continue",
        BODY,
        post(*H2C, "Expect: 100-continue", "Content-Length: 1") + b"a",
        seen_post(b"a", upgrade=b"h2c", expects_continue=True),
    ),
    accepted(
        "an offer of TLS",
        "RFC 2817 §3; RFC 9110 §7.8",
        head("OPTIONS * HTTP/1.1", "Host: a.example", "Connection: Upgrade", "Upgrade: TLS/1.0"),
        Request("OPTIONS * HTTP/1.1", upgrade=b"TLS/1.0"),
    ),
    accepted(
        "several offers",
        "RFC 9110 §7.8: a list",
        get("Connection: upgrade", "Upgrade: websocket, h2c"),
        seen_get(upgrade=b"websocket, h2c"),
    ),
    accepted(
        "several lines of offers",
        "RFC 9110 §5.3",
        get("Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c"),
        seen_get(upgrade=b"websocket, h2c"),
    ),
    accepted(
        "an offer beside keep-alive",
        "RFC 9110 §7.6.1: a list",
        get("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
        seen_get(upgrade=b"websocket"),
    ),
    accepted(
        "an offer beside close",
        "RFC 9112 §9.6",
        get("Connection: close, Upgrade", "Upgrade: websocket"),
        seen_get(upgrade=b"websocket"),
        then=CLOSES,
    ),
    accepted(
        "Upgrade that Connection does not name",
        "RFC 9110 §7.8: then it was not sent to us",
        get("Upgrade: websocket"),
        seen_get(upgrade=b""),
    ),
    accepted(
        "Upgrade that Connection does not name, with a body",
        BODY,
        post("Upgrade: websocket", "Content-Length: 5") + b"hello",
        seen_post(b"hello"),
    ),
    accepted(
        "Connection: upgrade without Upgrade",
        "RFC 9110 §7.6.1",
        get("Connection: upgrade"),
        seen_get(upgrade=b""),
    ),
    accepted(
        "Connection: upgrade without Upgrade, with a body",
        BODY,
        post("Connection: upgrade", "Content-Length: 5") + b"hello",
        seen_post(b"hello"),
    ),
    accepted(
        "Upgrade in HTTP/1.0",
        "RFC 9110 §7.8: must be ignored in HTTP/1.0",
        head("GET / HTTP/1.0", "Connection: Upgrade", "Upgrade: websocket"),
        Request("GET / HTTP/1.0", upgrade=b""),
        then=CLOSES,
    ),
    refused(
        "an offer with ambiguous framing",
        "RFC 9112 §6.3",
        post(*WEBSOCKET, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    refused(
        "a frame behind an offer that was declined",
        "RFC 9110 §7.8: before a 101 the client speaks HTTP",
        get(*WEBSOCKET) + b"\x81\x85\x01\x02\x03\x04ignor",
        400,
        seen_get(upgrade=b"websocket"),
    ),
)

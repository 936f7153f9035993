"""Upgrades, all declined: the request is served as if Upgrade were not there, and the connection ends."""

from tests.conformance.case import (
    CLOSES,
    SMUGGLED,
    Request,
    accepted,
    get,
    head,
    post,
    refused,
    rule,
    seen_chunked,
    seen_get,
    seen_post,
)

DECLINED = "RFC 9110 §7.8: a server may ignore Upgrade"
TUNNEL = (
    "smuggling (websocket, h2c): a proxy that takes the tunnel for granted no longer looks at what follows, "
    "so nothing that follows is read"
)
BODY = "smuggling: llhttp ends a message at Upgrade, the body was read as a request (httptools#124)"
NOT_TO_US = "RFC 9110 §7.8: what Connection does not name was not sent to us"

WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")

CASES = (
    *rule(
        "an offer of another protocol (WebSocket, h2c, TLS): declined by serving the request in HTTP/1.1; "
        "the connection ends with the response",
        DECLINED,
        "Upgrade: h2c",
        accepted(
            "an offer of WebSocket",
            DECLINED,
            get(*WEBSOCKET),
            seen_get(("upgrade", b"websocket"), upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer of h2c",
            "RFC 9113 §3.1: h2c by Upgrade is deprecated",
            get(*H2C),
            seen_get(upgrade=b"h2c"),
            then=CLOSES,
        ),
        accepted(
            "an offer of TLS",
            "RFC 2817 §3; RFC 9110 §7.8",
            head("OPTIONS * HTTP/1.1", "Host: a.example", "Connection: Upgrade", "Upgrade: TLS/1.0"),
            Request("OPTIONS * HTTP/1.1", upgrade=b"TLS/1.0"),
            then=CLOSES,
        ),
        accepted(
            "several offers",
            "RFC 9110 §7.8: a list",
            get("Connection: upgrade", "Upgrade: websocket, h2c"),
            seen_get(upgrade=b"websocket, h2c"),
            then=CLOSES,
        ),
        accepted(
            "several lines of offers",
            "RFC 9110 §5.3",
            get("Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c"),
            seen_get(upgrade=b"websocket, h2c"),
            then=CLOSES,
        ),
        accepted(
            "an offer beside keep-alive",
            "RFC 9110 §7.6.1: a list",
            get("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
            seen_get(upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer beside close",
            "RFC 9112 §9.6",
            get("Connection: close, Upgrade", "Upgrade: websocket"),
            seen_get(upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer after another request",
            DECLINED,
            get() + get(*H2C),
            seen_get(),
            seen_get(upgrade=b"h2c"),
            then=CLOSES,
        ),
    ),
    *rule(
        "what follows an offer, be it a request or bytes of the other protocol: not read",
        TUNNEL,
        "Upgrade: websocket",
        accepted(
            "an offer of WebSocket, then another request",
            TUNNEL,
            get(*WEBSOCKET) + SMUGGLED,
            seen_get(upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer of an old WebSocket, then another request",
            TUNNEL,
            get("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 7") + SMUGGLED,
            seen_get(upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer of h2c, then another request",
            TUNNEL,
            get(*H2C) + SMUGGLED,
            seen_get(upgrade=b"h2c"),
            then=CLOSES,
        ),
        accepted(
            "a frame behind an offer that was declined",
            TUNNEL,
            get(*WEBSOCKET) + b"\x81\x85\x01\x02\x03\x04ignor",
            seen_get(upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "a TLS hello behind an offer that was declined",
            TUNNEL,
            get("Connection: Upgrade", "Upgrade: TLS/1.0") + b"\x16\x03\x01",
            seen_get(upgrade=b"TLS/1.0"),
            then=CLOSES,
        ),
        accepted(
            "the preface of HTTP/2 behind an offer that was declined",
            TUNNEL,
            get(*H2C) + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            seen_get(upgrade=b"h2c"),
            then=CLOSES,
        ),
    ),
    *rule(
        "such an offer with a body: it is read as a body, and nothing behind it is",
        BODY,
        "Upgrade: websocket\\r\\nContent-Length: 5",
        accepted(
            "an offer of h2c with a body",
            BODY,
            post(*H2C, "Content-Length: 5") + b"hello",
            seen_post(b"hello", upgrade=b"h2c"),
            then=CLOSES,
        ),
        accepted(
            "an offer with a body that is a request",
            BODY,
            post(*WEBSOCKET, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED,
            seen_post(SMUGGLED, upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer with a body that is a request, then another request",
            BODY,
            post(*WEBSOCKET, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + SMUGGLED,
            seen_post(SMUGGLED, upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer of a GET with a body that is a request",
            BODY,
            get(*WEBSOCKET, f"Content-Length: {len(SMUGGLED)}") + SMUGGLED + SMUGGLED,
            seen_get(body=SMUGGLED, length=len(SMUGGLED), upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer with a chunked body",
            BODY,
            post(*WEBSOCKET, "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n" + SMUGGLED,
            seen_chunked(b"hello", upgrade=b"websocket"),
            then=CLOSES,
        ),
        accepted(
            "an offer with a chunked body that is a request",
            BODY,
            post(*H2C, "Transfer-Encoding: chunked") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
            seen_chunked(SMUGGLED, upgrade=b"h2c"),
            then=CLOSES,
        ),
        accepted(
            "an offer with 100-continue",
            BODY,
            post(*H2C, "Expect: 100-continue", "Content-Length: 1") + b"a",
            seen_post(b"a", upgrade=b"h2c", expects_continue=True),
            then=CLOSES,
        ),
        accepted(
            "Upgrade that Connection does not name, with a body",
            BODY,
            post("Upgrade: websocket", "Content-Length: 5") + b"hello",
            seen_post(b"hello"),
        ),
        accepted(
            "Connection: upgrade without Upgrade, with a body",
            BODY,
            post("Connection: upgrade", "Content-Length: 5") + b"hello",
            seen_post(b"hello"),
        ),
        accepted(
            "an offer in HTTP/1.0 with a body",
            BODY,
            head("POST / HTTP/1.0", "Connection: Upgrade, keep-alive", "Upgrade: h2c", "Content-Length: 5")
            + b"hello"
            + get(),
            Request("POST / HTTP/1.0", body=b"hello", length=5),
            seen_get(),
        ),
    ),
    *rule(
        "what only looks like an offer: `Upgrade` or `Connection: upgrade` alone, or in HTTP/1.0",
        NOT_TO_US,
        "GET / HTTP/1.0\\r\\nConnection: Upgrade",
        accepted(
            "Upgrade that Connection does not name",
            NOT_TO_US,
            get("Upgrade: websocket"),
            seen_get(upgrade=b""),
        ),
        accepted(
            "Upgrade that another option resembles",
            NOT_TO_US,
            get("Connection: upgrade-insecure-requests", "Upgrade: websocket"),
            seen_get(upgrade=b""),
        ),
        accepted(
            "Connection: upgrade without Upgrade",
            "RFC 9110 §7.6.1",
            get("Connection: upgrade"),
            seen_get(upgrade=b""),
        ),
        accepted(
            "Connection: upgrade and an empty Upgrade",
            "RFC 9110 §7.8: an empty list",
            get("Connection: upgrade", "Upgrade:"),
            seen_get(upgrade=b""),
        ),
        accepted(
            "Connection: upgrade and an Upgrade of empty elements",
            "RFC 9110 §7.8: an empty list; §5.6.1: empty elements are ignored",
            get("Connection: upgrade", "Upgrade: ,\t,"),
            seen_get(upgrade=b""),
        ),
        accepted(
            "Upgrade in HTTP/1.0",
            "RFC 9110 §7.8: must be ignored in HTTP/1.0",
            head("GET / HTTP/1.0", "Connection: Upgrade", "Upgrade: websocket"),
            Request("GET / HTTP/1.0", upgrade=b""),
            then=CLOSES,
        ),
    ),
    *rule(
        "ambiguous framing beside an offer",
        "RFC 9112 §6.3",
        "Upgrade: websocket",
        refused(
            "an offer with ambiguous framing",
            "RFC 9112 §6.3",
            post(*WEBSOCKET, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
            400,
        ),
    ),
)

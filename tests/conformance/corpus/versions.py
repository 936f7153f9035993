"""The version in the request line."""

from tests.conformance.case import CLOSES, HOST, Request, accepted, get, head, refused, rule, seen_get

GRAMMAR = 'RFC 9112 §2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive'
OTHER = "RFC 9110 §15.6.6: 505 for a major version that is not spoken here"
MINOR = "RFC 9110 §2.5: processed as the highest minor version that is spoken here"

CASES = (
    *rule(
        "HTTP/1.1 and HTTP/1.0",
        "RFC 9112 §2.3",
        "GET /a HTTP/1.0",
        accepted("HTTP/1.1", "RFC 9112 §2.3", head("GET /a HTTP/1.1", HOST), Request("GET /a HTTP/1.1")),
        accepted(
            "HTTP/1.0",
            "RFC 9112 §9.3: its default is to close",
            head("GET /a HTTP/1.0"),
            Request("GET /a HTTP/1.0"),
            then=CLOSES,
        ),
    ),
    *rule(
        "a later minor version: served as HTTP/1.1",
        MINOR,
        "GET / HTTP/1.2",
        accepted("HTTP/1.2", MINOR, head("GET / HTTP/1.2", HOST), Request("GET / HTTP/1.2")),
        accepted("HTTP/1.9", MINOR, head("GET / HTTP/1.9", HOST), Request("GET / HTTP/1.9")),
        accepted(
            "HTTP/1.2 with close",
            MINOR,
            head("GET / HTTP/1.2", HOST, "Connection: close"),
            Request("GET / HTTP/1.2"),
            then=CLOSES,
        ),
        accepted(
            "HTTP/1.2 with a chunked body",
            MINOR,
            head("POST / HTTP/1.2", HOST, "Transfer-Encoding: chunked") + b"1\r\na\r\n0\r\n\r\n" + get(),
            Request("POST / HTTP/1.2", body=b"a", length=-1),
            seen_get(),
        ),
        accepted(
            "HTTP/1.2 between requests of HTTP/1.1",
            MINOR,
            get() + head("GET / HTTP/1.2", HOST) * 2 + get(),
            seen_get(),
            *[Request("GET / HTTP/1.2")] * 2,
            seen_get(),
        ),
    ),
    *rule(
        "another major version",
        OTHER,
        "GET / HTTP/2.0",
        *(
            refused(f"version {version}", OTHER, head(f"GET / {version}", HOST), 505)
            for version in ("HTTP/2.0", "HTTP/2.1", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9", "HTTP/0.0")
        ),
        refused(
            "HEAD in another version",
            OTHER + "; RFC 9110 §9.3.2: a refusal of HEAD has no body",
            head("HEAD / HTTP/2.0", HOST),
            505,
            method="HEAD",
        ),
        refused(
            "the preface of HTTP/2",
            "RFC 9113 §3.4: made to be refused by an HTTP/1.1 server",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            505,
        ),
    ),
    *rule(
        "no version, as in HTTP/0.9",
        "RFC 9112 §3; 0.9 is gone since RFC 7230",
        "GET /\\r\\n",
        refused("HTTP/0.9: no version at all", "RFC 9112 §3; 0.9 is gone since RFC 7230", b"GET /\r\n", 400),
        refused("no version but the space before it", GRAMMAR, b"GET / \r\n", 400),
    ),
    *rule(
        "anything that only looks like a version",
        GRAMMAR,
        "GET / HTTP/01.1",
        *(
            refused(f"version {version!r}", GRAMMAR, head(f"GET / {version}", HOST), 400)
            for version in (
                "http/1.1",
                "Http/1.1",
                "HTTP/1",
                "HTTP/1.",
                "HTTP/.1",
                "HTTP/",
                "HTTP",
                "HTTP/1.10",
                "HTTP/1.01",
                "HTTP/11.1",
                "HTTP/01.1",
                "HTTP/1.1.1",
                "HTTP/1,1",
                "HTTP/1-1",
                "HTTP/-1.1",
                "HTTP/+1.1",
                "HTTP/1.+1",
                "HTTP/0x1.1",
                "HTTP//1.1",
                "HTTP\\1.1",
                "HTTP/ 1.1",
                "HTTP/1. 1",
                "HTTP/1 .1",
                "HTTP 1.1",
                "HTTP/1.x",
                "HTTP/1.\xb9",
                "HTTP/\xb9.1",
                "\xc8TTP/1.1",
                "HTTPS/1.1",
                "XHTTP/1.1",
                "HTTP/1.1;",
                "HTTP/1.1#",
                "HTTP/1.1,HTTP/1.0",
                "HTTP/1.1\0",
                "HTTP/1.1\x0b",
                "SIP/2.0",
            )
        ),
        refused(
            "RTSP",
            GRAMMAR + "; llhttp reads it",
            head("DESCRIBE rtsp://a.example/b RTSP/1.0", "CSeq: 1"),
            400,
        ),
        refused("GET by RTSP", GRAMMAR + "; llhttp reads it as 1.0", head("GET / RTSP/1.0"), 400),
        refused("ICE", GRAMMAR + "; llhttp reads it as 1.0", head("SOURCE /radio ICE/1.0"), 400),
    ),
)

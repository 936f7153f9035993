"""The version in the request line."""

from tests.conformance.case import CLOSES, HOST, Request, accepted, head, refused

GRAMMAR = 'RFC 9112 §2.3: HTTP-version = "HTTP/" DIGIT "." DIGIT, case-sensitive'
OTHER = "RFC 9110 §15.6.6: 505 for a version that is not spoken here"
MINOR = (
    "RFC 9110 §15.6.6; §2.5 would let a higher minor version pass as 1.1, but none exists, "
    "and a peer that claims one is no client (our choice)"
)

CASES = (
    accepted("HTTP/1.1", "RFC 9112 §2.3", head("GET /a HTTP/1.1", HOST), Request("GET /a HTTP/1.1")),
    accepted(
        "HTTP/1.0",
        "RFC 9112 §9.3: its default is to close",
        head("GET /a HTTP/1.0"),
        Request("GET /a HTTP/1.0"),
        then=CLOSES,
    ),
    *(
        refused(f"version {version}", OTHER, head(f"GET / {version}", HOST), 505)
        for version in ("HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "HTTP/9.9", "HTTP/0.0")
    ),
    refused("version HTTP/1.2", MINOR, head("GET / HTTP/1.2", HOST), 505),
    refused("version HTTP/1.9", MINOR, head("GET / HTTP/1.9", HOST), 505),
    refused(
        "the preface of HTTP/2",
        "RFC 9113 §3.4: made to be refused by an HTTP/1.1 server",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        505,
    ),
    refused("HTTP/0.9: no version at all", "RFC 9112 §3; 0.9 is gone since RFC 7230", b"GET /\r\n", 400),
    refused("no version but the space before it", GRAMMAR, b"GET / \r\n", 400),
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
            "HTTP/11.1",
            "HTTP/01.1",
            "HTTP/1.1.1",
            "HTTP/1,1",
            "HTTP/1-1",
            "HTTP/-1.1",
            "HTTP/+1.1",
            "HTTP//1.1",
            "HTTP/ 1.1",
            "HTTP 1.1",
            "HTTP/1.x",
            "HTTP/1.\xb9",
            "HTTPS/1.1",
            "XHTTP/1.1",
            "HTTP/1.1;",
            "HTTP/1.1\0",
            "SIP/2.0",
        )
    ),
    refused(
        "RTSP", GRAMMAR + "; llhttp reads it", head("DESCRIBE rtsp://a.example/b RTSP/1.0", "CSeq: 1"), 400
    ),
    refused("GET by RTSP", GRAMMAR + "; llhttp reads it as 1.0", head("GET / RTSP/1.0"), 400),
    refused("ICE", GRAMMAR + "; llhttp reads it as 1.0", head("SOURCE /radio ICE/1.0"), 400),
)

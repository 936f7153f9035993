"""The application of the comparison, on both interfaces: the same bytes from both.

A GET is answered with BODY. A POST is read as a framework reads it; to /echo it is sent back, and elsewhere
it is answered with how long it was.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tests.apps.protocol import Receive, Scope, Send, live, read_body

BODY = b"Hello, World!"

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    content_type, body = TEXT, BODY
    if environ["REQUEST_METHOD"] == "POST":
        content_type, body = JSON, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if environ["PATH_INFO"] != "/echo":
            body = receipt(body)
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    content_type, body = TEXT, BODY
    if scope["method"] == "POST":
        content_type, body = JSON, await read_body(receive) or b""
        if scope["path"] != "/echo":
            body = receipt(body)
    fields = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": body})


def receipt(body: bytes) -> bytes:
    return b'{"read": %d}' % len(body)


def expected(request: bytes) -> bytes:
    """The body that answers a prepared request."""
    head, _, body = request.partition(b"\r\n\r\n")
    if not head.startswith(b"POST "):
        return BODY
    return body if head.startswith(b"POST /echo ") else receipt(body)

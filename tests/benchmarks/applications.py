"""The applications that every contender serves: small, and the same bytes on both interfaces."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

BODY = b"Hello, World!"
CONTENT_TYPE = "text/plain; charset=utf-8"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_WSGI_FIELDS = [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(BODY)))]
_ASGI_FIELDS = [
    (b"content-type", CONTENT_TYPE.encode()),
    (b"content-length", str(len(BODY)).encode()),
]


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", _WSGI_FIELDS.copy())
    return [BODY]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": _ASGI_FIELDS.copy()})
    await send({"type": "http.response.body", "body": BODY})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""Applications that give the answers of the corpus: `/7` is the eighth of them, and large responses."""

from collections.abc import Iterable, Iterator
from typing import Any

from tests.apps.protocol import Receive, Scope, Send, live
from tests.conformance.corpus import ANSWERS

PIECE = 64 * 1024
LARGE = b"".join(number.to_bytes(4) for number in range(8 << 18))
"""8 MiB of which no two parts are alike: more than the kernel takes for a client that does not read."""

LARGE_SHAPES = {"/whole": (len(LARGE), True), "/pieces": (PIECE, True), "/chunked": (PIECE, False)}
"""By path: how much an application gives at once, and whether it says how long all of it is."""


def cut(size: int) -> Iterator[bytes]:
    """The large body in pieces of this size."""
    return (LARGE[at : at + size] for at in range(0, len(LARGE), size))


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path in LARGE_SHAPES:
        size, has_length = LARGE_SHAPES[path]
        start_response("200 OK", [("Content-Length", str(len(LARGE)))] if has_length else [])
        return cut(size)
    answer = ANSWERS[int(path[1:])]
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.fields]
    start_response(f"{answer.status} As Given", fields)
    return [answer.body] if isinstance(answer.body, bytes) else iter(answer.body)


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    path = scope["path"]
    if path in LARGE_SHAPES:
        size, has_length = LARGE_SHAPES[path]
        headers = [(b"content-length", str(len(LARGE)).encode())] if has_length else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in cut(size):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    answer = ANSWERS[int(path[1:])]
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.fields)})
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    for number, piece in enumerate(pieces, 1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

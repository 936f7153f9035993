"""Applications that give the answers of the corpus: `/7` asks for the eighth of them."""

from collections.abc import Iterable
from typing import Any

from tests.apps.protocol import Receive, Scope, Send, live
from tests.conformance.corpus import ANSWERS


def wsgi(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    answer = ANSWERS[int(environ["PATH_INFO"][1:])]
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.fields]
    start_response(f"{answer.status} As Told", fields)
    return [answer.body] if isinstance(answer.body, bytes) else iter(answer.body)


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    answer = ANSWERS[int(scope["path"][1:])]
    await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.fields)})
    pieces = (answer.body,) if isinstance(answer.body, bytes) else answer.body
    for number, piece in enumerate(pieces, 1):
        await send({"type": "http.response.body", "body": piece, "more_body": number < len(pieces)})

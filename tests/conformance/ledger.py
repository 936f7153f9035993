"""Applications that write down which requests they saw: a line of JSON each, in the file that LEDGER names.

A request is written down when all of its body has come, with one write, so lines of several threads and
processes do not mix.
"""

import json
import os
from typing import Any

_FILE = os.open(os.environ.get("LEDGER", os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _enter(**seen: object) -> None:
    os.write(_FILE, json.dumps(seen).encode() + b"\n")


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    _enter(
        port=int(environ["REMOTE_PORT"]),
        id=environ.get("HTTP_X_NGINX_ID", ""),
        method=environ["REQUEST_METHOD"],
        path=environ["RAW_URI"].partition("?")[0],
        query=environ["QUERY_STRING"],
        body=environ["wsgi.input"].read().decode("latin-1"),
    )
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"seen\n"]


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    _enter(
        port=scope["client"][1],
        id=dict(scope["headers"]).get(b"x-nginx-id", b"").decode("latin-1"),
        method=scope["method"],
        path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        body=body.decode("latin-1"),
    )
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"seen\n"})

"""Applications that say what they saw: the wire runner serves them, one a worker class.

The report goes into a field, so that HEAD has it too; it is JSON in ASCII, so no byte of the request comes
back raw. Lines of one name are joined as CGI does it. With LEDGER in the environment it is a line of that
file instead, with one write when all of the body has come, so lines of several processes do not mix.
"""

import json
import os
from typing import Any

from tests.apps.protocol import Receive, Scope, Send, live, read_body

APPENDED = os.O_WRONLY | os.O_APPEND | os.O_CREAT
LEDGER = os.open(os.environ["LEDGER"], APPENDED, 0o600) if "LEDGER" in os.environ else -1


def report(**seen: object) -> str:
    """What goes into the field."""
    text = json.dumps({**seen, "pid": os.getpid()})
    if LEDGER < 0:
        return text
    os.write(LEDGER, text.encode() + b"\n")
    return "written down"


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    fields |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ}
    saw = report(
        port=environ.get("REMOTE_PORT"),
        method=environ["REQUEST_METHOD"],
        version=environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        target=environ["RAW_URI"],
        raw_path=environ["RAW_URI"].partition("?")[0],
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        query=environ["QUERY_STRING"],
        fields={name.lower().replace("_", "-"): value for name, value in fields.items()},
        body=environ["wsgi.input"].read().decode("latin-1"),
    )
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Saw", saw)])
    return [b"seen\n"]


async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    body = await read_body(receive)
    if body is None:
        return
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joint = "; " if key == "cookie" else ","
        fields[key] = fields[key] + joint + text if key in fields else text
    client = scope["client"]
    saw = report(
        port=str(client[1]) if client else None,
        method=scope["method"],
        version=scope["http_version"],
        raw_path=scope["raw_path"].decode("latin-1"),
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        fields=fields,
        body=body.decode("latin-1"),
    )
    headers = [(b"content-type", b"text/plain"), (b"x-saw", saw.encode("ascii"))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"seen\n"})

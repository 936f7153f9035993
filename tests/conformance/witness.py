"""Applications that answer with what they saw: the wire runner serves them, one a worker class.

The report goes into a field, so that HEAD has it too; it is JSON in ASCII, so no byte of the request comes
back raw. Lines of one name are joined as CGI does it.
"""

import json
import os
from typing import Any


def _make_report(**seen: object) -> str:
    return json.dumps({**seen, "pid": os.getpid()})


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    fields = {key[5:]: value for key, value in environ.items() if key.startswith("HTTP_")}
    fields |= {key: environ[key] for key in ("CONTENT_TYPE", "CONTENT_LENGTH") if key in environ}
    report = _make_report(
        method=environ["REQUEST_METHOD"],
        version=environ["SERVER_PROTOCOL"].removeprefix("HTTP/"),
        target=environ["RAW_URI"],
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        query=environ["QUERY_STRING"],
        fields={name.lower().replace("_", "-"): value for name, value in fields.items()},
        body=environ["wsgi.input"].read().decode("latin-1"),
    )
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Saw", report)])
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
    fields: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        joint = "; " if key == "cookie" else ","
        fields[key] = fields[key] + joint + text if key in fields else text
    report = _make_report(
        method=scope["method"],
        version=scope["http_version"],
        raw_path=scope["raw_path"].decode("latin-1"),
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        fields=fields,
        body=body.decode("latin-1"),
    )
    headers = [(b"content-type", b"text/plain"), (b"x-saw", report.encode("ascii"))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"seen\n"})

"""One application in both interfaces that shows what reached it: for servers that stand behind others.

/whoami     the client and its request, as the application sees them, in JSON
/raw        the length and the SHA-256 of the body, and how it was framed
/download   `size` bytes of a pattern in which no two places are alike; `length=no` does not announce how many
/stream     a line, then another one once the gate has been opened
/slow       takes `seconds`, and notes each time it is called in the file `notes`
anything    the pid of the worker
"""

import asyncio
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from tests.apps.gate import wait_at
from tests.apps.protocol import live

PIECE = 1 << 16

Environ = dict[str, Any]
Scope = dict[str, Any]


def pattern(size: int) -> Iterator[bytes]:
    """`size` bytes in pieces; bytes that are lost, doubled or in the wrong place change their hash."""
    for start in range(0, size, PIECE):
        piece = b"".join(at.to_bytes(8, "big") for at in range(start, start + PIECE, 8))
        yield piece[: size - start]


def hash_of_pattern(size: int) -> str:
    digest = hashlib.sha256()
    for piece in pattern(size):
        digest.update(piece)
    return digest.hexdigest()


def note(path: str) -> None:
    with open(path, "a") as notes:
        notes.write(f"{os.getpid()}\n")


class Asked:
    """What is in a query string."""

    def __init__(self, query: str) -> None:
        self._values = {name: values[-1] for name, values in parse_qs(query).items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    @property
    def has_length(self) -> bool:
        return self._values.get("length") != "no"


def wsgi(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    asked = Asked(environ["QUERY_STRING"])
    fields = [("Content-Type", "text/plain")]
    path = environ["PATH_INFO"]
    if path.endswith("/whoami"):
        body = json.dumps(whoami(environ)).encode()
    elif path == "/raw":
        body = json.dumps(read_all(environ)).encode()
    elif path == "/download":
        size = int(asked["size"])
        start_response("200 OK", [*fields, *([("Content-Length", str(size))] if asked.has_length else [])])
        return pattern(size)
    elif path == "/stream":
        start_response("200 OK", [*fields, ("X-Accel-Buffering", "no")])
        return stream(asked["gate"])
    elif path == "/slow":
        note(asked["notes"])
        time.sleep(float(asked["seconds"]))
        body = b"slow"
    else:
        environ["wsgi.input"].read()
        body = str(os.getpid()).encode()
    start_response("200 OK", [*fields, ("Content-Length", str(len(body)))])
    return [body]


def whoami(environ: Environ) -> dict[str, Any]:
    prefix = "HTTP_"
    return {
        "client": environ["REMOTE_ADDR"],
        "port": int(environ.get("REMOTE_PORT") or 0),
        "scheme": environ["wsgi.url_scheme"],
        "server": f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}",
        "root": environ["SCRIPT_NAME"],
        "path": environ["PATH_INFO"],
        "fields": {
            name.removeprefix(prefix).lower().replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith(prefix)
        },
    }


def read_all(environ: Environ) -> dict[str, Any]:
    digest = hashlib.sha256()
    length = 0
    while piece := environ["wsgi.input"].read(PIECE):
        digest.update(piece)
        length += len(piece)
    return {"length": length, "sha256": digest.hexdigest()}


def stream(gate: str) -> Iterator[bytes]:
    yield b"first\n"
    wait_at(gate)
    yield b"last\n"


async def asgi(scope: Scope, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await live(receive, send)
        return
    asked = Asked(scope["query_string"].decode())
    fields = [(b"content-type", b"text/plain")]
    path = scope["path"]
    if path.endswith("/whoami"):
        body = json.dumps(whoami_asgi(scope)).encode()
    elif path == "/raw":
        body = json.dumps(await receive_all(scope, receive)).encode()
    elif path == "/download":
        size = int(asked["size"])
        length = [(b"content-length", str(size).encode())] if asked.has_length else []
        await start(send, [*fields, *length])
        for piece in pattern(size):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})
        return
    elif path == "/stream":
        await start(send, [*fields, (b"x-accel-buffering", b"no")])
        await send({"type": "http.response.body", "body": b"first\n", "more_body": True})
        await asyncio.to_thread(wait_at, asked["gate"])
        await send({"type": "http.response.body", "body": b"last\n"})
        return
    elif path == "/slow":
        note(asked["notes"])
        time.sleep(float(asked["seconds"]))
        body = b"slow"
    else:
        await receive_all(scope, receive)
        body = str(os.getpid()).encode()
    await start(send, [*fields, (b"content-length", str(len(body)).encode())])
    await send({"type": "http.response.body", "body": body})


async def start(send: Any, fields: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": fields})


def whoami_asgi(scope: Scope) -> dict[str, Any]:
    client, port = scope["client"] or ("", 0)
    root = scope.get("root_path", "")
    return {
        "client": client,
        "port": port,
        "scheme": scope["scheme"],
        "server": ":".join(map(str, scope["server"] or ())),
        "root": root,
        "path": scope["path"].removeprefix(root),
        "fields": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
    }


async def receive_all(scope: Scope, receive: Any) -> dict[str, Any]:
    digest = hashlib.sha256()
    length = 0
    more = True
    while more:
        message = await receive()
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    chunked = dict(scope["headers"]).get(b"transfer-encoding", b"").lower() == b"chunked"
    return {"length": length, "sha256": digest.hexdigest(), "chunked": chunked}

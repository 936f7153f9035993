"""Large bodies on both interfaces: POST / says how long the body was and its CRC; /file sends the file that
LARGE_FILE names; /generate makes LARGE_SIZE bytes; any other path is quick."""

import os
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

FILE = os.environ.get("LARGE_FILE", "")
SIZE = int(os.environ.get("LARGE_SIZE", "0"))
PIECE = 65536
BYTES = [("Content-Type", "application/octet-stream")]


def piece(number: int) -> bytes:
    """The bytes of /generate at `number` * PIECE: no two pieces are alike."""
    return b"%016d" % number * (PIECE // 16)


def generate() -> Iterator[bytes]:
    for number in range(SIZE // PIECE):
        yield piece(number)


class Sum:
    """What was received."""

    def __init__(self) -> None:
        self.size = self.crc = 0

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self.crc = zlib.crc32(data, self.crc)

    def __str__(self) -> str:
        return f"{self.size} {self.crc:08x}"


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", BYTES)
    if environ["REQUEST_METHOD"] == "POST":
        received = Sum()
        while data := environ["wsgi.input"].read(PIECE):
            received.add(data)
        return [str(received).encode()]
    if environ["PATH_INFO"] == "/file":
        file = open(FILE, "rb")  # noqa: SIM115  the server closes it
        return environ["wsgi.file_wrapper"](file)  # type: ignore[no-any-return]
    if environ["PATH_INFO"] == "/generate":
        return generate()
    return [b"quick"]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    answer: Iterable[bytes] = [b"quick"]
    if scope["method"] == "POST":
        received, more = Sum(), True
        while more:
            message = await receive()
            received.add(message.get("body", b""))
            more = message.get("more_body", False)
        answer = [str(received).encode()]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["path"] == "/file":
        answer = read_file()
    elif scope["path"] == "/generate":
        answer = generate()
    for data in answer:
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body"})


def read_file() -> Iterator[bytes]:
    with open(FILE, "rb") as file:
        while data := file.read(PIECE):
            yield data

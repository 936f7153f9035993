"""A WSGI application that the standard library's validator watches: every rule that it knows is an assertion
there, about the server as well as about the application. It serves itself as its file."""

import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

Environ = dict[str, Any]

TEXT = [("Content-Type", "text/plain")]


def read_in_every_way(file: Any) -> bytes:
    """All of it; nothing is left then."""
    parts = [file.read(7), file.readline(), file.readline(3), *file.readlines(20)]
    for line in file:
        parts.append(line)
        break
    parts += [file.read(1), *file.readlines(), file.read(-1), file.readline()]
    return b"".join(parts)


def digest(environ: Environ, start_response: Any) -> Iterable[bytes]:
    """Says which body it has got."""
    environ["wsgi.errors"].write("")
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [hashlib.sha256(read_in_every_way(environ["wsgi.input"])).hexdigest().encode()]


def file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    opened = open(__file__, "rb")  # noqa: SIM115  the server closes it
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](opened, 100)  # type: ignore[no-any-return]


def no_file(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"no file"), 3)  # type: ignore[no-any-return]


def generate(environ: Environ, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b"one "
    yield b"two"


def write(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"one ")
    return [b"two"]


def hint(environ: Environ, start_response: Any) -> Iterable[bytes]:
    environ["wsgi.early_hints"]([("Link", "</style.css>; rel=preload")])
    start_response("200 OK", TEXT)
    return [b"hinted"]


def change_its_mind(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    try:
        raise ValueError("not shown")
    except ValueError:
        start_response("503 Sorry", TEXT, sys.exc_info())
    return [b"sorry"]


def nothing(environ: Environ, start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


ANSWERS: dict[str, Callable[[Environ, Any], Iterable[bytes]]] = {
    "/file": file,
    "/no-file": no_file,
    "/generate": generate,
    "/write": write,
    "/hint": hint,
    "/change": change_its_mind,
    "/nothing": nothing,
}


def unwatched(environ: Environ, start_response: Any) -> Iterable[bytes]:
    return ANSWERS.get(environ["PATH_INFO"], digest)(environ, start_response)


app = validator(unwatched)

with_every_rule_twice = validator(app)
"""One watches the other, as a middleware would."""

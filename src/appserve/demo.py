"""appserve.demo:app, an application to try the server with. WSGI, so that it runs in any worker with ease.

/          says hello, with the pid of its worker, and shows the request as it arrived
/stream    sends a line at a time, so that streaming can be watched
/echo      sends back what it is sent
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from appserve.version import __version__

WsgiEnviron = dict[str, Any]
StartResponse = Callable[..., Any]

_LINES = 10
_PAUSE = 0.2  # seconds between them
_MOST_ECHOED = 1 << 20
# Plain, and not to be taken for anything else: what a request says never becomes markup.
_PLAIN = [("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff")]


def app(environ: WsgiEnviron, start_response: StartResponse) -> Iterable[bytes]:
    """The application."""
    path = _text(environ.get("PATH_INFO", "/"))
    if path == "/stream":
        start_response("200 OK", [*_PLAIN, ("Cache-Control", "no-store")])
        return _stream()
    if path == "/":
        status, text = "200 OK", _hello(environ)
    elif path == "/echo":
        status, text = "200 OK", _echo(environ)
    else:
        status, text = "404 Not Found", f"nothing here: {path}\n"
    body = text.encode("utf-8", "replace")
    start_response(status, [*_PLAIN, ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
    return [body]


def _hello(environ: WsgiEnviron) -> str:
    python = sys.version.split()[0]
    return (
        f"Hello from appserve, version {__version__}, Python {python}, worker {os.getpid()}\n\n"
        "Reload this page to see whether another worker answers. /stream sends a line at a time, /echo\n"
        "sends back what it gets. Then serve your own application: appserve main:app\n\nYour request\n\n"
        + "".join(f"    {name}: {value}\n" for name, value in _facts(environ))
    )


def _facts(environ: WsgiEnviron) -> Iterator[tuple[str, str]]:
    """The request as a person wants to see it: line, client, then its header fields."""
    yield "request", f"{_request_line(environ)} {environ.get('SERVER_PROTOCOL', '')}"
    yield "client", str(environ.get("REMOTE_ADDR") or "a unix socket")
    for key in sorted(environ):
        if key in ("CONTENT_TYPE", "CONTENT_LENGTH") and environ[key]:
            yield key.replace("_", "-").title(), _text(str(environ[key]))
        elif key.startswith("HTTP_"):
            yield key.removeprefix("HTTP_").replace("_", "-").title(), _text(str(environ[key]))


def _stream() -> Iterator[bytes]:
    for number in range(1, _LINES + 1):
        if number > 1:
            time.sleep(_PAUSE)
        yield f"line {number} of {_LINES}, from worker {os.getpid()}\n".encode()


def _echo(environ: WsgiEnviron) -> str:
    body = environ["wsgi.input"].read(_MOST_ECHOED)
    return f"{_request_line(environ)}\n{len(body)} bytes of body\n\n{body.decode('utf-8', 'replace')}\n"


def _request_line(environ: WsgiEnviron) -> str:
    query = environ.get("QUERY_STRING", "")
    target = environ.get("PATH_INFO", "/") + (f"?{query}" if query else "")
    return f"{environ.get('REQUEST_METHOD', '')} {_text(target)}"


def _text(native: str) -> str:
    """A string of the environ, whose characters are bytes (PEP 3333), as text."""
    return native.encode("latin-1", "replace").decode("utf-8", "replace")

"""appserve.demo:app, an application to try the server with. WSGI, so that it runs in any worker with ease.

/          says hello, tells which worker served it, and shows the request as it arrived
/stream    sends a line at a time, so that streaming can be watched
/echo      sends back what it is sent
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from html import escape
from typing import Any

from appserve.version import __version__

WsgiEnviron = dict[str, Any]
StartResponse = Callable[..., Any]

_LINES = 10
_PAUSE = 0.2  # seconds between them
_MOST_ECHOED = 1 << 20
_HTML = "text/html; charset=utf-8"
_PLAIN = "text/plain; charset=utf-8"

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>appserve</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #888; --accent: #2a7f62; }}
body {{ font: 16px/1.6 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1.25rem; }}
h1 {{ font-size: 2rem; margin: 0; }}
h1 span {{ color: var(--accent); }}
h2 {{ font-size: 1.1rem; margin: 2.2rem 0 .4rem; }}
p.facts {{ color: var(--soft); margin-top: .2rem; }}
table {{ border-collapse: collapse; width: 100%; font: 14px/1.5 ui-monospace, monospace; }}
td, th {{ text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }}
td, th {{ border-bottom: 1px solid var(--line); }}
th {{ font-weight: normal; color: var(--soft); white-space: nowrap; }}
td {{ overflow-wrap: anywhere; }}
a {{ color: var(--accent); }}
input, button {{ font: inherit; padding: .3rem .6rem; }}
</style>
</head>
<body>
<h1>Hello from <span>appserve</span></h1>
<p class="facts">version {version}, Python {python}, worker {pid}</p>
<p>This page is served by <code>appserve.demo:app</code>. Reload it to see whether another worker answers;
then serve your own: <code>appserve main:app</code>.</p>
<h2>Try</h2>
<ul>
<li><a href="/stream">/stream</a>: {lines} lines, one at a time (with curl: <code>curl -N</code>)</li>
<li><a href="/echo?hello=world">/echo</a>: what was sent comes back</li>
</ul>
<form method="post" action="/echo" enctype="text/plain">
<input name="text" value="Grüße &amp; more" aria-label="text">
<button>send to /echo</button></form>
<h2>Your request</h2>
<table>
{rows}
</table>
</body>
</html>
"""


def app(environ: WsgiEnviron, start_response: StartResponse) -> Iterable[bytes]:
    """The application."""
    path = _text(environ.get("PATH_INFO", "/"))
    if path == "/":
        return _answer(start_response, "200 OK", _HTML, _hello(environ))
    if path == "/stream":
        start_response("200 OK", [("Content-Type", _PLAIN), ("Cache-Control", "no-store")])
        return _stream()
    if path == "/echo":
        return _answer(start_response, "200 OK", _PLAIN, _echo(environ))
    return _answer(start_response, "404 Not Found", _PLAIN, f"nothing here: {path}\n")


def _answer(start_response: StartResponse, status: str, kind: str, text: str) -> list[bytes]:
    body = text.encode("utf-8", "replace")
    start_response(
        status,
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ],
    )
    return [body]


def _hello(environ: WsgiEnviron) -> str:
    rows = "\n".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in _facts(environ)
    )
    return _PAGE.format(
        version=escape(__version__),
        python=escape(sys.version.split()[0]),
        pid=os.getpid(),
        lines=_LINES,
        rows=rows,
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

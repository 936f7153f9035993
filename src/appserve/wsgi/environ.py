"""The environ of a WSGI request (PEP 3333, RFC 3875), made from a template by a copy and an update.

What is true of the whole process is in the process's template, what is true of a connection in a copy of
it that the connection keeps; a request adds its line and its fields, which were turned into CGI variables
when their lines were first seen (http/fields.py).
"""

import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

from appserve.connection.origin import Endpoints, called_host
from appserve.errors import AppMistake
from appserve.http.fields import Fields
from appserve.http.forwarded import Node, Origin
from appserve.http.messages import RequestHead, RequestLine
from appserve.version import __version__
from appserve.wsgi.file_wrapper import FileWrapper

Environ = dict[str, Any]
CgiVariables = dict[str, Any]
"""The fields of a request as CGI variables."""

Header = tuple[str, str]

REQUEST_KEYS = (
    "REQUEST_METHOD",
    "SERVER_PROTOCOL",
    "PATH_INFO",
    "QUERY_STRING",
    "RAW_URI",
    "REQUEST_URI",
    "wsgi.input",
    "wsgi.early_hints",
)

NOT_PREFIXED = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What every request of this process has about the server.

    root_path   where the application is mounted: "/shop", "" at the root
    """

    multithread: bool
    multiprocess: bool
    root_path: str = ""


class CgiFields(Fields[CgiVariables, Header]):
    """How WSGI applications read and write fields: CGI variables in, pairs of native strings out."""

    __slots__ = ()

    def name_form(self, name: bytes) -> str:
        return variable_name(name)

    def text(self, octets: bytes) -> str:
        return octets.decode("latin-1")

    def octets(self, text: Any) -> bytes:
        native: str = text
        return native.encode("latin-1")

    def known(self, block: bytes) -> dict[str, str] | None:
        # hot: bench real.
        names: dict[str, str] = self.names
        values: dict[str, str] = {}
        lines = block.decode("latin-1").split("\r\n")
        for line in lines:
            name, colon, value = line.partition(": ")
            form = names.get(name)
            if form is None or not colon:
                return None
            values[form] = value.strip(" \t")
        return values if len(values) == len(lines) else None

    def of_values(self, values: CgiVariables) -> CgiVariables:
        return values

    def of_lines(self, fields: list[tuple[str, str]], values: CgiVariables) -> CgiVariables:
        return values

    def copy(self, fields: CgiVariables) -> CgiVariables:
        return fields  # the application is given a copy

    def spell(self, field: Any) -> tuple[bytes, bytes]:
        return _as_bytes(field)


def variable_name(name: bytes) -> str:
    """The CGI variable of a request field; `name` is in lower case (RFC 3875 §4.1.18)."""
    return NOT_PREFIXED.get(name) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")


def _as_bytes(header: object) -> tuple[bytes, bytes]:
    """PEP 3333: native strings that hold latin-1 only ("bytes-as-unicode"). What the application gave is an
    object, not a Header, as the compiled build checks what is announced."""
    if not isinstance(header, tuple) or len(header) != 2:
        raise AppMistake(f"a response header is not a (name, value) tuple: {header!r} (PEP 3333)")
    name, value = header
    if not isinstance(name, str) or not isinstance(value, str):
        raise AppMistake(f"a response header is not made of str: {header!r} (PEP 3333)")
    try:
        return name.encode("latin-1"), value.encode("latin-1")
    except UnicodeEncodeError:
        raise AppMistake(f"response header {name!r} has a character beyond latin-1 (PEP 3333)") from None


def make_template(site: ServerFacts) -> Environ:
    """The part of the environ that all requests of a process share.

    What belongs to one request stands there empty: a copy that has its keys already need not grow.
    """
    return {
        **dict.fromkeys(REQUEST_KEYS, ""),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": site.multithread,
        "wsgi.multiprocess": site.multiprocess,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "SERVER_SOFTWARE": f"appserve/{__version__}",
        "SCRIPT_NAME": site.root_path.encode().decode("latin-1"),
    }


def add_endpoints(template: Environ, endpoints: Endpoints) -> Environ:
    """A connection's template: its client, and the address that was called.

    A unix socket has no host; SERVER_NAME and SERVER_PORT must not be empty (PEP 3333), so they hold what
    an application would need to build a URL, were there no Host.
    """
    environ = template.copy()
    server, client, over_tls = endpoints.server, endpoints.client, endpoints.over_tls
    if server is not None and server[1] is not None:
        host = server[0]
        # RFC 3875 §4.1.14: as in a URL, of which it would be made a part.
        environ["SERVER_NAME"] = f"[{host}]" if ":" in host else host
        environ["SERVER_PORT"] = str(server[1])
    else:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = "localhost", "443" if over_tls else "80"
    if over_tls:
        environ["wsgi.url_scheme"], environ["HTTPS"] = "https", "on"
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    else:
        environ["REMOTE_ADDR"] = environ["REMOTE_PORT"] = ""
    return environ


def make_environ(template: Environ, head: RequestHead[CgiVariables], body: BinaryIO) -> Environ:
    """The environ of one request."""
    # hot: bench sync-hello and sync-browser.
    environ = template.copy()
    line = head.line
    base = line.base or line
    environ.update(base.derived or _derive(base, template["SCRIPT_NAME"]))
    if base is not line:
        environ["QUERY_STRING"] = line.query.decode("latin-1")
        environ["RAW_URI"] = environ["REQUEST_URI"] = line.target.decode("latin-1")
    environ.update(head.fields)
    environ["wsgi.input"] = body
    return environ


def _derive(line: RequestLine, root_path: str) -> Environ:
    """The CGI variables of a request line; text is latin-1, whatever it was meant to be (PEP 3333).

    `root_path` is the same for all requests of a process, so what follows from it can be kept.
    """
    target = line.target.decode("latin-1")
    line.derived = {
        "REQUEST_METHOD": line.method,
        "SERVER_PROTOCOL": line.protocol,
        "PATH_INFO": path_below(root_path, line.path_bytes.decode("latin-1")),
        "QUERY_STRING": line.query.decode("latin-1"),
        "RAW_URI": target,
        "REQUEST_URI": target,
    }
    return line.derived


def path_below(root_path: str, path: str) -> str:
    """The PATH_INFO of `path` for an application that is mounted at `root_path`.

    A proxy may have cut the root off already; then nothing is left to cut. The target `*` is no path, and a
    PATH_INFO begins with a slash or is empty (PEP 3333, RFC 3875 §4.1.5).
    """
    if path == "*":
        return ""
    if root_path and path.startswith(root_path) and path[len(root_path) :][:1] in ("", "/"):
        return path[len(root_path) :]
    return path


def apply_forwarded(environ: Environ, client: Node | None, origin: Origin, line: RequestLine) -> None:
    """Put what trusted proxies report into the environ of a request, in the place of the socket's addresses.

    The fields themselves stay, also those of a peer that is not trusted: HTTP_X_FORWARDED_FOR is what was
    sent and no more. A proxy that serves an application below a path hands the path on as it is, or strips
    it, and does not announce which: SCRIPT_NAME is its prefix followed by the server's own root path, and is
    taken off PATH_INFO if that begins with it.
    """
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    if origin.scheme:
        environ["wsgi.url_scheme"] = origin.scheme
        if origin.scheme == "https":
            environ["HTTPS"] = "on"
        else:
            environ.pop("HTTPS", None)  # the proxy speaks TLS with us, and its client does not with it
    if origin.host or origin.port:
        # Applications build their URLs from HTTP_HOST, or else from SERVER_NAME and SERVER_PORT (PEP 3333).
        own, scheme = environ.get("HTTP_HOST", ""), environ["wsgi.url_scheme"]
        host, name, port = called_host(origin, own, scheme)
        if name:
            environ["HTTP_HOST"], environ["SERVER_NAME"] = host, name
        environ["SERVER_PORT"] = str(port)
    if origin.prefix:
        script_name = origin.prefix.encode().decode("latin-1") + environ["SCRIPT_NAME"]
        environ["SCRIPT_NAME"] = script_name
        path = line.path_bytes.decode("latin-1")
        below = path_below(script_name, path)
        if below != path:
            environ["PATH_INFO"] = below

"""The connection scope of an HTTP request, and how header fields look to an ASGI application.

What is the same for every request of a connection is kept in a template, so that a request costs one copy
and one assignment for each thing that differs. Nothing that an application could change is shared between
two requests: the dictionaries and the list of headers are each request's own (asgiref, "Applications").
"""

from collections.abc import Mapping
from typing import Any

from appserve.connection.origin import Address, called_host
from appserve.errors import AppMistake
from appserve.http.fields import Fields
from appserve.http.forwarded import DEFAULT_PORTS, Node, Origin
from appserve.http.messages import RequestHead

Scope = dict[str, Any]
Field = tuple[bytes, bytes]

HTTP_SPEC_VERSION = "2.5"
"""What of asgiref's "HTTP & WebSocket" document is honoured: send() raises an OSError after a disconnect."""

_ASGI = {"version": "3.0", "spec_version": HTTP_SPEC_VERSION}


Headers = list[Field]
"""The fields of a request, names in lower case."""


class AsgiFields(Fields[Headers, Field]):
    """How ASGI applications read and write fields: (name, value) bytes both ways."""

    __slots__ = ()

    def name_form(self, name: bytes) -> bytes:
        return name

    def text(self, octets: bytes) -> bytes:
        return octets

    def octets(self, text: Any) -> bytes:
        value: bytes = text
        return value

    def known(self, block: bytes) -> dict[bytes, bytes] | None:
        # hot: bench real.
        names: dict[bytes, bytes] = self.names
        values: dict[bytes, bytes] = {}
        lines = block.split(b"\r\n")
        for line in lines:
            name, colon, value = line.partition(b": ")
            form = names.get(name)
            if form is None or not colon:
                return None
            values[form] = value.strip(b" \t")
        return values if len(values) == len(lines) else None

    def of_values(self, values: dict[bytes, bytes]) -> Headers:
        return list(values.items())

    def of_lines(self, fields: Headers, values: dict[bytes, bytes]) -> Headers:
        return fields

    def copy(self, fields: Headers) -> Headers:
        return fields.copy()

    def spell(self, field: Any) -> tuple[bytes, bytes]:
        return _spell(field)


def make_template(scheme: str, client: Address | None, server: Address | None, root_path: str) -> Scope:
    """What the scopes of one connection have in common."""
    return {
        "type": "http",
        "asgi": None,
        "http_version": "1.1",
        "method": "GET",
        "scheme": scheme,
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": root_path.rstrip("/"),
        "headers": [],
        "client": client,
        "server": server,
    }


def make_scope(template: Scope, head: RequestHead[Headers], state: Mapping[str, Any] | None) -> Scope:
    """The scope of one request. `state` is the lifespan's, or None if the application has no lifespan.

    Source: asgiref "HTTP & WebSocket" 2.5, "HTTP Connection Scope"; "Lifespan" 2.0, "Lifespan State".
    """
    # hot: bench asgi-hello. A copy and assignments cost less than a display of the same keys.
    line = head.line
    scope = template.copy()
    scope["asgi"] = _ASGI.copy()
    scope["method"] = line.method
    scope["path"] = line.path
    scope["raw_path"] = line.raw_path
    scope["query_string"] = line.query
    scope["headers"] = head.fields
    if line.version != "1.1":
        scope["http_version"] = line.version
    if state is not None:
        scope["state"] = dict(state)
    return scope


def apply_forwarded(scope: Scope, client: Node | None, origin: Origin) -> None:
    """Put what trusted proxies say into the scope of a request, in the place of what the socket knows."""
    if client is not None:
        scope["client"] = client
    if origin.scheme:
        scope["scheme"] = origin.scheme
    if origin.host or origin.port:
        # Applications build their URLs from Host, and from `server` if there is none.
        headers = scope["headers"]
        at = next((index for index, field in enumerate(headers) if field[0] == b"host"), -1)
        own = headers[at][1].decode("latin-1") if at >= 0 else ""
        host, name, port = called_host(origin, own, scope["scheme"])
        if host:
            if at >= 0:
                del headers[at]
            headers.insert(max(at, 0), (b"host", host.encode("latin-1")))
            scope["server"] = (name.strip("[]"), port or DEFAULT_PORTS[scope["scheme"]][0])
        elif (server := scope["server"]) is not None and server[1] is not None:
            scope["server"] = (server[0], port)  # no Host, and not by a unix socket


def mount(scope: Scope, prefix: str, own: str) -> None:
    """Say below which path the application is mounted: `prefix`, which a proxy says it has stripped, followed
    by `own`, the setting, which may have been stripped too.

    A proxy that serves an application below a path hands the path on as it is, or strips it, and does not say
    which. To the application both look alike: `path` is always the whole path, as the specification asks, so
    one that does not begin with root_path has it put back; raw_path stays as received. So an application that
    takes root_path off path (PATH_INFO of WSGI; what Starlette, FastAPI and Django do) finds its routes, and
    one that builds URLs from path builds those that its clients can use. The price is one ambiguity: below
    /shop, a stripped /shop/shop/1 looks like /shop/1 that was not stripped.
    """
    root_path = prefix + own
    path = scope["path"]
    scope["root_path"] = root_path
    if path[:1] == "/" and not _is_below(path, root_path):  # else it is the * of OPTIONS
        scope["path"] = (prefix if own and _is_below(path, own) else root_path) + path


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}


def _spell(field: Any) -> tuple[bytes, bytes]:
    """The name and the value of a response header. Without a context: that would be the look-up that did not
    find it, and its message has the value, which may be a secret."""
    try:
        name, value = field
    except (TypeError, ValueError) as error:
        raise AppMistake(f"response headers must be pairs of bytes: {error}") from None
    if type(name) is not bytes or type(value) is not bytes:
        raise AppMistake(f"a response header is a pair of bytes, not {name!r} and {value!r}") from None
    return name, value

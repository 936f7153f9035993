"""The connection scope of an HTTP request, and how header fields look to an ASGI application.

What is the same for every request of a connection is kept in a template, so that a request costs one copy
and one assignment for each thing that differs. Nothing that an application could change is shared between
two requests: the dictionaries and the list of headers are each request's own (asgiref, "Applications").
"""

from collections.abc import Mapping
from typing import Any

from appserve.errors import AppMistake
from appserve.http.fields import Fields
from appserve.http.messages import RequestHead

Scope = dict[str, Any]
Field = tuple[bytes, bytes]

HTTP_SPEC_VERSION = "2.5"
"""What of asgiref's "HTTP & WebSocket" document is honoured: send() raises an OSError after a disconnect."""

_ASGI = {"version": "3.0", "spec_version": HTTP_SPEC_VERSION}

Address = tuple[str, int | None]
"""A host and its port, or the path of a unix socket and None."""


def asgi_fields() -> Fields[Field, Field]:
    """A new memory of field lines for ASGI: fields are (name, value) bytes both ways."""
    return Fields(_as_is, _as_is, _spell)


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


def make_scope(template: Scope, head: RequestHead[Field], state: Mapping[str, Any] | None) -> Scope:
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


def _as_is(text: bytes) -> bytes:
    return text


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

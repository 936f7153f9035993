"""How a request looks to an application behind proxies: below a path, and asked by somebody further away.

A proxy that serves an application below a path hands the path on as it is, or strips it; nobody says which.
To the application both look alike:

    root_path   the path that the application is mounted at: what a believed proxy says it has stripped
                (X-Forwarded-Prefix), then the setting
    path        always the whole path, as the specification asks: one that does not begin with root_path was
                stripped, and has it put back
    raw_path    as received, in any case

So an application that takes root_path off path (PATH_INFO of WSGI; what Starlette, FastAPI and Django do)
finds its routes, and one that builds URLs from path builds those that its clients can use. The price is one
ambiguity: below /shop, a stripped /shop/shop/1 looks like /shop/1 that was not stripped.
"""

from appserve.asgi.scope import Scope
from appserve.http.forwarded import DEFAULT_PORTS, Forwarding, Origin, with_port
from appserve.http.request_line import split_authority


class Proxied:
    """What is changed in the scopes of one connection."""

    __slots__ = ("_forwarding", "_peer", "_root_path")

    def __init__(self, forwarding: Forwarding | None, peer: str, root_path: str) -> None:
        self._forwarding = forwarding
        self._peer = peer
        self._root_path = root_path

    def amend(self, scope: Scope) -> None:
        """Put into a request's scope what is known of it. Raises Rejected(400) if its proxies contradict
        themselves."""
        forwarding = self._forwarding
        prefix = ""
        if forwarding is not None:
            # hot: bench asgi-proxied. A look at each name, and one look-up for all that is said.
            names = forwarding.names
            told = tuple([field for field in scope["headers"] if field[0] in names])
            origin = forwarding.read(self._peer, told) if told else None
            if origin is not None:
                _tell(scope, origin)
                prefix = origin.prefix
        if prefix or self._root_path:
            _mount(scope, prefix, self._root_path)


def make_proxied(forwarding: Forwarding | None, root_path: str, peer: str | None) -> Proxied | None:
    """For a connection of `peer` ("" is one of a unix socket, None one that nothing is believed of); None if
    the scopes of its requests can stay as they are."""
    if forwarding is not None and (peer is None or not forwarding.trusts(peer)):
        forwarding = None
    if forwarding is None and not root_path:
        return None
    return Proxied(forwarding, peer or "", root_path)


def _tell(scope: Scope, origin: Origin) -> None:
    if origin.client is not None:
        scope["client"] = origin.client
    if origin.scheme:
        scope["scheme"] = origin.scheme
    if origin.host or origin.port:
        _tell_host(scope, origin)


def _tell_host(scope: Scope, origin: Origin) -> None:
    """Applications build their URLs from Host, and from `server` if there is none; so both say what the
    client called."""
    headers = scope["headers"]
    at = next((index for index, field in enumerate(headers) if field[0] == b"host"), -1)
    if origin.host:
        host = origin.host
        name, _ = split_authority(host)
    else:
        # Only a port is told, which belongs to the host that was called.
        host = headers[at][1].decode("latin-1") if at >= 0 else ""
        name, port = split_authority(host)
        if name and port is None:
            host = with_port(name, origin.port, scope["scheme"])
    if host:
        if at >= 0:
            del headers[at]
        headers.insert(max(at, 0), (b"host", host.encode("latin-1")))
        scope["server"] = (name.strip("[]"), origin.port or DEFAULT_PORTS[scope["scheme"]][0])
    elif (server := scope["server"]) is not None and server[1] is not None:
        scope["server"] = (server[0], origin.port)  # no Host, and not by a unix socket


def _mount(scope: Scope, prefix: str, own: str) -> None:
    """`prefix` was stripped by a proxy, it says; `own` is the setting, which may have been stripped too."""
    root_path = prefix + own
    path = scope["path"]
    scope["root_path"] = root_path
    if path[:1] == "/" and not _is_below(path, root_path):  # else it is the * of OPTIONS
        scope["path"] = (prefix if own and _is_below(path, own) else root_path) + path


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}

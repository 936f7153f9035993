"""What trusted proxies say of a request (http/forwarded.py), as CGI variables.

What they say takes the place of what the socket knows: REMOTE_ADDR and REMOTE_PORT ("0" if they do not tell
it), wsgi.url_scheme and HTTPS, HTTP_HOST, SERVER_NAME and SERVER_PORT, SCRIPT_NAME. The fields themselves
stay in the environ, also those of a peer that is not believed: HTTP_X_FORWARDED_FOR is what was sent and no
more.

A proxy that serves an application below a path hands the path on as it is, or strips it; nobody says which.
So SCRIPT_NAME is the prefix that was told, followed by the server's own root path, and is taken off PATH_INFO
if that begins with it.
"""

from appserve.http.forwarded import DEFAULT_PORTS, Forwarding, Origin, with_port
from appserve.http.messages import RequestLine
from appserve.http.request_line import split_authority
from appserve.wsgi.environ import Environ, path_below, variable_name


class Proxies:
    """Those that are believed, for all connections of a process."""

    __slots__ = ("_forwarding", "_names")

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding
        self._names = tuple([(variable_name(name), name) for name in sorted(forwarding.names)])

    def include(self, peer: str) -> bool:
        """Whether the peer with this address is one of them; "" is the peer of a unix socket."""
        return self._forwarding.trusts(peer)

    def read(self, peer: str, environ: Environ) -> Origin | None:
        """What `peer` says in the fields of a request, None if nothing. Raises Rejected(400).

        Several lines of a name are one variable, with commas between them, and mean the same.
        """
        # hot: bench sync-browser and sync-proxied. A look-up for each name, and one for all that is said.
        said = []
        for variable, name in self._names:
            value = environ.get(variable)
            if value is not None:
                said.append((name, value.encode("latin-1")))
        return self._forwarding.read(peer, tuple(said)) if said else None


def tell_origin(environ: Environ, origin: Origin, line: RequestLine) -> None:
    """Put what proxies say into the environ of a request."""
    if origin.client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = origin.client[0], str(origin.client[1])
    if origin.scheme:
        environ["wsgi.url_scheme"] = origin.scheme
        if origin.scheme == "https":
            environ["HTTPS"] = "on"
        else:
            environ.pop("HTTPS", None)  # the proxy speaks TLS with us, and its client does not with it
    if origin.host or origin.port:
        _tell_host(environ, origin)
    if origin.prefix:
        _mount(environ, origin.prefix, line)


def _tell_host(environ: Environ, origin: Origin) -> None:
    """Applications build their URLs from HTTP_HOST, or else from SERVER_NAME and SERVER_PORT (PEP 3333)."""
    scheme = environ["wsgi.url_scheme"]
    if origin.host:
        environ["HTTP_HOST"] = origin.host
        environ["SERVER_NAME"], _ = split_authority(origin.host)
        environ["SERVER_PORT"] = str(origin.port or DEFAULT_PORTS[scheme][0])
        return
    # Only a port is told, which belongs to the host that was called.
    environ["SERVER_PORT"] = str(origin.port)
    name, port = split_authority(environ.get("HTTP_HOST", ""))
    if name:
        environ["SERVER_NAME"] = name
        if port is None:
            environ["HTTP_HOST"] = with_port(name, origin.port, scheme)


def _mount(environ: Environ, prefix: str, line: RequestLine) -> None:
    """`environ` has the server's own root path in SCRIPT_NAME, and off PATH_INFO."""
    script_name = prefix.encode().decode("latin-1") + environ["SCRIPT_NAME"]
    environ["SCRIPT_NAME"] = script_name
    path = line.path_bytes.decode("latin-1")
    below = path_below(script_name, path)
    if below != path:
        environ["PATH_INFO"] = below

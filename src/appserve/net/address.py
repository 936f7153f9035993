"""Addresses: how an operator writes one, and how we show one.

127.0.0.1:8000    a TCP address of this machine
[::1]:8000        the same, IPv6: the brackets separate the port from the address
localhost:8000    every address of that name
:8000             every address of this machine
127.0.0.1         port 8000
unix:/run/a.sock  a unix socket; a relative path is relative to the current directory
fd://3            a socket that the process that starts the server has opened
"""

import ipaddress
import re
from typing import Any, TypeAlias

from appserve.values import Value

DEFAULT_PORT = 8000

# What the socket module gives as an address: a tuple for TCP, a str (or bytes, when abstract) for unix.
SocketAddress: TypeAlias = Any

_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class TcpAddress(Value):
    """A host (a name or an address; empty for every address of this machine) and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class UnixAddress(Value):
    """The path of a unix socket, as written."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


class FdAddress(Value):
    """The number of a descriptor that was inherited."""

    number: int

    def __str__(self) -> str:
        return f"fd://{self.number}"


Address: TypeAlias = TcpAddress | UnixAddress | FdAddress


def parse_bind(text: str) -> Address:
    """What one `--bind` names; raises ValueError with a message that says what to write instead."""
    text = text.strip()
    if text.startswith("unix:"):
        return UnixAddress(_socket_path(text.removeprefix("unix:")))
    if text.startswith("fd://"):
        number = text.removeprefix("fd://")
        if not re.fullmatch(r"[0-9]{1,7}", number, re.ASCII):
            raise ValueError(f'"{text}": expected the number of a descriptor, as in "fd://3"')
        return FdAddress(int(number))
    if not text:
        raise ValueError('expected an address such as "127.0.0.1:8000" or "unix:/run/app.sock", not nothing')
    if text.startswith(("/", "./", "../", "~")):
        raise ValueError(f'"{text}": a unix socket is written "unix:{text}"')
    if _SCHEME.match(text):
        raise ValueError(f'"{text}": expected host:port, [ipv6]:port or unix:path, without a scheme')
    if _CONTROL.search(text):
        raise ValueError(f"{text!a}: a space or a control character within an address")
    host, port = _split(text)
    return TcpAddress(host, DEFAULT_PORT if port is None else _port(text, port))


def _socket_path(path: str) -> str:
    if not path:
        raise ValueError('"unix:": expected a path, as in "unix:/run/app.sock"')
    if "\0" in path:
        raise ValueError("a path of a unix socket cannot hold a NUL")
    if path.startswith("@"):
        raise ValueError(
            f'"unix:{path}": abstract sockets are not supported ("unix:./{path}" is a file of that name)'
        )
    return path


def _split(text: str) -> tuple[str, str | None]:
    """Host and port; the port is None where none is written."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise ValueError(f'"{text}": expected an IPv6 address in brackets, as in "[::1]:8000"')
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        raise ValueError(
            f'"{text}": an IPv6 address is written in brackets, as in "[{text}]:8000"'
            if _is_ipv6(text)
            else f'"{text}": expected host:port with one colon, or [ipv6]:port'
        )
    host, colon, port = text.partition(":")
    # The resolver reads a bare number as an IPv4 address (8000 is 0.0.31.64), which is never meant.
    if not colon and host.isdigit():
        raise ValueError(
            f'"{text}": a port alone is written ":{text}" (every address of this machine)'
            f' or "127.0.0.1:{text}"'
        )
    return host, port if colon else None


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f'"{text}": expected a port from 0 to 65535, not "{port}"')
    return int(port)


def show_address(address: SocketAddress, scheme: str = "http") -> str:
    """An address as a person would type it: "http://127.0.0.1:8000", "http://[::1]:8000", "unix:/run/a.sock".

    `address` is what the socket module's getsockname() gives.
    """
    if isinstance(address, tuple):
        return f"{scheme}://{TcpAddress(str(address[0]), int(address[1]))}"
    if isinstance(address, bytes):  # abstract
        return "unix:@" + address[1:].decode("utf-8", "backslashreplace")
    return f"unix:{address}"

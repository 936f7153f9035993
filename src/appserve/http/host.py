"""The authority of a request: Host values, and what stands after `//` in an absolute-form target."""

import re

# reg-name and IPv4address are one character class (RFC 3986 §3.2.2).
AUTHORITY = re.compile(
    rb"(?:\[(?:([0-9A-Fa-f:.]+)|v[0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+;=:]+)\]"
    rb"|(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})*)(?::([0-9]*))?"
)


def is_valid_authority(value: bytes) -> bool:
    """Whether `value` is `host [":" port]` (RFC 9110 §7.2): no userinfo, no list, a port up to 65535."""
    match = AUTHORITY.fullmatch(value)
    if match is None:
        return False
    literal, port = match.groups()
    if literal is not None and not _is_ipv6(literal.decode("ascii")):
        return False
    return not port or (len(port) <= 5 and int(port) <= 65535)


def _is_ipv6(address: str) -> bool:
    from ipaddress import IPv6Address  # few are asked by their number, and the others need not pay for it

    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def split_authority(authority: str) -> tuple[str, int | None]:
    """(host, port) of a valid authority; the port is None if there is none or it is empty.

    An IP literal keeps its brackets.
    """
    host, colon, port = authority.rpartition(":")
    if colon and not port:
        return host, None
    return (host, int(port)) if port.isdigit() and colon else (authority, None)

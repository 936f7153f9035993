"""The request line: its grammar, and the four forms of its target (RFC 9112 §3)."""

import re

from appserve.errors import Cause, Rejected
from appserve.http.messages import RequestLine

METHODS = frozenset(
    "GET HEAD POST PUT DELETE OPTIONS TRACE PATCH QUERY CONNECT COPY LOCK MKCOL MOVE PROPFIND PROPPATCH "
    "SEARCH UNLOCK BIND REBIND UNBIND ACL REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE "
    "UNSUBSCRIBE PURGE MKCALENDAR LINK UNLINK".split()
)
"""The methods that llhttp reads. Any token may be a method, and it is the application that knows which it
serves (RFC 9110 §9.1)."""

BY_TOKEN = {method.encode("ascii"): method for method in METHODS}

LONGEST_METHOD = 32

METHOD = rb"[!#$%%&'*+\-.^_`|~0-9A-Za-z]{1,%d}" % LONGEST_METHOD
REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % METHOD)
VIABLE = re.compile(rb"(?:%b(?: (?:[\x21-\x7e]+(?: [HTP/0-9.]*)?)?)?)?" % METHOD)
RAW_BYTE = re.compile(rb"%b [\x21-\x7e]*[\x80-\xff]" % METHOD)
ABSOLUTE = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*)://([^/?]*)(.*)", re.DOTALL)
ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


def is_viable(line: bytes) -> bool:
    """Whether a request line can begin with these bytes.

    It lets a connection that speaks something else (a TLS handshake, a PROXY line) be refused at once
    instead of after a timeout.
    """
    return VIABLE.fullmatch(line) is not None


def read_request_line(line: bytes) -> RequestLine:
    """The request line in these bytes (no CRLF).

    Raises Rejected: 400 for its grammar or its target, 505 for another major version of HTTP, 501 for
    CONNECT. A later minor version is processed as the highest one spoken here,
    which its sender has to allow for. Source: RFC 9112 §3, RFC 9110 §2.5 and §9.
    """
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise malformed_request_line(line)
    token, target, major, minor = match.groups()
    if major != b"1":
        raise Rejected(505, "unsupported HTTP version: only 1.1 and 1.0 (RFC 9110 §15.6.6)")
    method = BY_TOKEN.get(token) or token.decode("ascii")
    if method == "CONNECT":
        raise Rejected(
            501, "unsupported method CONNECT: this server is not a proxy (RFC 9110 §9.3.6)", Cause.METHOD
        )
    if target[:1] == b"/" and b"#" not in target:  # hot: bench sync-real
        path, _, query = target.partition(b"?")
        authority = b""
    else:
        path, query, authority = _read_target(method, target)
    decoded = ESCAPE.sub(_unescape, path) if b"%" in path else path
    return RequestLine(method, target, "1.0" if minor == b"0" else "1.1", path, decoded, query, authority)


def _read_target(method: str, target: bytes) -> tuple[bytes, bytes, bytes]:
    """(path, query, authority) of a target in origin-, absolute- or asterisk-form (RFC 9112 §3.2)."""
    if b"#" in target:
        raise _bad_target("fragment in the request target (RFC 9112 §3.2)")
    if target[:1] == b"/":
        path, _, query = target.partition(b"?")
        return path, query, b""
    if target == b"*":
        if method != "OPTIONS":
            raise _bad_target("the target * is for OPTIONS only (RFC 9112 §3.2.4)")
        return target, b"", b""
    match = ABSOLUTE.fullmatch(target)
    if match is None:
        raise _bad_target("malformed request target for this method (RFC 9112 §3.2)")
    scheme, authority, rest = match.groups()
    if scheme.lower() not in {b"http", b"https"}:
        raise _bad_target("unsupported scheme in the request target (RFC 9112 §3.2.2)")
    # An empty host is invalid in an http URI (RFC 9110 §4.2.1), userinfo is a spoofing device (§4.2.4).
    if not authority or authority[:1] == b":" or not is_valid_authority(authority):
        raise _bad_target("malformed authority in the request target (RFC 9110 §4.2)")
    path, _, query = rest.partition(b"?")
    if not path:
        # RFC 9112 §3.2.4: OPTIONS for an absolute URI without a path asks about the server as a whole.
        path = b"*" if method == "OPTIONS" and not query else b"/"
    return path, query, authority


def malformed_request_line(line: bytes) -> Rejected:
    """The refusal of a line that is not viable: for the first byte in it that cannot be right."""
    if len(line) > LONGEST_METHOD and TOKEN.fullmatch(line[: LONGEST_METHOD + 1]) is not None:
        return Rejected(501, f"method longer than {LONGEST_METHOD} bytes (RFC 9110 §9.1)", Cause.METHOD)
    if RAW_BYTE.match(line) is not None:
        return _bad_target("byte above 0x7F in the request target: percent-encode it (RFC 3986 §2.1)")
    return Rejected(400, "malformed request line (RFC 9112 §3)")


def _bad_target(reason: str) -> Rejected:
    return Rejected(400, reason, Cause.TARGET)


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),))


TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""A method, a field name, an option (RFC 9110 §5.6.2)."""

FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""The bytes that a field value may not hold (RFC 9110 §5.5); those from 0x80 on are opaque and allowed."""

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
    from ipaddress import IPv6Address  # few hosts are an IPv6 address, and the others need not pay for it

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

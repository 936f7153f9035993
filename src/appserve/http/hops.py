"""The hops of a request, as proxies write them down: one entry for each, the latest at the right.

Every proxy adds the address that it was called from. So the list is read from the right, where our own peer
wrote, and an entry is worth something only while all that stand to its right are the addresses of proxies
that are believed: what is further left was written by somebody else, who may have invented it.
"""

import re
from collections.abc import Sequence

from appserve.errors import Cause, Rejected
from appserve.http.trust import TrustList, read_address

Client = tuple[str, int]
"""An address in its usual form and a port, 0 when that is not known."""

_PORT = rb"([0-9]{1,5}|_[A-Za-z0-9._\-]+)"
_IPV6 = rb"[0-9A-Fa-f:.]{2,45}"
_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rb"%b(?:\.%b){3}" % (_OCTET, _OCTET))
"""An IPv4 address in its usual form."""

NODE = re.compile(rb"\[(%b)\](?::%b)?|([0-9.]{7,15})(?::%b)?|(%b)" % (_IPV6, _PORT, _PORT, _IPV6))

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
PAIR = re.compile(rb'(%b)=(?:(%b)|"((?:[^"\\]|\\.)*)")' % (_TOKEN, _TOKEN), re.DOTALL)
DELIMITER = re.compile(rb"[ \t]*([;,]|\Z)[ \t]*")
ESCAPED = re.compile(rb"\\(.)", re.DOTALL)

Element = dict[bytes, bytes]
"""The parameters of one forwarded-element, names in lower case, values without quotes."""


def walk(nodes: Sequence[bytes], trust: TrustList) -> tuple[Client | None, int]:
    """The client that the entries lead to, and the index of the entry at which the walk ended.

    The first entry from the right that is not a believed proxy is the client; if all are, the leftmost is.
    At an entry that is no address ("unknown", a pseudonym, nothing, garbage) nothing further is known: the
    client is then the hop before it, and None if there was none.
    """
    client: Client | None = None
    for index in range(len(nodes) - 1, -1, -1):
        hop = read_node(nodes[index])
        if hop is None:
            return client, index
        client = hop
        if not trust.trusts(hop[0]):
            return client, index
    return client, 0


def read_node(node: bytes) -> Client | None:
    """The address and the port of one entry, None if it has no address.

    IPv4, IPv6 and [IPv6], the first and the last with or without a port; a port may be a pseudonym
    (RFC 7239 §6.3), which is as good as none.
    """
    if IPV4.fullmatch(node) is not None:  # hot: bench real
        return node.decode("ascii"), 0
    match = NODE.fullmatch(node)
    if match is None:
        return None
    bracketed, port_6, plain, port_4, bare = match.groups()
    address = read_address((bracketed or plain or bare).decode("ascii"))
    if not address or (bracketed and b":" not in bracketed):
        return None
    port = port_6 or port_4 or b"0"
    number = 0 if port[:1] == b"_" else int(port)
    return (address, number) if number <= 65535 else None


def read_elements(value: bytes) -> list[Element]:
    """The elements of a Forwarded field, without the empty ones.

    Blanks around `;` are let pass: they are not in the grammar, and common. Raises Rejected(400).
    Source: RFC 7239 §4, RFC 9110 §5.6.1.
    """
    elements: list[Element] = []
    element: Element = {}
    position = 0
    while True:
        pair = PAIR.match(value, position)
        if pair is not None:
            name, token, quoted = pair.groups()
            name = name.lower()
            if name in element:
                raise Rejected(
                    400, "a parameter occurs twice in an element of Forwarded (RFC 7239 §4)", Cause.FORWARDED
                )
            element[name] = ESCAPED.sub(rb"\1", quoted) if token is None else token
            position = pair.end()
        delimiter = DELIMITER.match(value, position)
        if delimiter is None:
            raise Rejected(400, "malformed Forwarded (RFC 7239 §4)", Cause.FORWARDED)
        position = delimiter.end()
        if delimiter[1] == b";":
            continue
        if element:
            elements.append(element)
            element = {}
        if not delimiter[1]:
            return elements

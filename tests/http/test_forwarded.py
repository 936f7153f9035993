"""What proxies say, with the fields that they really send.

192.0.2.* and 198.51.100.* are clients, 10.* are our proxies, 6.6.6.6 is a forged address.
"""

from collections.abc import Iterable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from appserve.asgi.scope import AsgiFields
from appserve.errors import Rejected
from appserve.http.cache import REMEMBERED
from appserve.http.forwarded import (
    ALL_HEADERS,
    LONGEST,
    NOTHING,
    USUAL_HEADERS,
    Forwarded,
    Forwarding,
    Origin,
    TrustList,
    with_port,
)

FAMILY = ALL_HEADERS[:-1]
Pairs = tuple[tuple[bytes, bytes], ...]


def forwarding(*headers: str, trust: Iterable[str] = ("10.0.0.0/8", "2001:db8:f::/48", "unix")) -> Forwarding:
    return Forwarding(TrustList(trust), headers or FAMILY, AsgiFields())


def pairs(*lines: str) -> Pairs:
    """Fields as a connection would give them, of lines such as "for: 192.0.2.1"."""
    found = []
    for line in lines:
        name, _, value = line.partition(":")
        full = "forwarded" if name == "forwarded" else "x-forwarded-" + name
        found.append((full.encode(), value.strip().encode("latin-1")))
    return tuple(found)


def read(reader: Forwarding, fields: Pairs) -> Forwarded | None:
    """What a request with these fields says; None if nothing."""
    found = reader.read(AsgiFields()._join(fields))
    return None if found == (None, NOTHING) else found


def said(*lines: str, reader: Forwarding | None = None) -> Forwarded | None:
    return read(reader or forwarding(), pairs(*lines))


def origin(
    client: tuple[str, int] | None = None, scheme: str = "", host: str = "", port: int = 0, prefix: str = ""
) -> Forwarded:
    return client, Origin(scheme, host, port, prefix)


def refused(*lines: str, reader: Forwarding | None = None) -> str:
    with pytest.raises(Rejected) as caught:
        said(*lines, reader=reader)
    assert caught.value.status == 400
    return caught.value.reason


# ── real chains ──


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(["for: 192.0.2.1", "proto: https"], origin(("192.0.2.1", 0), "https"), id="nginx"),
        pytest.param(
            ["for: 6.6.6.6, 192.0.2.1", "proto: http"],
            origin(("192.0.2.1", 0), "http"),
            id="nginx, $proxy_add_x_forwarded_for, and a client that writes itself",
        ),
        pytest.param(
            ["for: 192.0.2.1", "proto: https", "host: shop.example", "port: 443", "prefix: /shop"],
            origin(("192.0.2.1", 0), "https", "shop.example", 443, "/shop"),
            id="ingress-nginx",
        ),
        pytest.param(
            ["for: 192.0.2.1", "port: 443", "proto: https"],
            origin(("192.0.2.1", 0), "https", "", 443),
            id="AWS ALB",
        ),
        pytest.param(
            ["for: 192.0.2.1:50312, 10.0.0.9:4433", "port: 443", "proto: https"],
            origin(("192.0.2.1", 50312), "https", "", 443),
            id="AWS ALB with client ports, behind another",
        ),
        pytest.param(
            ["for: [2001:db8:1::5]:50312", "proto: https"],
            origin(("2001:db8:1::5", 50312), "https"),
            id="AWS ALB with client ports, IPv6",
        ),
        pytest.param(
            ["for: 192.0.2.1", "host: shop.example:8443", "port: 8443", "proto: https", "prefix: /shop/"],
            origin(("192.0.2.1", 0), "https", "shop.example:8443", 8443, "/shop"),
            id="Traefik with StripPrefix",
        ),
        pytest.param(
            ["for: 192.0.2.1", "host: shop.example", "port: 443", "proto: wss"],
            origin(("192.0.2.1", 0), "https", "shop.example", 443),
            id="Traefik, a WebSocket",
        ),
        pytest.param(
            ["for: 2001:db8:1::5, 10.4.4.4", "proto: https"],
            origin(("2001:db8:1::5", 0), "https"),
            id="Cloudflare, whose addresses are trusted, in front of nginx",
        ),
        pytest.param(
            ["for: 192.0.2.1,198.51.100.7", "proto: https"],
            origin(("198.51.100.7", 0), "https"),
            id="Cloudflare, whose addresses are not trusted",
        ),
        pytest.param(
            ["for: 6.6.6.6", "for: 192.0.2.1"], origin(("192.0.2.1", 0)), id="HAProxy, option forwardfor"
        ),
        pytest.param(
            ["proto: https", "for: 192.0.2.1", "proto: http"],
            None,
            id="HAProxy, http-request add-header where set-header was meant",
        ),
        pytest.param(
            ["for: 6.6.6.6", "proto: https", "for: 192.0.2.1", "proto: http"],
            origin(("192.0.2.1", 0), "http"),
            id="HAProxy, add-header, and a client that writes both",
        ),
        pytest.param(
            ["for: 192.0.2.1, 10.0.0.2", "proto: https, http", "host: shop.example, back.internal"],
            origin(("192.0.2.1", 0), "https", "shop.example"),
            id="Apache httpd behind Apache httpd",
        ),
        pytest.param(["for: unknown", "proto: https"], origin(None, "https"), id="Squid, forwarded_for off"),
        pytest.param(
            ["host: shop.example:8080"], origin(None, "", "shop.example:8080", 8080), id="host only"
        ),
        pytest.param([], None, id="a proxy that says nothing"),
    ],
)
def test_the_client_is_found(lines: list[str], expected: Forwarded | None):
    if expected is None and lines:
        refused(*lines)
    else:
        assert said(*lines) == expected


ELEMENTS = [
    ('for="_gazonk"', None),
    ('For="[2001:db8:cafe::17]:4711"', origin(("2001:db8:cafe::17", 4711))),
    ("for=192.0.2.60;proto=http;by=203.0.113.43", origin(("192.0.2.60", 0), "http")),
    ("for=192.0.2.43, for=198.51.100.17", origin(("198.51.100.17", 0))),
    ("for=192.0.2.43, for=10.1.1.1", origin(("192.0.2.43", 0))),
    ('for="192.0.2.43:47011";host="a:8443"', origin(("192.0.2.43", 47011), "", "a:8443", 8443)),
    ("proto=https;for=127.0.0.1", origin(("127.0.0.1", 0), "https")),  # HAProxy, option forwarded
    ("proto=https", origin(None, "https")),
    ("for=192.0.2.1;proto=HTTPS;Host=a , for=10.1.1.1;host=b", origin(("192.0.2.1", 0), "https", "a")),
    ("for=6.6.6.6;proto=http, for=192.0.2.1;proto=https, for=10.1.1.1", origin(("192.0.2.1", 0), "https")),
    ("for=6.6.6.6;proto=http;host=evil.example, for=192.0.2.1", origin(("192.0.2.1", 0))),
    ("for=6.6.6.6, for=_x;proto=https, for=10.1.1.1;proto=http", origin(("10.1.1.1", 0), "https")),
    ("for=6.6.6.6, for=unknown;proto=https", origin(None, "https")),
    (",for=10.1.1.1;proto=https", origin(("10.1.1.1", 0), "https")),
    ("for=192.0.2.1;proto=wss;ext=1", origin(("192.0.2.1", 0), "https")),
    ("", None),
]


@pytest.mark.parametrize(("elements", "expected"), ELEMENTS)
def test_forwarded_is_read_by_elements(elements: str, expected: Forwarded | None):
    assert said("forwarded: " + elements, reader=forwarding("forwarded")) == expected


def test_lines_of_forwarded_are_one_list():
    reader = forwarding("forwarded")

    lines = ("forwarded: for=6.6.6.6", "forwarded: for=192.0.2.1;proto=https", "forwarded: for=10.1.1.1")
    assert said(*lines, reader=reader) == origin(("192.0.2.1", 0), "https")


@pytest.mark.parametrize(
    "elements",
    [
        *("for=[::1]", "for=1.1.1.1;for=2.2.2.2", "for=a, garbage", 'for="', "for=192.0.2.1;proto=ftp"),
        *("proto=on", "host=/", 'host=":80"', 'host="u@b"', 'host="a:99999"', 'host="a:0"', 'host="a,b"'),
    ],
)
def test_a_forwarded_that_cannot_be_right_is_400(elements: str):
    refused("forwarded: " + elements, reader=forwarding("forwarded"))


# ── which peers are trusted, and in what ──


def test_a_peer_that_is_not_trusted_is_recognised():
    assert not forwarding().trusts("192.0.2.1")


@pytest.mark.parametrize("peer", ["10.0.0.1", "2001:db8:f::1", "", "::ffff:10.0.0.1"])
def test_fields_of_a_trusted_peer_are_applied(peer: str):
    assert forwarding().trusts(peer)


@pytest.mark.parametrize("header", ALL_HEADERS)
def test_only_fields_that_were_chosen_are_read(header: str):
    everything = pairs(
        *("for: 192.0.2.1", "proto: https", "host: a.example", "port: 81", "prefix: /p", "forwarded: host=b")
    )
    alone = tuple(pair for pair in everything if pair[0] == header.encode())
    reader = forwarding(header)

    assert reader.names == {header.encode()}
    assert read(reader, everything) == read(reader, alone) is not None


def test_by_default_only_client_and_scheme_are_read():
    reader = forwarding(*USUAL_HEADERS)

    lines = ("for: 192.0.2.1", "proto: https", "host: evil.example", "port: 81", "prefix: /evil")
    assert said(*lines, reader=reader) == origin(("192.0.2.1", 0), "https")


def test_without_a_field_nothing_is_read():
    assert read(Forwarding(TrustList(["*"]), (), AsgiFields()), pairs("for: 192.0.2.1")) is None


def test_the_two_kinds_of_fields_exclude_each_other():
    with pytest.raises(ValueError, match="expected either forwarded or"):
        Forwarding(TrustList(()), ALL_HEADERS, AsgiFields())


def test_where_every_peer_is_trusted_the_leftmost_element_is_the_client():
    reader = forwarding(trust=["*"])

    assert said("for: 6.6.6.6, 192.0.2.1", "proto: http, https", reader=reader) == origin(
        ("6.6.6.6", 0), "http"
    )


# ── scheme, host, port, prefix ──


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("http", "http"), ("HTTPS", "https"), ("ws", "http"), ("WsS", "https"), ("", ""), (" , ,", "")],
)
def test_a_scheme_is_that_of_the_handshake(proto: str, scheme: str):
    assert said("for: 192.0.2.1", f"proto: {proto}") == origin(("192.0.2.1", 0), scheme)


@pytest.mark.parametrize("proto", ["on", "ftp", "https:", "https://", "h\xe4", "https https", "https,"])
def test_an_unknown_scheme_is_400(proto: str):
    refused("for: 192.0.2.1", f"proto: {proto}")


@pytest.mark.parametrize(
    ("nodes", "protos", "scheme"),
    [
        ("192.0.2.1, 10.0.0.2", "https", "https"),
        ("192.0.2.1, 10.0.0.2", "https, http", "https"),
        ("6.6.6.6, 192.0.2.1, 10.0.0.2", "http, https, http", "https"),
        ("6.6.6.6, 192.0.2.1", "ftp, https", "https"),
        ("unknown, 10.0.0.2", "https, http", "https"),
        ("192.0.2.1, unknown", "http, https", "https"),
        ("192.0.2.1, 10.0.0.2", ",http", ""),
        ("192.0.2.1", "https, HTTPS", "https"),
        ("192.0.2.1, 10.0.0.2", "https, https, https", "https"),
        ("", "https, https", "https"),
    ],
)
def test_of_several_schemes_that_of_the_hop_counts(nodes: str, protos: str, scheme: str):
    reported = said(f"for: {nodes}", f"proto: {protos}")

    assert reported is not None
    assert reported[1].scheme == scheme


@pytest.mark.parametrize(
    ("nodes", "protos"),
    [("192.0.2.1", "https, http"), ("6.6.6.6, 192.0.2.1, 10.0.0.2", "https, http"), ("", "http, https"),
     ("192.0.2.1, 10.0.0.2", "https, https, http"), ("192.0.2.1", "https,")],
)  # fmt: skip
def test_schemes_that_belong_to_no_hop_and_differ_are_a_contradiction(nodes: str, protos: str):
    reason = refused(f"for: {nodes}", f"proto: {protos}")
    assert reason == "contradiction: X-Forwarded-Proto has several values for one client"


@pytest.mark.parametrize(
    ("lines", "host", "port"),
    [
        (["host: a.example"], "a.example", 0),
        (["host: a.example:8080"], "a.example:8080", 8080),
        (["host: a.example:"], "a.example", 0),
        (["host: a.example:08080"], "a.example:8080", 8080),
        (["host: [2001:db8::1]"], "[2001:db8::1]", 0),
        (["host: [2001:db8::1]:81"], "[2001:db8::1]:81", 81),
        (["host: a.example", "port: 8080"], "a.example:8080", 8080),
        (["host: [2001:db8::1]", "port: 8080"], "[2001:db8::1]:8080", 8080),
        (["host: a.example", "port: 443", "proto: https"], "a.example", 443),
        (["host: a.example", "port: 80", "proto: http"], "a.example", 80),
        (["host: a.example", "port: 80", "proto: https"], "a.example:80", 80),
        (["host: a.example", "port: 443", "proto: http"], "a.example:443", 443),
        (["host: a.example", "port: 443"], "a.example", 443),
        (["host: a.example", "port: 80"], "a.example", 80),
        (["host: a.example:443", "port: 443", "proto: https"], "a.example:443", 443),
        (["host: a.example, a.example"], "a.example", 0),
        (["port: 8080"], "", 8080),
        (["port: 8080, 8080"], "", 8080),
        (["port: 8080", "port: 8080"], "", 8080),
        (["port: 65535", "host:"], "", 65535),
    ],
)
def test_a_port_joins_the_host_unless_it_goes_without_saying(lines: list[str], host: str, port: int):
    reported = said(*lines)

    assert reported is not None
    assert (reported[1].host, reported[1].port) == (host, port)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "+80", "8_0", "http", "80 81", "000080", "\xb2", "80,"])
def test_a_port_that_cannot_be_right_is_400(port: str):
    refused(f"port: {port}")


@pytest.mark.parametrize("host", [":80", "a b", "a/b", "u@a", "a:b", "a:65536", "a:0", "[::1", "::1", "\xfc"])
def test_a_host_that_cannot_be_right_is_400(host: str):
    refused(f"host: {host}")


@pytest.mark.parametrize(
    "lines",
    [
        ["host: a:80", "port: 81"],
        ["host: a, b"],
        ["host: a", "host: b"],
        ["port: 80, 81"],
        ["port: 1", "port: 2"],
    ],
)
def test_hosts_and_ports_that_differ_are_a_contradiction(lines: list[str]):
    assert "contradiction" in refused(*lines)


@pytest.mark.parametrize(
    ("sent", "prefix"),
    [
        ("/shop", "/shop"),
        ("/shop/", "/shop"),
        ("/", ""),
        ("", ""),
        ("/a/b.c/..d/...", "/a/b.c/..d/..."),
        ("/a;v=1/~b/@c:d", "/a;v=1/~b/@c:d"),
        ("/caf%C3%A9", "/caf\xe9"),
        ("/a%20b%3Fc%23d", "/a b?c#d"),
        ("/shop, /shop", "/shop"),
    ],
)
def test_a_prefix_is_a_path_without_its_last_slash(sent: str, prefix: str):
    reported = said("for: 192.0.2.1", f"prefix: {sent}")

    assert reported == origin(("192.0.2.1", 0), prefix=prefix)


UNFIT_PREFIXES = r"""
shop // //evil.example /a//b /a// /\evil.example /%5Cevil.example /%5cevil.example https://evil.example
/.. /a/../b /. /a/. /a/./b /%2e%2e/b /.%2E /a%2Fb /%2Fevil.example
/a%00 /a%0Ab /a%7F /%C2%85 /%E2%80%A8 /a?b /a#b /a% /a%zz /caf%E9 /a,/b /a,b
""".split()


@pytest.mark.parametrize("sent", [*UNFIT_PREFIXES, "/a b", "/caf\xe9"])
def test_a_prefix_that_could_lead_elsewhere_is_400(sent: str):
    refused(f"prefix: {sent}")


@pytest.mark.parametrize(
    ("port", "scheme", "value"),
    [(0, "https", "a"), (443, "https", "a"), (80, "https", "a:80"), (80, "http", "a"), (8443, "", "a:8443")],
)
def test_a_host_value_has_the_port_that_does_not_go_without_saying(port: int, scheme: str, value: str):
    assert with_port("a", port, scheme) == value


# ── properties ──

NODES = (
    st.sampled_from(
        ["10.0.0.2", "10.0.0.3:80", "192.0.2.1", "198.51.100.1:9", "2001:db8:f::9", "unknown", ""]
    )
    | st.ip_addresses().map(str)
    | st.text("0123456789abcdef.:[]_ ", max_size=12)
)
GARBAGE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters=",\x7f"), max_size=20)
NAMES = st.sampled_from([name.encode() for name in ALL_HEADERS])
CONTENTS = st.one_of(
    st.binary(max_size=30),
    st.lists(NODES, max_size=4).map(lambda nodes: ", ".join(nodes).encode("latin-1")),
    st.sampled_from(
        [b"https", b"http", b"a.example", b"a.example:81", b"81", b"/p", b"for=10.0.0.2;proto=https"]
    ),
)
FIELDS = st.lists(st.tuples(NAMES, CONTENTS), max_size=6).map(tuple)
READERS = st.sampled_from([FAMILY, ("forwarded",), USUAL_HEADERS])
REJECTED = "rejected"


def verdict(reader: Forwarding, fields: Pairs) -> Forwarded | str | None:
    try:
        return read(reader, fields)
    except Rejected as rejected:
        assert rejected.status == 400
        return REJECTED


@given(READERS, FIELDS)
def test_nothing_but_a_refusal_is_raised_and_a_verdict_stays(headers: tuple[str, ...], fields: Pairs):
    reader = forwarding(*headers)

    first = verdict(reader, fields)
    assert verdict(reader, fields) == first == verdict(forwarding(*headers), fields)
    if isinstance(first, tuple):
        said = first[1]
        assert said.scheme in {"", "http", "https"}
        assert 0 <= said.port <= 65535
        assert not said.prefix or (said.prefix[0] == "/" and said.prefix[1:2] not in {"", "/", "\\"})
        assert (said.host + said.prefix).isprintable()


@given(READERS, FIELDS)
def test_several_lines_are_as_one_that_joins_them(headers: tuple[str, ...], fields: Pairs):
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        joined[name] = joined[name] + b"," + value if name in joined else value

    assert verdict(forwarding(*headers), fields) == verdict(forwarding(*headers), tuple(joined.items()))


@given(st.lists(GARBAGE, min_size=1), st.lists(NODES, max_size=3))
def test_what_a_client_writes_to_the_left_of_its_own_address_changes_nothing(left: list[str], own: list[str]):
    assume(not any(node.startswith(("10.", "2001:db8:f:")) for node in own))
    reader = forwarding()
    for proxied in (["192.0.2.1"], ["192.0.2.1", "10.0.0.2"], ["192.0.2.1:99", "10.0.0.2", "10.0.0.3:1"]):
        plain = said("for: " + ", ".join(proxied), "proto: https", reader=reader)
        spoofed = said("for: " + ",".join([*left, *own, *proxied]), "proto: https", reader=reader)
        apart = said(*(f"for: {one}" for one in [*left, *own, *proxied]), "proto: https", reader=reader)
        assert plain == spoofed == apart
        assert plain is not None
        assert plain[0] is not None
        assert plain[0][0] == "192.0.2.1"


@given(st.text("abc019.:;=_-, ", max_size=20))
def test_what_a_client_writes_into_forwarded_is_refused_or_changes_nothing(left: str):
    reader = forwarding("forwarded")
    for own in (
        "for=192.0.2.1;proto=https;host=a.example",
        'for="192.0.2.1:0";proto=https;host=a.example, for=10.0.0.2',
    ):
        found = verdict(reader, pairs("forwarded: " + left, "forwarded: " + own))
        assert found in (REJECTED, origin(("192.0.2.1", 0), "https", "a.example"))


@given(st.lists(st.tuples(NODES, st.sampled_from(["http", "https", "ftp", ""])), max_size=4))
def test_where_every_proxy_adds_both_the_scheme_is_never_the_client_s_choice(left: list[tuple[str, str]]):
    nodes = [*(node for node, _ in left), "192.0.2.1", "10.0.0.2"]
    protos = [*(proto for _, proto in left), "http", "https"]

    reported = said("for: " + ",".join(nodes), "proto: " + ",".join(protos))
    assert reported == origin(("192.0.2.1", 0), "http")


# ── what is remembered ──


def test_what_is_remembered_is_bounded_in_number_and_length():
    reader = forwarding()
    for number in range(3 * REMEMBERED):
        read(reader, pairs(f"for: 192.0.2.1, 192.0.{number >> 8}.{number & 255}"))
    long = pairs("for: " + "6.6.6.6, " * (LONGEST // 9 + 1) + "192.0.2.1")
    assert read(reader, long) == origin(("192.0.2.1", 0))

    assert 0 < len(reader._known) <= REMEMBERED
    assert not any("6.6.6.6, 6.6.6.6" in str(key) for key in reader._known)


def test_what_is_said_again_is_not_read_again(monkeypatch: pytest.MonkeyPatch):
    reader = forwarding()
    first = said("for: 192.0.2.1, 192.0.2.2", "proto: https", reader=reader)
    one = said("for: 192.0.2.1", "proto: https", reader=reader)
    assert said(reader=reader) is None
    monkeypatch.setattr("appserve.http.forwarded.walk", None)

    assert said("for: 192.0.2.1, 192.0.2.2", "proto: https", reader=reader) == first
    assert said("for: 192.0.2.1", "proto: https", reader=reader) == one
    assert said("for: 192.0.2.9", "proto: https", reader=reader) == origin(("192.0.2.9", 0), "https")
    assert said(reader=reader) is None

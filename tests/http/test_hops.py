import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.errors import Rejected
from appserve.http.forwarded import ForwardedElement, Node, TrustList, read_elements, read_node, walk

TRUST = TrustList(["10.0.0.0/8", "2001:db8::/32", "unix"])

# ── one entry ──


@pytest.mark.parametrize(
    ("node", "client"),
    [
        (b"192.0.2.1", ("192.0.2.1", 0)),
        (b"192.0.2.1:5678", ("192.0.2.1", 5678)),
        (b"192.0.2.1:65535", ("192.0.2.1", 65535)),
        (b"192.0.2.1:0", ("192.0.2.1", 0)),
        (b"192.0.2.1:_hidden", ("192.0.2.1", 0)),
        (b"2001:DB8:0::1", ("2001:db8::1", 0)),
        (b"2001:db8::1:5678", ("2001:db8::1:5678", 0)),
        (b"[2001:db8::1]", ("2001:db8::1", 0)),
        (b"[2001:db8::1]:5678", ("2001:db8::1", 5678)),
        (b"[2001:db8::1]:_x.y-z", ("2001:db8::1", 0)),
        (b"::ffff:192.0.2.1", ("192.0.2.1", 0)),
        (b"[::ffff:192.0.2.1]:5678", ("192.0.2.1", 5678)),
        (b"::", ("::", 0)),
        (b"", None),
        (b"unknown", None),
        (b"_hidden", None),
        (b"unix:", None),
        (b"a.example", None),
        (b"192.0.2", None),
        (b"192.0.2.01", None),
        (b"192.0.2.256", None),
        (b"192.0.2.1:", None),
        (b"192.0.2.1:65536", None),
        (b"192.0.2.1:123456", None),
        (b"192.0.2.1:http", None),
        (b"192.0.2.1:_", None),
        (b"[192.0.2.1]", None),
        (b"[192.0.2.1]:80", None),
        (b"[2001:db8::1]:", None),
        (b"[2001:db8::1", None),
        (b"[]", None),
        (b"fe80::1%eth0", None),
        (b"[fe80::1%25eth0]", None),
        (b"192.0.2.1 ", None),
        (b'"192.0.2.1"', None),
        (b"192.0.2.1\n", None),
        (b"192.0.2.1/32", None),
        (b"\xd9\xa1.1.1.1", None),
    ],
)
def test_an_entry_is_an_address_with_or_without_a_port_or_it_is_none(node: bytes, client: Node | None):
    assert read_node(node) == client


@given(st.binary())
def test_no_entry_raises(node: bytes):
    read_node(node)


@given(st.ip_addresses(), st.integers(0, 65535))
def test_every_address_is_read_back(address: object, port: int):
    text = str(address)
    bracketed = f"[{text}]" if ":" in text else text

    bare = read_node(text.encode())
    assert bare is not None
    assert bare[1] == 0
    assert read_node(f"{bracketed}:{port}".encode()) == (bare[0], port)


# ── the walk ──


@pytest.mark.parametrize(
    ("nodes", "ended"),
    [
        ("", (None, 0)),
        ("192.0.2.1", (("192.0.2.1", 0), 0)),
        ("192.0.2.1 10.0.0.2", (("192.0.2.1", 0), 0)),
        ("192.0.2.1:99 10.0.0.2:80 2001:db8::9", (("192.0.2.1", 99), 0)),
        ("6.6.6.6 192.0.2.1 10.0.0.2", (("192.0.2.1", 0), 1)),
        ("10.9.9.9 192.0.2.1", (("192.0.2.1", 0), 1)),
        ("10.0.0.3 10.0.0.2", (("10.0.0.3", 0), 0)),
        ("unknown", (None, 0)),
        ("192.0.2.1 unknown", (None, 1)),
        ("192.0.2.1 unknown 10.0.0.2:8", (("10.0.0.2", 8), 1)),
        ("192.0.2.1 _hidden 10.0.0.3 10.0.0.2", (("10.0.0.3", 0), 1)),
    ],
)
def test_the_walk_ends_at_the_first_hop_that_is_no_trusted_proxy(nodes: str, ended: tuple[Node | None, int]):
    assert walk([node.encode() for node in nodes.split()], TRUST) == ended


def test_an_empty_entry_is_no_peer_of_a_unix_socket():
    assert TRUST.trusts("")
    assert walk([b"192.0.2.1", b""], TRUST) == (None, 1)


def test_where_every_peer_is_trusted_the_leftmost_hop_is_the_client():
    all_of_them = TrustList(["*"])

    assert walk([b"6.6.6.6", b"192.0.2.1", b"10.0.0.2"], all_of_them) == (("6.6.6.6", 0), 0)
    assert walk([b"6.6.6.6", b"garbage", b"10.0.0.2"], all_of_them) == (("10.0.0.2", 0), 1)


NODES = (
    st.sampled_from([b"10.0.0.1", b"10.0.0.2:80", b"2001:db8::1", b"192.0.2.1", b"unknown", b""])
    | st.binary()
)


@given(st.lists(NODES), st.lists(NODES))
def test_what_stands_left_of_the_end_has_no_influence(left: list[bytes], right: list[bytes]):
    client, end = walk([*right], TRUST)
    last = read_node(right[end]) if right else ("10.0.0.1", 0)
    if last is None or not TRUST.trusts(last[0]):
        assert walk([*left, *right], TRUST) == (client, end + len(left))


@given(st.lists(NODES))
def test_all_hops_right_of_the_end_are_trusted_proxies(nodes: list[bytes]):
    client, end = walk(nodes, TRUST)

    passed = [read_node(node) for node in nodes[end + 1 :]]
    assert all(hop is not None and TRUST.trusts(hop[0]) for hop in passed)
    here = read_node(nodes[end]) if nodes else None
    assert client == (here or (passed[0] if passed else None))


# ── the elements of Forwarded ──


@pytest.mark.parametrize(
    ("value", "elements"),
    [
        # RFC 7239 §4, §5.2, §6, §7.1, §7.4
        (b'for="_gazonk"', [{b"for": b"_gazonk"}]),
        (b'For="[2001:db8:cafe::17]:4711"', [{b"for": b"[2001:db8:cafe::17]:4711"}]),
        (
            b"for=192.0.2.60;proto=http;by=203.0.113.43",
            [{b"for": b"192.0.2.60", b"proto": b"http", b"by": b"203.0.113.43"}],
        ),
        (b"for=192.0.2.43, for=198.51.100.17", [{b"for": b"192.0.2.43"}, {b"for": b"198.51.100.17"}]),
        (b"for=_hidden, for=_SEVKISEK", [{b"for": b"_hidden"}, {b"for": b"_SEVKISEK"}]),
        (b'for=192.0.2.43,for="[2001:db8:cafe::17]",for=unknown', [{b"for": b"192.0.2.43"}] * 1
         + [{b"for": b"[2001:db8:cafe::17]"}, {b"for": b"unknown"}]),
        # blanks, empty pairs and elements, names in any case
        (b"for=a ; proto=b\t,\thost=c", [{b"for": b"a", b"proto": b"b"}, {b"host": b"c"}]),
        (b"FOR=a;PrOtO=HTTPS", [{b"for": b"a", b"proto": b"HTTPS"}]),
        (b";for=a;;proto=b;", [{b"for": b"a", b"proto": b"b"}]),
        (b", ,for=a,,\tfor=b,", [{b"for": b"a"}, {b"for": b"b"}]),
        (b"", []),
        (b" , ; ,", []),
        # quoted strings
        (b'for="a,b;c=d"', [{b"for": b"a,b;c=d"}]),
        (rb'for="a\"b\\c\d"', [{b"for": rb'a"b\cd'}]),
        (b'for=""', [{b"for": b""}]),
        (b'host="b\xfccher.example"', [{b"host": b"b\xfccher.example"}]),
        # parameters of others
        (b"for=a;secret=x;for2=b", [{b"for": b"a", b"secret": b"x", b"for2": b"b"}]),
    ],
)  # fmt: skip
def test_elements_are_read_as_the_grammar_says(value: bytes, elements: list[ForwardedElement]):
    assert read_elements(value) == elements


@pytest.mark.parametrize(
    "value",
    [
        b"for",
        b"for=",
        b"=a",
        b"for =a",
        b"for= a",
        b"for=a b",
        b"for=a proto=b",
        b"for=[::1]",
        b"for=192.0.2.1:80",
        b"f\xf6r=a",
        b"for=\xf6",
        b'for="a',
        b'for="a\\"',
        b'for="a"b',
        b'for="a""b"',
        b'for=a"b"',
        b"for=a/b",
        b"192.0.2.1",
        b"for=a;192.0.2.1",
        b"for=a, 192.0.2.1",
        b"for=a;for=b",
        b"for=a;FOR=a",
        b"for=a, for=b;x=1;x=1",
    ],
)
def test_what_is_not_in_the_grammar_is_400(value: bytes):
    with pytest.raises(Rejected) as caught:
        read_elements(value)
    assert caught.value.status == 400


@pytest.mark.parametrize("left", [b'for="', b'for="6.6.6.6', b'for=6.6.6.6;x="', b'for="\\', b'for="",x="'])
@pytest.mark.parametrize(
    "own",
    [b"for=192.0.2.1", b'for="[2001:db8::1]:80"', b'for=192.0.2.1;host="a.example:80"', b'for="";by=""'],
)
def test_a_quote_that_a_client_leaves_open_hides_nothing_of_what_the_proxy_adds(left: bytes, own: bytes):
    with pytest.raises(Rejected):
        read_elements(left + b", " + own)


@given(st.binary() | st.text('for=;, "\\a1.[]:\t').map(str.encode))
def test_nothing_but_a_refusal_is_raised(value: bytes):
    try:
        elements = read_elements(value)
    except Rejected as rejected:
        assert rejected.status == 400
    else:
        assert all(element and all(name == name.lower() for name in element) for element in elements)


TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1).map(str.encode)
VALUES = st.binary(max_size=20)


def quoted(value: bytes) -> bytes:
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


@given(st.lists(st.dictionaries(TOKENS.map(bytes.lower), VALUES, min_size=1)))
def test_what_is_written_by_the_grammar_is_read_back(elements: list[ForwardedElement]):
    value = b", ".join(b";".join(n + b"=" + quoted(v) for n, v in element.items()) for element in elements)

    assert read_elements(value) == elements

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.http.cache import REMEMBERED
from appserve.http.forwarded import LONGEST_HOST, TrustList, read_address

ADDRESSES = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("entry", "trusted", "others"),
    [
        ("10.0.0.7", ["10.0.0.7", "::ffff:10.0.0.7", "::FFFF:0a00:0007"], ["10.0.0.8", "10.0.0.70", ""]),
        ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["9.255.255.255", "11.0.0.0"]),
        ("10.0.0.7/32", ["10.0.0.7"], ["10.0.0.6", "10.0.0.8"]),
        ("0.0.0.0/0", ["10.0.0.7", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "2001:db8::1", ""]),
        (
            "::1",
            ["::1", "0:0::1", "0000:0000:0000:0000:0000:0000:0000:0001"],
            ["::2", "127.0.0.1", "0.0.0.1"],
        ),
        ("2001:DB8:0::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::1"], ["2001:db9::1", "32.1.13.184"]),
        ("::/0", ["::1", "2001:db8::1", "fe80::1%eth0"], ["10.0.0.7", "::ffff:10.0.0.7", ""]),
        ("::ffff:10.0.0.7", ["10.0.0.7", "::ffff:10.0.0.7"], ["10.0.0.8", "::10.0.0.7"]),
        ("::ffff:10.0.0.0/104", ["10.0.0.7", "::ffff:10.9.9.9"], ["11.0.0.7", "::ffff:11.0.0.7"]),
        ("::ffff:0:0/96", ["10.0.0.7", "::ffff:10.9.9.9"], ["::1"]),
        ("fe80::1", ["fe80::1", "fe80::1%eth0", "fe80::1%2"], ["fe80::2%eth0"]),
        ("fe80::1%eth0", ["fe80::1%eth0", "fe80:0::1%eth0"], ["fe80::1", "fe80::1%eth1", "fe80::1%eth00"]),
        ("fe80::/10", ["fe80::1%eth0", "fe80::1"], ["fec0::1"]),
        ("unix", [""], ["unix", "127.0.0.1", "::1", " ", "/run/a.sock"]),
        ("*", ["", "10.0.0.7", "::1", "unix", "a socket of another kind"], []),
    ],
)
def test_an_entry_trusts_what_it_names_and_nothing_else(entry: str, trusted: list[str], others: list[str]):
    trust = TrustList([entry])

    assert [host for host in trusted if not trust.trusts(host)] == []
    assert [host for host in others if trust.trusts(host)] == []


def test_each_entry_of_a_list_counts():
    trust = TrustList(["10.0.0.7", "192.0.2.0/24", "unix"])

    assert [trust.trusts(host) for host in ("10.0.0.7", "192.0.2.9", "", "::1")] == [True, True, True, False]


def test_an_empty_list_trusts_no_peer():
    trust = TrustList([])

    assert not trust.every_peer
    assert [trust.trusts(host) for host in ("", "127.0.0.1", "::1", "*")] == [False] * 4


def test_only_the_star_trusts_every_peer():
    assert TrustList(["10.0.0.7", "*"]).every_peer
    assert not TrustList(["0.0.0.0/0", "::/0", "unix"]).every_peer


NO_ADDRESS = """
localhost 10.0.0 10.0.0.256 10.0.0.07 10.0.0.7:80 10.0.* [::1] ::: 167772167 127.0.0.1,::1  unknown
1.2.3.4%eth0 ::ffff:1.2.3.4%a fe80::1% fe80::1%a%b %eth0 %
""".split()
NO_NETWORK = """
10.0.0.0/33 ::/129 10.0.0.0/ /8 10/8 10.0.0.0/255.0.0.0 10.0.0.0/0.255.255.255 fe80::%eth0/10 fe80::/10%eth0
10.0.0.0/8/8 10.0.0.0/-8 10.0.0.0/+8 10.0.0.0/a a.example/8 unix/8
""".split()


@pytest.mark.parametrize(
    "entry",
    ["", " ", " 10.0.0.7", "UNIX", "unix:/run/a.sock", "**", "\u0661.1.1.1", *NO_ADDRESS, *NO_NETWORK],
)
def test_the_error_of_a_wrong_entry_says_what_was_expected(entry: str):
    with pytest.raises(ValueError, match=r"^expected an address such as 10\.0\.0\.7 or ::1, a network"):
        TrustList(["10.0.0.7", entry])


@pytest.mark.parametrize(
    ("entry", "network"),
    [
        ("10.0.0.7/8", "10.0.0.0/8"),
        ("10.0.0.1/24", "10.0.0.0/24"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:10.0.0.7/104", "10.0.0.0/8"),
    ],
)
def test_the_error_of_a_network_with_host_bits_names_the_network(entry: str, network: str):
    with pytest.raises(
        ValueError, match=f"^expected an address or a network: a host of {network} is neither$"
    ):
        TrustList([entry])


@pytest.mark.parametrize("text", [*NO_ADDRESS, *NO_NETWORK])
def test_a_peer_without_an_address_is_in_no_network(text: str):
    assert not TrustList(["0.0.0.0/0", "::/0", "unix"]).trusts(text)


@given(st.text("0123456789abcdef.:%/ unix*\0é", max_size=20))
def test_no_text_raises_and_only_addresses_are_trusted(text: str):
    if TrustList(["0.0.0.0/0", "::/0"]).trusts(text):
        assert read_address(text.partition("%")[0])


@given(ADDRESSES, ADDRESSES)
def test_an_address_trusts_only_itself(mine: str, other: str):
    assert TrustList([mine]).trusts(mine)
    assert TrustList([mine]).trusts(other) is (read_address(mine) == read_address(other))


@given(st.lists(ADDRESSES), ADDRESSES)
def test_a_verdict_does_not_depend_on_earlier_calls(before: list[str], host: str):
    entries = ["0.0.0.0/1", "8000::/1"]
    asked = TrustList(entries)
    for one in before:
        asked.trusts(one)

    assert asked.trusts(host) is asked.trusts(host) is TrustList(entries).trusts(host)


def test_the_verdicts_that_are_remembered_are_bounded_in_number_and_length():
    trust = TrustList(["10.0.0.0/8"])
    for number in range(3 * REMEMBERED):
        trust.trusts(f"10.0.{number >> 8}.{number & 255}")
    trust.trusts("x" * (LONGEST_HOST + 1))

    assert 0 < len(trust._verdicts) <= REMEMBERED
    assert max(map(len, trust._verdicts)) <= LONGEST_HOST


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:a00:7", "10.0.0.7"),
        ("::", "::"),
        ("64:ff9b::10.0.0.7", "64:ff9b::a00:7"),
        ("", ""),
        ("10.0.0.7 ", ""),
        ("fe80::1%eth0", ""),
        *((text, "") for text in NO_ADDRESS),
    ],
)
def test_an_address_is_read_into_its_usual_form(text: str, address: str):
    assert read_address(text) == address

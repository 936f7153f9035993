import pytest

from appserve.errors import Rejected
from appserve.http.messages import CHUNKED, Limits, Rules
from appserve.http.policy import read_rules
from appserve.http.request_line import read_request_line
from tests.http.plain import plain_fields

LINES = {version: read_request_line(f"GET / HTTP/{version}".encode()) for version in ("1.0", "1.1")}


def rules(*lines: str, version: str = "1.1", body: int = 1 << 30) -> Rules:
    fields = plain_fields()
    specials = [fields.read_field(line.encode("latin-1"))[2] for line in lines]
    return read_rules(LINES[version], [special for special in specials if special], Limits(body=body))


def refusal(*lines: str, version: str = "1.1", body: int = 1 << 30) -> int:
    with pytest.raises(Rejected) as caught:
        rules(*lines, version=version, body=body)
    return caught.value.status


HOST = "Host: a.example"


def test_without_options_the_version_decides_whether_the_connection_goes_on():
    assert Rules("1.1", False, False, 0, False, b"", True) == rules(HOST)
    assert Rules("1.0", True, True, 0, False, b"", True) == rules(version="1.0")


@pytest.mark.parametrize(
    ("version", "options", "keep_alive"),
    [
        ("1.1", ["close"], False),
        ("1.1", ["CLOSE"], False),
        ("1.1", ["foo, close"], False),
        ("1.1", ["foo,close ,bar"], False),
        ("1.1", ["foo", "close"], False),
        ("1.1", ["closed"], True),
        ("1.1", ["keep-alive"], True),
        ("1.1", ["keep-alive, close"], False),
        ("1.0", ["keep-alive"], True),
        ("1.0", ["Keep-Alive"], True),
        ("1.0", ["keep-alive", "close"], False),
        ("1.0", ["foo"], False),
        ("1.1", [""], True),
    ],
)
def test_connection_options(version: str, options: list[str], keep_alive: bool):
    lines = [f"Connection: {option}" for option in options]

    assert keep_alive != rules(HOST, *lines, version=version).closes


@pytest.mark.parametrize("hosts", [[], ["a", "a"], ["a", "b"], [""], [":80"], ["a/b"], ["a, b"], ["a b"]])
def test_hosts_that_say_nothing_or_two_things_are_400(hosts: list[str]):
    assert refusal(*(f"Host: {host}" for host in hosts)) == 400


def test_http_1_0_needs_no_host_and_may_have_one():
    assert rules(version="1.0") == rules(HOST, version="1.0")
    assert refusal(HOST, HOST, version="1.0") == 400


@pytest.mark.parametrize(
    ("length", "expected"),
    [("0", 0), ("5", 5), ("005", 5), ("0" * 40 + "7", 7), ("1073741824", 1 << 30)],
)
def test_a_length(length: str, expected: int):
    assert expected == rules(HOST, f"Content-Length: {length}").body_length
    assert expected == rules(f"Content-Length: {length}", version="1.0").body_length


@pytest.mark.parametrize(
    "length", ["", "+5", "-5", "5,5", "5, 5", "5 5", "0x5", "5.0", "\u0665", "1" * 19, "9" * 5000]
)
def test_a_length_that_is_no_number_is_400(length: str):
    assert refusal(HOST, "Content-Length: " + length.encode().decode("latin-1")) == 400


def test_two_lengths_are_400_even_if_they_are_equal():
    assert refusal(HOST, "Content-Length: 5", "Content-Length: 5") == 400


def test_a_body_over_the_limit_is_413_and_0_is_no_limit():
    assert rules(HOST, "Content-Length: 10", body=10).body_length == 10
    assert refusal(HOST, "Content-Length: 11", body=10) == 413
    assert rules(HOST, f"Content-Length: {10**17}", body=0).body_length == 10**17


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
def test_chunked(coding: str):
    assert rules(HOST, f"Transfer-Encoding: {coding}").body_length == CHUNKED


@pytest.mark.parametrize(
    ("codings", "status"),
    [
        (["gzip, chunked"], 501),
        (["gzip", "chunked"], 501),
        (["x-gzip,chunked"], 501),
        (["gzip"], 400),
        (["chunked, gzip"], 400),
        (["chunked, chunked"], 400),
        (["chunked", "chunked"], 400),
        (["identity"], 400),
        (["identity, chunked"], 400),
        (["\x0bchunked".replace("\x0b", "'") + "'"], 400),
        ([""], 400),
        ([",chunked"], 400),
        (["chunked;a=b"], 400),
        (["xchunked"], 400),
    ],
)
def test_other_codings_are_refused(codings: list[str], status: int):
    assert status == refusal(HOST, *(f"Transfer-Encoding: {coding}" for coding in codings))


def test_a_coding_beside_a_length_and_in_http_1_0_is_400():
    assert refusal(HOST, "Transfer-Encoding: chunked", "Content-Length: 5") == 400
    assert refusal("Transfer-Encoding: chunked", version="1.0") == 400


def test_an_expectation_matters_where_a_body_follows():
    expects = "Expect: 100-Continue"

    assert rules(HOST, expects, "Content-Length: 5").expects_continue
    assert rules(HOST, expects, "Transfer-Encoding: chunked").expects_continue
    assert not rules(HOST, expects).expects_continue
    assert not rules(HOST, expects, "Content-Length: 0").expects_continue
    assert not rules(expects, "Content-Length: 5", version="1.0").expects_continue


@pytest.mark.parametrize("lines", [["Expect: , 100-continue,"], ["Expect: 100-continue"] * 2])
def test_expectations_are_a_list(lines: list[str]):
    assert rules(HOST, *lines, "Content-Length: 5").expects_continue


def test_an_empty_list_expects_nothing():
    assert not rules(HOST, "Expect:", "Expect: ,", "Content-Length: 5").expects_continue


@pytest.mark.parametrize(
    "lines", [["Expect: tea"], ["Expect: 100-continue, tea"], ["Expect: 100-continue", "Expect: tea"]]
)
def test_other_expectations_are_417(lines: list[str]):
    assert refusal(HOST, *lines) == 417
    assert not rules(*lines, version="1.0").expects_continue


def test_an_upgrade_is_an_offer_only_where_the_connection_names_it():
    assert rules(HOST, "Connection: Upgrade", "Upgrade: h2c").upgrade == b"h2c"
    assert (
        rules(HOST, "Connection: upgrade", "Upgrade: h2c", "Upgrade: websocket").upgrade == b"h2c, websocket"
    )
    assert rules(HOST, "Upgrade: h2c").upgrade == b""
    assert rules(HOST, "Connection: upgrade").upgrade == b""
    assert rules("Connection: upgrade", "Upgrade: h2c", version="1.0").upgrade == b""


def test_names_with_an_underscore_mean_nothing():
    with_them = rules(HOST, "Content_Length: 5", "Transfer_Encoding: chunked")

    assert rules(HOST)._replace(may_be_held=False) == with_them

import pytest

from appserve.http.request_line import is_valid_authority


@pytest.mark.parametrize(
    "value",
    [
        *("a", "a.example", "A.EXAMPLE:8000", "127.0.0.1", "127.0.0.1:", "a:0", "a:65535", "a_b", "a%20b"),
        *("[::1]", "[::1]:80", "[2001:db8::1.2.3.4]", "[v1.a:b]", "", ":80", "a!$&'()*+;=~-"),
    ],
)
def test_hosts_with_and_without_ports_are_valid(value: str):
    assert is_valid_authority(value.encode())


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a b",
            "a/b",
            "a?b",
            "a#b",
            "a@b",
            "user:pw@a",
            "a:b",
            "a:1:2",
            "a:65536",
            "a:000080",
            "a:-1",
            "a\\b",
        ),
        *(
            "[::1",
            "::1",
            "[::1]a",
            "[g]",
            "[]",
            "[::1%25eth0]",
            "[v1]",
            "[192.0.2.1]",
            "[1:2]",
            "[:::]",
            "[::1::2]",
            "[::12345]",
            "[...]",
            "a%2",
            "a%zz",
            "a\x00",
            "\xe4",
            "a,b:1,2",
        ),
    ],
)
def test_what_could_hide_something_is_not(value: str):
    assert not is_valid_authority(value.encode("latin-1"))

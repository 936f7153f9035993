import pytest

from appserve.net.address import TcpAddress, UnixAddress, parse_bind, show_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8000", TcpAddress("127.0.0.1", 8000)),
        (" 127.0.0.1:80 ", TcpAddress("127.0.0.1", 80)),
        ("127.0.0.1", TcpAddress("127.0.0.1", 8000)),
        ("0.0.0.0:0", TcpAddress("0.0.0.0", 0)),
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("app.example.org", TcpAddress("app.example.org", 8000)),
        (":8000", TcpAddress("", 8000)),
        ("[::1]:8080", TcpAddress("::1", 8080)),
        ("[::]", TcpAddress("::", 8000)),
        ("[fe80::1%eth0]:80", TcpAddress("fe80::1%eth0", 80)),
        ("unix:/run/app.sock", UnixAddress("/run/app.sock")),
        ("unix:app.sock", UnixAddress("app.sock")),
        ("unix:///run/app.sock", UnixAddress("///run/app.sock")),
        ("unix:/a dir/app:1.sock", UnixAddress("/a dir/app:1.sock")),
    ],
)
def test_an_address_is_read_as_it_is_written(text: str, expected: TcpAddress | UnixAddress) -> None:
    assert expected == parse_bind(text)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "expected an address"),
        ("   ", "expected an address"),
        ("8000", 'a port alone is written ":8000"'),
        ("127.0.0.1:", "expected a port"),
        ("127.0.0.1:65536", 'not "65536"'),
        ("127.0.0.1:-1", 'not "-1"'),
        ("127.0.0.1:http", 'not "http"'),
        ("127.0.0.1:٨٠", "expected a port"),
        ("127.0.0.1:000080", "expected a port"),
        ("::1:8000", 'written in brackets, as in "[::1:8000]:8000"'),
        ("::1", 'as in "[::1]:8000"'),
        ("a:b:80", "one colon"),
        ("[::1", "brackets"),
        ("[::1]80", "brackets"),
        ("[localhost]:80", "brackets"),
        ("[::1]:", "expected a port"),
        ("http://127.0.0.1:8000", "without a scheme"),
        ("tcp://10.0.0.1:80", "without a scheme"),
        ("fd://x", "expected the number of a descriptor"),
        ("/run/app.sock", '"unix:/run/app.sock"'),
        ("./app.sock", '"unix:./app.sock"'),
        ("unix:", "expected a path"),
        ("unix:@name", "abstract"),
        ("unix:a\0b", "NUL"),
        ("a b:80", "a space"),
        ("a\x1b[31m:80", r"a\x1b[31m"),
    ],
)
def test_a_mistake_is_answered_with_what_to_write(text: str, reported: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_bind(text)
    message = str(caught.value)
    assert reported in message
    assert message.isprintable()


def test_an_address_reads_back_as_itself() -> None:
    for text in ("127.0.0.1:8000", "[::1]:80", ":81", "unix:/run/a.sock"):
        assert text == str(parse_bind(text))


def test_a_bound_address_is_shown_as_a_url() -> None:
    assert show_address(("127.0.0.1", 8000)) == "http://127.0.0.1:8000"
    assert show_address(("::1", 8000, 0, 0)) == "http://[::1]:8000"
    assert show_address(("::", 443, 0, 0), "https") == "https://[::]:443"
    assert show_address("/run/a.sock") == "unix:/run/a.sock"
    assert show_address(b"\0name") == "unix:@name"

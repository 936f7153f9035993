import gc
from contextlib import suppress
from typing import Any

import pytest

from appserve.asgi.scope import AsgiFields
from appserve.errors import AppMistake, Rejected
from appserve.http.cache import REMEMBERED
from appserve.http.fields import LONGEST, LONGEST_NAME, LONGEST_VALUE, SECRET, Fields, Meaning
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Limits, RequestHead
from appserve.http.policy import FieldKind
from appserve.http.request_line import read_request_line
from appserve.wsgi.environ import CgiFields
from tests.http.plain import DATE_FIELDS, GET, after, connect, head_bytes, only_head, plain_fields

HOST = (FieldKind.HOST.value, b"a.example")
LINE = read_request_line(b"GET / HTTP/1.1")
USUAL = b"Host: a.example\r\nAccept: */*\r\nContent-Length: 5\r\nX-Id: 7"


def read(
    fields: Fields[Any, Any], block: bytes, line: bytes = b"GET / HTTP/1.1", limits: Limits | None = None
) -> Any:
    """What a block of fields means to a connection that reads with `fields` and asks llhttp, or why it is
    refused."""
    connection: Http1Connection[Any, Any] = Http1Connection(limits or Limits(), fields, DATE_FIELDS)
    connection.receive_data(b"\r\n".join((line, block)).removesuffix(b"\r\n") + b"\r\n\r\n")
    try:
        head = connection.next_event()
    except Rejected as rejected:
        return rejected.status, rejected.reason
    assert isinstance(head, RequestHead)
    return head.fields, head.values, head.rules


# ── request fields ──


@pytest.mark.parametrize("line", [b"X-A: b", b"x-a:b", b"X-A:  \tb \t", b"X-a: b"])
def test_names_are_in_lower_case_and_values_without_outer_blanks(line: bytes):
    assert plain_fields().read_field(line) == (b"x-a", b"b", None)


def test_a_value_may_have_inner_blanks_colons_and_bytes_of_any_text():
    assert plain_fields().read_field(b"X: a:b  c\t\xe4\xff") == (b"x", b"a:b  c\t\xe4\xff", None)


@pytest.mark.parametrize(
    "line",
    [b"X", b"", b": a", b"X : a", b"X\t: a", b" X: a", b"(X): a", b"X\xe4: a"]
    + [b"X: a%cb" % byte for byte in (0, 1, 8, 10, 11, 13, 31, 127)],
)
@pytest.mark.parametrize("kind", [AsgiFields, CgiFields])
def test_what_is_not_in_the_grammar_is_400_whether_the_names_are_known_or_not(
    line: bytes, kind: type[Fields[Any, Any]]
):
    fields = kind()
    assert len(read(fields, b"Host: a.example\r\nX: a")) == 3

    for _ in range(2):
        with pytest.raises(Rejected) as caught:
            fields.read_field(line)
        assert caught.value.status == 400
        if line:  # else it ends the head
            assert read(fields, b"Host: a.example\r\n" + line)[0] == 400
            assert read(fields, line + b"\r\nHost: a.example")[0] == 400


@pytest.mark.parametrize("start", range(0, 70, 7))
@pytest.mark.parametrize("kind", [AsgiFields, CgiFields])
def test_a_forbidden_byte_is_met_wherever_it_stands_in_a_known_field(
    start: int, kind: type[Fields[Any, Any]]
):
    """llhttp alone judges the bytes of a head whose names are known; it looks at 16 or 32 at once."""
    fields = kind()
    assert len(read(fields, USUAL)) == 3

    for byte in range(256):
        value = b"v" * start + bytes((byte,)) + b"v" * (70 - start)
        found = read(fields, b"Host: a.example\r\nX-Id: " + value)
        assert (found[0] != 400) == (byte == 9 or (byte >= 32 and byte != 127)), byte
    for pair in (b"\r\r", b"\n\n", b"\n\r", b"\r\0", b"\r\n ", b"\r\n\t", b"\r\n:", b"\r\n\r"):
        assert read(fields, b"Host: a.example\r\nX-Id: " + b"v" * start + pair + b"v")[0] == 400, pair


@pytest.mark.parametrize("start", range(0, 70, 7))
def test_a_forbidden_byte_is_met_wherever_it_stands_in_a_query(start: int):
    fields = AsgiFields()
    assert len(read(fields, USUAL, b"GET /path?a HTTP/1.1")) == 3

    for byte in range(256):
        query = b"q" * start + bytes((byte,)) + b"q" * (70 - start)
        found = read(fields, USUAL, b"GET /path?" + query + b" HTTP/1.1")
        assert (found[0] != 400) == (0x21 <= byte <= 0x7E and byte != 0x23), byte


@pytest.mark.parametrize(
    ("line", "special"),
    [
        (b"Host: a.example", HOST),
        (b"HOST:a.example", HOST),
        (b"Connection: close", (FieldKind.CONNECTION.value, b"close")),
        (b"Content-Length: 5", (FieldKind.CONTENT_LENGTH.value, b"5")),
        (b"Transfer-Encoding: chunked", (FieldKind.TRANSFER_ENCODING.value, b"chunked")),
        (b"Expect: 100-continue", (FieldKind.EXPECT.value, b"100-continue")),
        (b"Upgrade: h2c", (FieldKind.UPGRADE.value, b"h2c")),
        (b"X_Forwarded_For: 1.2.3.4", (FieldKind.DROPPED.value, b"")),
        (b"Accept: */*", None),
    ],
)
def test_a_field_that_concerns_the_connection_says_so(line: bytes, special: tuple[int, bytes] | None):
    fields = plain_fields()

    assert fields.read_field(line)[2] == special
    assert fields.read_field(line)[2] == special


BLOCKS = [
    b"",
    b"Host: a.example",
    USUAL,
    b"host: a.example\r\naccept: */*",
    b"Host:a.example",
    b"Host: a.example\r\nX-Id:  b \t\r\nX-Empty: \r\nX-None:",
    b"Host: a.example\r\nX-Id: \xa0a\x85",
    b"Host: a.example\r\nX-Id: a: b\r\nX-Id: c",
    b"Host: a.example\r\nCookie: a=b\r\nX-Id: 1\r\nCookie: c=d",
    b"Host: a.example\r\nhost: a.example",
    b"Host: a.example\r\nHost: b.example",
    b"Host: a.example, b.example",
    b"Host: ",
    b"Accept: */*",
    *(
        b"Host: a.example\r\nConnection: " + value
        for value in (b"close", b"keep-alive", b"Close, x", b"upgrade", b"host")
    ),
    *(
        b"Host: a.example\r\nContent-Length: " + value
        for value in (b"0", b"7", b"007", b"11", b"+5", b"5,5", b"0x5", b"5" * 16, b"", b"\xb2", b"5 5")
    ),
    b"Host: a.example\r\nContent-Length: 5\r\nContent-Length: 5",
    b"Host: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
    b"Host: a.example\r\nTransfer-Encoding: chunked",
    b"Host: a.example\r\nExpect: 100-continue\r\nContent-Length: 5",
    b"Host: a.example\r\nUpgrade: h2c\r\nConnection: upgrade",
    b"Host: a.example\r\nX_Y: 1\r\nContent_Length: 5",
    b"Host: a.example\r\nX-Id: " + b"a" * 94,
    b"Host: a.example\r\nX-Id: " + b"a" * 95,
    b"Host: a.example" + b"\r\nX-Id: a" * 7,
    b"Host: a.example" + b"".join(b"\r\nX-%d: a" % number for number in range(8)),
    b"Host: a.example\nX-Id: a",
    b"Host: a.example\r\nX-Id: a\rb",
    b"Host: a.example\r\n X-Id: a",
]
"""They meet a limit of 10 bytes of body, 100 bytes a line and 8 lines."""


@pytest.mark.parametrize(
    "line", [b"GET / HTTP/1.1", b"POST / HTTP/1.0", b"TRACE / HTTP/1.1", b"GET http://b.example/ HTTP/1.1"]
)
@pytest.mark.parametrize("kind", [AsgiFields, CgiFields])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_means_the_same_whether_its_names_were_seen_before(
    block: bytes, kind: type[Fields[Any, Any]], line: bytes
):
    limits = Limits(body=10, field_size=100, fields=8)
    fields = kind()
    for other in BLOCKS:
        read(fields, other)
        read(fields, other, b"POST / HTTP/1.0")
    first = read(kind(), block, line, limits)
    plain = kind()
    plain.names = NeverKnown()

    assert [read(fields, block, line, limits), read(fields, block, line, limits)] == [first, first]
    assert read(plain, block, line, limits) == first


class NeverKnown(dict[Any, Any]):
    def __missing__(self, name: object) -> Any:
        raise KeyError(name)

    def __setitem__(self, name: object, form: object) -> None:
        pass


def test_lines_of_one_name_are_one_list_and_cookies_are_joined_as_cookies():
    block = b"Host: a\r\nX: 1\r\nCookie: a=b\r\nX: 2\r\nCookie: c=d"

    variables, values, _ = read(CgiFields(), block)
    headers, by_name, _ = read(AsgiFields(), block)

    assert variables == values == {"HTTP_HOST": "a", "HTTP_X": "1,2", "HTTP_COOKIE": "a=b; c=d"}
    assert by_name == {b"host": b"a", b"x": b"1,2", b"cookie": b"a=b; c=d"}
    assert headers == [(b"host", b"a"), (b"x", b"1"), (b"cookie", b"a=b"), (b"x", b"2"), (b"cookie", b"c=d")]


# ── what is remembered ──


def test_of_a_request_s_fields_only_names_and_the_values_of_host_and_connection_are_kept():
    fields = plain_fields()
    for _ in range(2):
        read(
            fields,
            b"Host: a.example\r\nCookie: secret1\r\nAuthorization: secret2\r\nX-Id: secret3"
            b"\r\nContent-Length: 5",
        )

    kept = repr(gc.get_referents(fields))
    assert b"a.example".decode() in kept
    assert "secret" not in kept


@pytest.mark.parametrize(
    "name", [b"Transfer-Encoding", b"Expect", b"Upgrade", b"X_Y", b"X" * (LONGEST_NAME + 1)]
)
def test_a_name_that_needs_every_rule_is_not_remembered(name: bytes):
    fields = plain_fields()
    read(fields, b"Host: a.example\r\n" + name + b": chunked")

    assert list(fields.names) == [b"Host"]


def test_a_long_host_is_validated_each_time():
    fields = plain_fields()
    for length in (LONGEST_VALUE, LONGEST_VALUE + 1):
        for _ in range(2):
            assert len(read(fields, b"Host: " + b"a" * length)) == 3

    assert [len(host) for _, host, _ in fields._rules] == [LONGEST_VALUE]


def test_every_memory_is_bounded():
    fields = plain_fields()
    for number in range(3 * REMEMBERED):
        read(fields, b"Host: a%d\r\nX-%d: a\r\nContent-Length: %d" % (number, number, number))
        read(fields, b"Host: a%d\r\nX-%d: a\r\nContent-Length: %d" % (number, number, number))
        fields.write_field((b"x", b"%d" % number))
        line = b"GET /%d HTTP/1.1" % number
        fields.remember_request_line(line, read_request_line(line))
        fields.read_request_line(b"GET /%d?a HTTP/1.1" % number)

    for memory in (
        fields.names,
        fields._rules,
        fields._bodies,
        fields.written,
        fields.request_lines,
        fields._paths,
    ):
        assert 0 < len(memory) <= REMEMBERED


@pytest.mark.parametrize(
    ("line", "is_kept"),
    [
        (b"GET /a HTTP/1.1", True),
        (b"GET /a HTTP/1.0", True),
        (b"OPTIONS * HTTP/1.1", True),
        (b"GET /a? HTTP/1.1", True),
        (b"GET /a?token=secret HTTP/1.1", False),
        (b"GET http://a.example/ HTTP/1.1", False),
        (b"GET /a HTTP/1.2", False),
        (b"GET /" + b"a" * (LONGEST - 14) + b" HTTP/1.1", True),
        (b"GET /" + b"a" * (LONGEST - 13) + b" HTTP/1.1", False),
    ],
)
def test_request_lines_that_seldom_repeat_or_are_translated_are_not_remembered(line: bytes, is_kept: bool):
    fields = plain_fields()
    fields.remember_request_line(line, read_request_line(line))

    assert list(fields.request_lines) == ([line] if is_kept else [])


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a?x=1 HTTP/1.1",
        b"GET /a? HTTP/1.1",
        b"GET /a?b?c HTTP/1.1",
        b"GET /a%20b?x=%zz HTTP/1.1",
        b"GET /\xc3\xa4?x HTTP/1.1",
        b"GET /%C3%A4?x HTTP/1.1",
        b"GET /a?x HTTP/1.0",
        b"GET /a?x HTTP/1.2",
        b"GET /a?x HTTP/2.0",
        b"GET /a?x#y HTTP/1.1",
        b"GET /a?x y HTTP/1.1",
        b"GET /a?x\x00 HTTP/1.1",
        b"GET /a?\xff HTTP/1.1",
        b"GET /a?x  HTTP/1.1",
        b"GET /a?x HTTP/1.1 HTTP/1.1",
        b"GET /a?x",
        b"get /a?x HTTP/1.1",
        b"OPTIONS *?x HTTP/1.1",
        b"GET http://a.example?x HTTP/1.1",
        b"GET http://a.example/b?x HTTP/1.1",
        b"GET /a HTTP/1.1",
    ],
)
def test_a_request_line_means_the_same_whether_its_path_was_seen_before(line: bytes):
    def read_line(fields: Fields[Any, Any], line: bytes) -> object:
        try:
            found = fields.read_request_line(line)
        except Rejected as rejected:
            return rejected.status, rejected.reason
        names = ("method", "target", "version", "protocol", "raw_path", "path_bytes", "path", "query")
        return [getattr(found, name) for name in (*names, "authority", "label")]

    fields = plain_fields()
    for other in (b"", b"?other"):
        with suppress(Rejected):
            fields.read_request_line(line.partition(b"?")[0] + other + b" HTTP/1.1")

    first = read_line(plain_fields(), line)
    assert [read_line(fields, line), read_line(fields, line)] == [first, first]


def test_a_refusal_is_not_remembered():
    fields = plain_fields()
    for _ in range(2):
        assert read(fields, b"Accept: */*")[0] == 400
        assert read(fields, b"Host: a b")[0] == 400

    assert not fields._rules


# ── response fields ──


def test_a_response_field_is_a_line():
    assert plain_fields().write_field((b"X-A", b" b ")) == (b"X-A: b\r\n", None)
    assert plain_fields().write_field((b"X", b"")) == (b"X: \r\n", None)


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b"\xe4", b"a\x00"])
def test_a_name_that_is_no_token_is_the_applications_mistake(name: bytes):
    with pytest.raises(AppMistake, match="not a token"):
        plain_fields().write_field((name, b"a"))


@pytest.mark.parametrize("byte", [0, 1, 8, 10, 11, 13, 31, 127])
def test_a_control_character_in_a_value_is_the_applications_mistake(byte: int):
    with pytest.raises(AppMistake, match="control character"):
        plain_fields().write_field((b"x", b"a%cb" % byte))


@pytest.mark.parametrize(
    ("field", "note"),
    [
        ((b"Content-Length", b"5"), (Meaning.LENGTH.value, 5)),
        ((b"content-length", b" 007 "), (Meaning.LENGTH.value, 7)),
        ((b"Connection", b"close"), (Meaning.CONNECTION.value, 1)),
        ((b"Connection", b"keep-alive, Close"), (Meaning.CONNECTION.value, 1)),
        ((b"Connection", b"keep-alive"), (Meaning.CONNECTION.value, 0)),
        ((b"Date", b"a"), (Meaning.DATE.value, 0)),
        ((b"Server", b"a"), (Meaning.SERVER.value, 0)),
        ((b"Transfer-Encoding", b"close"), (Meaning.HOP_BY_HOP.value, 0)),
        ((b"Keep-Alive", b"a"), (Meaning.HOP_BY_HOP.value, 0)),
        ((b"Proxy-Connection", b"close"), (Meaning.HOP_BY_HOP.value, 0)),
        ((b"Upgrade", b"websocket"), (Meaning.UPGRADE.value, 0)),
    ],
)
def test_what_a_response_field_means(field: tuple[bytes, bytes], note: tuple[int, int]):
    fields = plain_fields()

    assert fields.write_field(field)[1] == note
    assert fields.written[field][1] == note


@pytest.mark.parametrize("value", [b"", b"-1", b"+1", b"1.0", b"0x1", b"1 1", b"1,1", b"1" * 19])
def test_a_length_that_is_no_number_is_the_applications_mistake(value: bytes):
    with pytest.raises(AppMistake, match="not a decimal number"):
        plain_fields().write_field((b"Content-Length", value))


@pytest.mark.parametrize("name", sorted(SECRET))
def test_secrets_in_responses_are_never_remembered(name: bytes):
    fields = plain_fields()
    fields.write_field((name, b"a"))
    fields.write_field((name.upper(), b"a"))

    assert not fields.written


def test_long_and_changeable_response_fields_are_not_remembered():
    fields: Any = plain_fields()
    fields.write_field((b"x", b"a" * LONGEST))
    fields.write_field([b"x", b"a"])

    assert not fields.written


# ── what is left out ──


def test_what_was_left_out_is_known_until_it_is_taken_back():
    fields = plain_fields()
    for _ in range(2):
        connection = connect(fields)
        for _ in range(2):
            connection.receive_data(head_bytes("GET / HTTP/1.1", "Host: a.example", "X_Y: 1"))
            only_head(connection)
            assert fields.oddities.dropped_field == b"X_Y"
            fields.oddities.dropped_field = b""
            connection.response.respond(200, [], b"")
            connection.start_next_cycle()


@pytest.mark.parametrize(
    ("offer", "is_one"),
    [("websocket", True), ("h2c, WebSocket", True), ("h2c", False), ("websocket-x", False)],
)
def test_the_first_websocket_handshake_of_a_process_is_noticed(offer: str, is_one: bool):
    fields = plain_fields()
    for expected in (is_one, False):
        connection = connect(fields)
        connection.receive_data(
            head_bytes("GET / HTTP/1.1", "Host: a.example", "Connection: upgrade", f"Upgrade: {offer}")
        )
        only_head(connection)
        assert fields.oddities.websocket_offered == expected
        fields.oddities.websocket_offered = False


def test_the_first_transfer_encoding_of_an_application_is_noticed():
    fields = plain_fields()
    for expected in (True, False):
        connection = after(GET, fields)
        written = connection.response.respond(200, [(b"Transfer-Encoding", b"gzip")], b"a")

        assert b"gzip" not in written
        assert fields.oddities.own_transfer_encoding == expected
        fields.oddities.own_transfer_encoding = False

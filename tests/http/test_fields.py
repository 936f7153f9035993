from contextlib import suppress
from typing import Any

import pytest

from appserve.errors import AppMistake, Rejected
from appserve.http.cache import REMEMBERED
from appserve.http.fields import FORGOTTEN, LINES_OF_NAME, LONGEST, SECRET, Fields, Meaning
from appserve.http.messages import Limits
from appserve.http.policy import LENGTH, ONE_HOST, FieldKind, read_rules
from appserve.http.request_line import read_request_line
from tests.http.plain import GET, after, connect, head_bytes, only_head, plain_fields

HOST = (FieldKind.HOST.value, b"a.example")


# ── request fields ──


def test_a_field_is_the_pair_of_both_forms():
    fields: Fields[tuple[int, str], object] = Fields(len, bytes.decode, lambda field: (b"", b""))

    assert fields.read_field(b"Accept: text/html")[0] == (6, "text/html")
    assert fields.form(b"Host", b"a.example") == (4, "a.example")


@pytest.mark.parametrize("line", [b"X-A: b", b"x-a:b", b"X-A:  \tb \t", b"X-a: b"])
def test_names_are_in_lower_case_and_values_without_outer_blanks(line: bytes):
    assert plain_fields().read_field(line) == ((b"x-a", b"b"), None)


def test_a_value_may_have_inner_blanks_colons_and_bytes_of_any_text():
    assert plain_fields().read_field(b"X: a:b  c\t\xe4\xff")[0] == (b"x", b"a:b  c\t\xe4\xff")


@pytest.mark.parametrize(
    "line",
    [b"X", b"", b": a", b"X : a", b"X\t: a", b" X: a", b"(X): a", b"X\xe4: a"]
    + [b"X: a%cb" % byte for byte in (0, 1, 8, 10, 11, 13, 31, 127)],
)
def test_what_is_not_in_the_grammar_is_400(line: bytes):
    fields = plain_fields()

    for _ in range(2):
        with pytest.raises(Rejected) as caught:
            fields.read_field(line)
        assert caught.value.status == 400


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

    assert fields.read_field(line)[1] == special
    assert fields.read_field(line)[1] == special


# ── what is remembered ──


def test_a_line_is_judged_once():
    calls: list[bytes] = []
    fields: Fields[tuple[object, object], object] = Fields(
        calls.append, calls.append, lambda field: (b"", b"")
    )

    fields.read_marked(b"Accept: a")
    assert list(fields.read) == [b"Accept: a"]
    fields.read_marked(b"Accept: b")

    assert calls == [b"accept", b"a", b"b"], "the name was turned into its form twice"


@pytest.mark.parametrize("name", sorted(FORGOTTEN))
def test_framing_fields_and_secrets_are_never_remembered(name: bytes):
    fields = plain_fields()
    for spelled in (name, name.upper(), name.title()):
        for _ in range(2):
            fields.read_marked(spelled + b": 1")

    assert not fields.read
    assert not fields.marked


def test_long_lines_are_not_remembered():
    fields = plain_fields()
    fields.read_marked(b"X: " + b"a" * (LONGEST - 3))
    fields.read_marked(b"Y: " + b"a" * (LONGEST - 2))
    fields.read_marked(b"Z" * LONGEST + b": a")
    fields.read_marked(b"Z" * (LONGEST + 1) + b": a")

    assert [line[:1] for line in fields.read] == [b"X"]
    assert [name[:1] for name in fields._names] == [b"X", b"Y", b"Z"]


def test_every_memory_is_bounded():
    fields = plain_fields()
    for number in range(3 * REMEMBERED):
        fields.read_marked(b"X-%d: a" % number)
        fields.read_marked(b"Connection-%d: a" % number)
        fields.read_marked(b"Host: a%d" % number)
        fields.write_field((b"x", b"%d" % number))
        line = b"GET /%d HTTP/1.1" % number
        fields.remember_request_line(line, read_request_line(line))
        fields.read_request_line(b"GET /%d?a HTTP/1.1" % number)

    for memory in (
        fields.read,
        fields.marked,
        fields._names,
        fields.written,
        fields.request_lines,
        fields._paths,
    ):
        assert 0 < len(memory) <= REMEMBERED


def test_a_name_with_many_values_pushes_nothing_out():
    fields = plain_fields()
    fields.read_marked(b"Accept: a")
    for number in range(3 * REMEMBERED):
        fields.read_marked(b"X-Request-Id: %d" % number)

    assert b"Accept: a" in fields.read
    assert len(fields.read) == 1 + LINES_OF_NAME


def test_when_all_is_forgotten_each_name_begins_anew():
    fields = plain_fields()
    for number in range(LINES_OF_NAME + 1):
        fields.read_marked(b"X: %d" % number)
    for number in range(REMEMBERED):
        fields.read_marked(b"Y-%d: a" % number)
    fields.read_marked(b"X: new")

    assert b"X: new" in fields.read


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
    def read(fields: Fields[Any, Any], line: bytes) -> object:
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

    first = read(plain_fields(), line)
    assert [read(fields, line), read(fields, line)] == [first, first]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("options", [(), ("close",), ("keep-alive",), ("close", "keep-alive"), ("foo",)])
@pytest.mark.parametrize("length", [None, "0", "7"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_usual_rules_are_those_of_the_full_judgement(
    version: str, options: tuple[str, ...], length: str | None, method: str
):
    fields = plain_fields()
    line = read_request_line(f"{method} / HTTP/{version}".encode())
    lines = ["Host: a.example", *(f"Connection: {option}" for option in options)]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    marks, value = 0, b""
    specials = []
    for one in lines:
        _, mark, told = fields.read_marked(one.encode())
        marks |= mark
        if mark == LENGTH:
            value = told
        special = fields.read_field(one.encode())[1]
        assert special is not None
        specials.append(special)

    for _ in range(2):
        usual = fields.usual_rules(line, marks, value, Limits())
        assert usual is None or usual == read_rules(line, specials, Limits())
        assert usual is not None or (version == "1.0" and length is not None)


@pytest.mark.parametrize(
    "line",
    ["Upgrade: h2c", "Connection: upgrade", "Transfer-Encoding: chunked", "Expect: 100-continue", "X_Y: 1"],
)
def test_what_is_not_usual_is_judged_in_full(line: str):
    fields = plain_fields()
    mark = fields.read_marked(line.encode())[1]

    assert fields.usual_rules(read_request_line(b"GET / HTTP/1.1"), mark, b"", Limits()) is None


@pytest.mark.parametrize("length", [b"", b"+5", b"5,5", b"0x5", b"5" * 16, b"11"])
def test_a_length_that_is_not_plainly_right_is_judged_in_full(length: bytes):
    line = read_request_line(b"POST / HTTP/1.1")

    assert plain_fields().usual_rules(line, ONE_HOST | LENGTH, length, Limits(body=10)) is None


def test_a_refusal_is_not_remembered():
    fields = plain_fields()
    for _ in range(2):
        with pytest.raises(Rejected):
            fields.usual_rules(read_request_line(b"GET / HTTP/1.1"), 0, b"", Limits())

    assert not fields.rules


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
    fields: Fields[object, object] = Fields(len, len, lambda field: (field[0], field[1]))
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
            connection.respond(200, [], b"")
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
        written = connection.respond(200, [(b"Transfer-Encoding", b"gzip")], b"a")

        assert b"gzip" not in written
        assert fields.oddities.own_transfer_encoding == expected
        fields.oddities.own_transfer_encoding = False

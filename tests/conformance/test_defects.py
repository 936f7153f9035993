"""Defects that servers have had, put into this one: the corpus and the fuzzing each have to find every one.

A defect is a subclass of a part of ours, or a function, pattern or table in the place of one. So the two are
known to be able to fail, and where a rule is not tested by either, it is seen here.
"""

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from appserve.asgi.scope import AsgiFields, Field
from appserve.errors import AppMistake, Cause, Rejected
from appserve.http import chunked, fields, http1, policy, response
from appserve.http.chunked import ChunkedBody
from appserve.http.fields import Fields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import CHUNKED, Event, Limits, Reading, RequestHead, Rules
from appserve.http.policy import FieldKind, Special
from appserve.http.response import Framing, ResponseWriter
from tests.conformance import core, fuzz, test_responses
from tests.conformance.core import check, run
from tests.conformance.corpus import ANSWERS, REQUESTS

# Nothing here waits for anything, so it takes as long as the machine is busy.
pytestmark = [pytest.mark.timeout(600), pytest.mark.pure]

EDITED, AGAIN, FIELDS, COMBINED, CHUNKS, RESPONSES = (
    "cases of the corpus, edited",
    "one case again and again",
    "fields that frame",
    "combinations",
    "chunked bodies",
    "responses",
)

LLHTTP_ONLY = {"a tab after chunked"}
"""What only llhttp refuses."""

Put = Callable[[pytest.MonkeyPatch], None]
Judge = Callable[[Any, Sequence[Special], Limits], Rules]

read_rules = policy.read_rules
HOST, CONNECTION, LENGTH, CODING = (
    FieldKind.HOST,
    FieldKind.CONNECTION,
    FieldKind.CONTENT_LENGTH,
    FieldKind.TRANSFER_ENCODING,
)

DEFECTS: dict[str, tuple[str, Put]] = {}
"""Of each name: the property of the fuzzing that finds the defect, and what puts it in place."""


def judges(name: str, by: str = FIELDS) -> Callable[[Judge], None]:
    """A defect in what the fields that concern the connection amount to."""

    def register(judge: Judge) -> None:
        DEFECTS[name] = by, lambda patch: patch.setattr(fields, "read_rules", judge)

    return register


def is_connection(name: str, by: str) -> Callable[[type[Http1Connection[Any, Any]]], None]:
    """A defect of the connection."""

    def register(kind: type[Http1Connection[Any, Any]]) -> None:
        DEFECTS[name] = by, lambda patch: patch.setattr(core, "Http1Connection", kind)

    return register


def reads_chunks(name: str) -> Callable[[type[ChunkedBody]], None]:
    """A defect of the reader of chunked bodies."""

    def register(kind: type[ChunkedBody]) -> None:
        DEFECTS[name] = CHUNKS, lambda patch: patch.setattr(http1, "ChunkedBody", kind)

    return register


def writes(name: str) -> Callable[[type[ResponseWriter[Any, Any]]], None]:
    """A defect of the writer of responses."""

    def register(kind: type[ResponseWriter[Any, Any]]) -> None:
        DEFECTS[name] = RESPONSES, lambda patch: patch.setattr(http1, "ResponseWriter", kind)

    return register


def has(name: str, by: str, owner: object, attribute: str, value: object) -> None:
    """A pattern, a table or a function that has another value."""
    DEFECTS[name] = by, lambda patch: patch.setattr(owner, attribute, value)


# ── what a head says of its body and its connection ───────────────────────────────────────────────────


def values(specials: Sequence[Special], kind: FieldKind) -> list[bytes]:
    return [value for one, value in specials if one == kind]


def without(specials: Sequence[Special], kind: FieldKind) -> list[Special]:
    return [special for special in specials if special[0] != kind]


@judges("of two lengths the first counts")
def take_first_length(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    first = [(LENGTH, value) for value in values(specials, LENGTH)[:1]]
    return read_rules(line, without(specials, LENGTH) + first, limits)


@judges("a length may have a sign")
def allow_sign(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    bare = [(kind, value.lstrip(b"+") if kind == LENGTH else value) for kind, value in specials]
    return read_rules(line, bare, limits)


@judges("chunked beats a length", COMBINED)
def prefer_chunked(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    has_coding = bool(values(specials, CODING))
    return read_rules(line, without(specials, LENGTH) if has_coding else specials, limits)


@judges("chunked counts in HTTP/1.0", COMBINED)
def take_chunked_in_1_0(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    if line.version != "1.0" or values(specials, LENGTH) or values(specials, CODING) != [b"chunked"]:
        return read_rules(line, specials, limits)
    rules = read_rules(line, without(specials, CODING), limits)
    return rules._replace(body_length=CHUNKED, may_be_held=False)


@judges("chunked is looked for anywhere")
def find_chunked(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    if b"chunked" in b"".join(values(specials, CODING)[-1:]).lower():
        specials = [*without(specials, CODING), (CODING, b"chunked")]
    return read_rules(line, specials, limits)


@judges("an upgrade has no body", COMBINED)
def ignore_body_of_upgrade(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    rules = read_rules(line, specials, limits)
    return rules._replace(body_length=0) if rules.upgrade else rules


@judges("a GET has no body", COMBINED)
def ignore_body_of_get(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    rules = read_rules(line, specials, limits)
    return rules._replace(body_length=0) if line.method == "GET" else rules


@judges("close counts only by itself", COMBINED)
def miss_close_among_options(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    options = [
        option.strip().lower() for value in values(specials, CONNECTION) for option in value.split(b",")
    ]
    if set(options) != {b"close"}:
        kept = [(CONNECTION, option) for option in options if option != b"close"]
        specials = without(specials, CONNECTION) + kept
    return read_rules(line, specials, limits)


@judges("an offer that is declined changes nothing", COMBINED)
def go_on_after_offer(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    rules = read_rules(line, specials, limits)
    return rules._replace(closes=rules.is_last) if rules.upgrade else rules


has("a GET with a body in HTTP/1.0 is as any request", COMBINED, policy, "NO_BODY", frozenset())
has("Connection may name what frames the body", FIELDS, policy, "NOT_AN_OPTION", frozenset())


@judges("TRACE may have a body", COMBINED)
def allow_body_of_trace(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    return read_rules(SimpleNamespace(version=line.version, method="POST"), specials, limits)


@judges("nothing ends a connection", COMBINED)
def never_close(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    return read_rules(line, specials, limits)._replace(closes=False)


@judges("the head of a request with a body is held for the next", AGAIN)
def hold_any_head(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    return read_rules(line, specials, limits)._replace(may_be_held=True)


class AnyVersion(str):
    """Equal to each version."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return True


@judges("the version is not compared with the last head's", COMBINED)
def match_any_version(line: Any, specials: Sequence[Special], limits: Limits) -> Rules:
    return read_rules(line, specials, limits)._replace(version=AnyVersion(line.version))


# ── chunks ────────────────────────────────────────────────────────────────────────────────────────────


@reads_chunks("a bare LF ends a chunk's size line")
class TakesBareLineFeed(ChunkedBody):
    def _read_size_line(self, line: bytes) -> None:
        super()._read_size_line(line.rstrip(b"\r\n") + b"\r\n")


LENIENT_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}) *((?:;[\t\x20-\x7e\x80-\xff]*)?)")
has("blanks may follow a chunk's size", CHUNKS, chunked, "SIZE_LINE", LENIENT_SIZE_LINE)


@reads_chunks("the end of chunk data is not looked at")
class SkipsEndOfData(ChunkedBody):
    def next_data(self, buffer: bytes) -> tuple[bytes, int]:
        """One state of the reader after the other; what ends data is replaced by what should."""
        data, used = b"", 0
        while not self.done:
            piece = buffer[used:]
            if self._expect is chunked.DATA:
                piece = piece[: self._left]
            elif self._expect is chunked.DATA_END:
                piece = b"\r\n"[: len(piece)]
            else:
                piece = piece[: piece.find(b"\n") + 1] or piece
            more, count = super().next_data(piece)
            data, used = data + more, used + count
            if not count:
                break
        return data, used


has("what is in an extension is not looked at", CHUNKS, chunked, "EXTENSION_LIST", re.compile(b"(?s:.*)"))


@reads_chunks("trailers are not looked at")
class SkipsTrailers(ChunkedBody):
    def _read_trailer(self, line: bytes) -> None:
        super()._read_trailer(line if line == b"\r\n" else b"X:%b\r\n" % (b"a" * (len(line) - 4)))


@reads_chunks("the last chunk ends a body")
class EndsWithLastChunk(ChunkedBody):
    def _read_size_line(self, line: bytes) -> None:
        super()._read_size_line(line)
        if not self._left:
            super()._read_trailer(b"\r\n")


# ── the connection ────────────────────────────────────────────────────────────────────────────────────


class HasOneReader(Http1Connection[Any, Any]):
    """llhttp is not asked: it would hide what is wrong with our own reader of heads."""

    def _ask_llhttp(self, head: bytes, body_length: int) -> None:
        pass


@is_connection("a body is all that has come", COMBINED)
class TakesAllForBody(HasOneReader):
    def next_event(self) -> RequestHead[Any] | bytes | Event:
        if self.reading is Reading.BODY and self._chunks is None:
            self._left_to_read = max(self._left_to_read, len(self.unread))
        return super().next_event()


@is_connection("the end of the connection ends a body", AGAIN)
class EndsBodyAtEnd(HasOneReader):
    def next_event(self) -> RequestHead[Any] | bytes | Event:
        in_body = self.reading is Reading.BODY
        try:
            return super().next_event()
        except Rejected as fault:
            if not in_body or fault.cause is not Cause.INCOMPLETE:
                raise
            self.reading = Reading.DONE
            return Event.END


# ── responses ─────────────────────────────────────────────────────────────────────────────────────────

response_framing = response.response_framing
has(
    "HEAD is answered with a body",
    RESPONSES,
    response,
    "response_framing",
    lambda is_head, is_1_1, status, length: response_framing(False, is_1_1, status, length),
)


@writes("an empty piece ends a chunked body")
class WritesEmptyChunks(ResponseWriter[Any, Any]):
    def send_body(self, data: bytes, more: bool) -> bytes:
        ends = not data and self._framing is Framing.CHUNKED
        return (b"0\r\n\r\n" if ends else b"") + super().send_body(data, more)


@writes("a body may be longer than its length")
class WritesMoreThanAnnounced(ResponseWriter[Any, Any]):
    def send_body(self, data: bytes, more: bool) -> bytes:
        self._left_to_write = max(self._left_to_write, len(data))
        return super().send_body(data, more)


write_field = Fields.write_field


def write_any_value(self: Fields[Field, Field], field: Field) -> tuple[bytes, Any]:
    try:
        return write_field(self, field)
    except AppMistake:
        name, value = field
        if b"\r" not in value and b"\n" not in value:
            raise
        return name + b": " + value + b"\r\n", None


has("a value may have line ends", RESPONSES, Fields, "write_field", write_any_value)


# ── they are found ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put the defect of this name in place; with none, nothing but what every defect has."""

    def put(name: str) -> None:
        # What is remembered of lines that were judged with the defect would outlive it.
        monkeypatch.setattr(fuzz, "SHARED", {limits: AsgiFields() for limits in fuzz.SHARED})
        monkeypatch.setattr(test_responses, "SHARED", AsgiFields())
        monkeypatch.setattr(core, "Http1Connection", HasOneReader)
        # Each head is judged in full.
        monkeypatch.setattr(Fields, "read", Fields._read_any)
        if name:
            DEFECTS[name][1](monkeypatch)

    return put


def find_by_corpus() -> str:
    """The first case that does not hold, or nothing."""
    for case in REQUESTS:
        if case.name in LLHTTP_ONLY:
            continue
        try:
            check(case, run([case.sent], case.eof, case.limits))
        except Exception:
            return case.name
    for answer in ANSWERS:
        try:
            test_responses.test_answer(answer)
        except Exception:
            return answer.name
    return ""


def find_by_fuzz(name: str, examples: int) -> bool:
    """Whether so many examples find that the property does not hold."""
    rounds = range(examples // 100)
    return any(fuzz.try_property(name, number, 100, shrink=False) is not None for number in rounds)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str, put: Callable[[str], None]):
    put(name)

    assert find_by_corpus()
    assert find_by_fuzz(DEFECTS[name][0], 2000)


def test_without_a_defect_and_without_llhttp_nothing_is_found(put: Callable[[str], None]):
    put("")

    assert find_by_corpus() == ""
    assert not find_by_fuzz(EDITED, 100)
    assert not find_by_fuzz(COMBINED, 100)


def test_what_is_found_is_printed_as_a_case(
    put: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    put("the last chunk ends a body")
    monkeypatch.setattr("sys.argv", ["fuzz", "--seconds=60", "--seed=1"])

    assert fuzz.main() == 1

    reported = capsys.readouterr().out
    assert reported.startswith("seed 1\n")
    assert "as a case" in reported
    assert "b'POST / HTTP/1.1" in reported or 'b"POST / HTTP/1.1' in reported

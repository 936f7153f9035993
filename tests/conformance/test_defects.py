"""Defects that servers have had, put into this one: the corpus and the fuzzing each have to find every one.

A defect is a piece of our source, and what stands there instead. So the two are known to be able to fail,
and where a rule is not tested by either, it is seen here.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType

import pytest

from appserve.asgi.scope import asgi_fields
from appserve.http import chunked, fields, http1, policy, response
from tests.conformance import fuzz, test_responses
from tests.conformance.core import check, run
from tests.conformance.corpus import ANSWERS, REQUESTS

# Nothing here waits for anything, so it takes as long as the machine is busy.
pytestmark = [pytest.mark.timeout(600), pytest.mark.pure]

EDITED, AGAIN, FIELDS, CHUNKS, RESPONSES = (
    "cases of the corpus, edited",
    "one case again and again",
    "fields that frame",
    "chunked bodies",
    "responses",
)

LLHTTP_ONLY = {"a tab after chunked"}
"""What only llhttp refuses."""


@dataclass(frozen=True)
class Defect:
    """`by` is the property of the fuzzing that finds it."""

    name: str
    module: ModuleType
    text: str
    instead: str
    by: str = EDITED


DEFECTS = (
    Defect("of two lengths the first counts", policy, "len(lengths) > 1 or not", "not", FIELDS),
    Defect(
        "a length may have a sign",
        policy,
        "not lengths[0].isdigit()",
        'not lengths[0].lstrip(b"+").isdigit()',
        FIELDS,
    ),
    Defect(
        "chunked beats a length",
        policy,
        "if codings:\n        if lengths:",
        "if codings:\n        if False:",
        FIELDS,
    ),
    Defect("chunked counts in HTTP/1.0", policy, "        if not is_1_1:", "        if False:", FIELDS),
    Defect(
        "chunked is looked for anywhere",
        policy,
        'len(codings) == 1 and codings[0].lower() == b"chunked"',
        'b"chunked" in codings[-1].lower()',
        FIELDS,
    ),
    Defect(
        "an upgrade has no body",
        policy,
        "line.version, is_last, closes, body_length, expects",
        "line.version, is_last, closes, 0 if upgrade else body_length, expects",
    ),
    Defect(
        "a GET has no body",
        fields,
        "size = int(length)",
        "size = 0 if line.method == 'GET' else int(length)",
        FIELDS,
    ),
    Defect(
        "close counts only by itself",
        policy,
        'mark = CLOSE if b"close" in options else 0',
        'mark = CLOSE if options == {b"close"} else 0',
        FIELDS,
    ),
    Defect(
        "an offer that is declined changes nothing",
        policy,
        "is_last or bool(upgrade) or",
        "is_last or",
    ),
    Defect(
        "a GET with a body in HTTP/1.0 is as any request",
        policy,
        "(not is_1_1 and body_length > 0 and line.method in NO_BODY)",
        "False",
    ),
    Defect(
        "Connection may name what frames the body",
        policy,
        'if option in NOT_AN_OPTION or option.startswith(b"x-forwarded-"):',
        "if False:",
    ),
    Defect("TRACE may have a body", policy, 'if body_length and line.method == "TRACE":', "if False:"),
    Defect(
        "a bare LF ends a chunk's size line",
        chunked,
        'SIZE_LINE.fullmatch(line[:-2]) if line[-2:] == b"\\r\\n" else None',
        'SIZE_LINE.fullmatch(line.rstrip(b"\\r\\n"))',
        CHUNKS,
    ),
    Defect("blanks may follow a chunk's size", chunked, "{1,16})((?:;", "{1,16}) *((?:;", CHUNKS),
    Defect(
        "the end of chunk data is not looked at",
        chunked,
        'if end != b"\\r\\n"[: len(end)]:',
        "if False:",
        CHUNKS,
    ),
    Defect(
        "what is in an extension is not looked at",
        chunked,
        "if EXTENSION_LIST.fullmatch(extensions) is None:",
        "if False:",
        CHUNKS,
    ),
    Defect(
        "trailers are not looked at",
        chunked,
        'if line[-2:] != b"\\r\\n" or not colon or TOKEN.fullmatch(name) is None or FORBIDDEN.search(value):',
        "if False:",
        CHUNKS,
    ),
    Defect(
        "the last chunk ends a body",
        chunked,
        "self._expect = DATA if self._left else TRAILER",
        "self._expect, self.done = DATA if self._left else _Expect.DONE, not self._left",
        CHUNKS,
    ),
    Defect(
        "the head of a request with a body is held for the next",
        http1,
        "elif rules.may_be_held and end < LONGEST_BLOCK:",
        "elif end < LONGEST_BLOCK:",
        AGAIN,
    ),
    Defect(
        "the version is not compared with the last head's",
        http1,
        "if line.version == rules.version:",
        "if line:",
    ),
    Defect(
        "a body is all that has come",
        http1,
        "data = buffer if len(buffer) <= self._left_to_read else buffer[: self._left_to_read]",
        "data = buffer",
    ),
    Defect("nothing ends a connection", http1, "if rules.closes:", "if False:", FIELDS),
    Defect(
        "the end of the connection ends a body",
        http1,
        "self._refuse(Rejected(400, fault, Cause.INCOMPLETE))",
        "self.reading = READING_DONE; return END",
        CHUNKS,
    ),
    Defect(
        "HEAD is answered with a body",
        response,
        "if is_head or status in BODILESS:",
        "if status in BODILESS:",
        RESPONSES,
    ),
    Defect(
        "an empty piece ends a chunked body",
        response,
        "            if data:\n                data = b",
        "            if True:\n                data = b",
        RESPONSES,
    ),
    Defect(
        "a body may be longer than its length",
        response,
        "            if len(data) > self._left_to_write:",
        "            if False:",
        RESPONSES,
    ),
    Defect(
        "a value may have line ends",
        fields,
        "if FORBIDDEN.search(value) is not None:\n            raise AppMistake",
        "if False:\n            raise AppMistake",
        RESPONSES,
    ),
)


def put(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every function of the module the code that it has with the defect.

    llhttp is asked no more: heads have two readers, and it would hide what is wrong with ours.
    """
    # What is remembered of lines that were judged with the defect would outlive it.
    monkeypatch.setattr(fuzz, "SHARED", {limits: asgi_fields() for limits in fuzz.SHARED})
    monkeypatch.setattr(test_responses, "SHARED", asgi_fields())
    source = inspect.getsource(defect.module)
    assert source.count(defect.text) == 1, f"the source has changed: {defect.text!r}"
    changed = {"__name__": defect.module.__name__}
    exec(compile(source.replace(defect.text, defect.instead), "defect", "exec"), changed)
    for name, value in changed.items():
        current = vars(defect.module).get(name)
        if isinstance(value, type) and value.__module__ == defect.module.__name__:
            for new, old in _methods(value, current):
                monkeypatch.setattr(old, "__code__", new.__code__)
        elif isinstance(value, FunctionType) and isinstance(current, FunctionType):
            if value.__module__ == defect.module.__name__:
                monkeypatch.setattr(current, "__code__", value.__code__)
        elif value != current and name.isupper():
            monkeypatch.setitem(vars(defect.module), name, value)
    monkeypatch.setattr(http1.Http1Connection, "_ask_llhttp", lambda connection, head, length: None)


def _methods(new: type, old: object) -> Iterator[tuple[FunctionType, FunctionType]]:
    for name, value in vars(new).items():
        current = vars(old).get(name)
        if isinstance(value, property) and isinstance(current, property):
            value, current = value.fget, current.fget
        if isinstance(value, FunctionType) and isinstance(current, FunctionType):
            yield value, current


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


@pytest.mark.parametrize("defect", DEFECTS, ids=[defect.name for defect in DEFECTS])
def test_a_defect_is_found(defect: Defect, monkeypatch: pytest.MonkeyPatch):
    put(defect, monkeypatch)

    assert find_by_corpus()
    assert find_by_fuzz(defect.by, 10000)


def test_without_a_defect_and_without_llhttp_nothing_is_found(monkeypatch: pytest.MonkeyPatch):
    put(Defect("none", policy, "    hosts = 0", "    hosts = 0"), monkeypatch)

    assert find_by_corpus() == ""
    assert not find_by_fuzz(EDITED, 300)


def test_what_is_found_is_told_as_a_case(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    (defect,) = [one for one in DEFECTS if one.name == "the last chunk ends a body"]
    put(defect, monkeypatch)
    monkeypatch.setattr("sys.argv", ["fuzz", "--seconds=60", "--seed=1"])

    assert fuzz.main() == 1

    told = capsys.readouterr().out
    assert told.startswith("seed 1\n")
    assert "as a case" in told
    assert "b'POST / HTTP/1.1" in told or 'b"POST / HTTP/1.1' in told

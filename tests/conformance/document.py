"""The tables in docs/http.md, written from the corpus: a row a rule.

`python -m tests.conformance.document` in the project's folder writes them anew; a test compares them.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.conformance.answer import Answer
from tests.conformance.case import CLOSES, Case, Then
from tests.conformance.corpus import ANSWERS, SUBJECTS

PAGE = "docs/http.md"

BEGIN = (
    "<!-- Written from tests/conformance/corpus by `python -m tests.conformance.document`: do not edit. -->"
)
END = "<!-- The end of what is written. -->"

INTRODUCTION = """\
{requests} requests and {answers} responses are tried in every test of this repository, on each kind of
worker, over TCP, a unix socket and TLS. A row is a rule, with the number of them that are instances of it.
In an example `\\r\\n` is a line end, `\\n` a bare LF, `\\x80` a byte."""

TITLES = {
    "request line": "The request line",
    "versions": "Versions",
    "targets": "Targets",
    "host": "Host",
    "fields": "Fields",
    "Content-Length": "Bodies with a length, and without",
    "Transfer-Encoding": "Transfer codings",
    "chunked": "Chunks",
    "trailers": "Trailers",
    "expect": "Expect",
    "upgrade": "Upgrade",
    "connection options": "Connection",
    "pipelining": "Several requests on one connection",
    "limits": "Limits",
    "eof": "The end of the client’s side",
}


def tables() -> str:
    """What stands between the two comments."""
    parts = [INTRODUCTION.format(requests=sum(map(len, SUBJECTS.values())), answers=len(ANSWERS))]
    for subject, cases in SUBJECTS.items():
        parts.append(f"### {TITLES[subject]}")
        parts.append(_table(("what is sent", "for example", "answer", "why", "cases"), _request_rows(cases)))
    parts.append("### What applications answer")
    parts.append(_table(("what the application says", "what is sent", "why", "cases"), _answer_rows(ANSWERS)))
    return "\n\n".join(parts)


def _request_rows(cases: Iterable[Case]) -> Iterable[tuple[str, ...]]:
    rules: dict[object, list[Case]] = {}
    for case in cases:
        rules.setdefault(case.rule, []).append(case)
    for instances in rules.values():
        rule = instances[0].rule
        verdict = answer_to(instances)
        yield rule.what, _code(rule.example), verdict, rule.why, str(len(instances))


def _answer_rows(answers: Iterable[Answer]) -> Iterable[tuple[str, ...]]:
    rules: dict[object, list[Answer]] = {}
    for answer in answers:
        rules.setdefault(answer.rule, []).append(answer)
    for instances in rules.values():
        rule = instances[0].rule
        yield rule.what, rule.comes, rule.why, str(len(instances))


def answer_to(instances: Sequence[Case]) -> str:
    """What the instances of one rule are answered with: served or refused, never both."""
    verdicts = {case.then for case in instances}
    statuses = {str(verdict) for verdict in verdicts if isinstance(verdict, int)}
    if statuses:
        assert not any(isinstance(verdict, Then) for verdict in verdicts), "both served and refused"
        return ", ".join(sorted(statuses))
    if not any(request for case in instances for request in case.requests if not request.cut):
        return "none yet"
    return "served, closed" if verdicts == {CLOSES} else "served"


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * (len(titles) - 1) + ("---:",), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str) -> str:
    mark = "``" if "`" in text else "`"
    return f"{mark}{text}{mark}"


def renew(page: str) -> str:
    """The page with the tables as they are to be."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, f"{PAGE} has lost the comments between which the tables stand"
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{after}"


def main() -> None:
    path = Path(PAGE)
    path.write_text(renew(path.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"{PAGE} written", file=sys.stderr)


if __name__ == "__main__":
    main()

"""The request side of the corpus, on the connection alone: every case, in every split and in company."""

import re
from collections import Counter
from collections.abc import Callable

import pytest

from appserve.asgi.scope import AsgiFields
from tests.conformance.accounting import account
from tests.conformance.case import CLOSES, DEFAULT, OPEN, SMALL, UNLIMITED, Case, get, seen_get
from tests.conformance.core import check, run, run_at_once
from tests.conformance.corpus import REQUESTS, SUBJECTS
from tests.conformance.faults import Faults
from tests.conformance.splits import byte_by_byte, in_two

SHARED = {limits: AsgiFields() for limits in (DEFAULT, SMALL, UNLIMITED)}
"""What a process remembers of field lines; verdicts may not depend on that either."""


def every_case(check_one: Callable[[Case], None]) -> Callable[[str], None]:
    """One test for each subject: a thousand cases, six times, would take longer to collect than to try."""

    @pytest.mark.parametrize("subject", SUBJECTS)
    def test(subject: str) -> None:
        with Faults() as faults:
            for case in SUBJECTS[subject]:
                with faults.of(case.name):
                    check_one(case)

    test.__name__, test.__doc__ = check_one.__name__, check_one.__doc__
    return test


def test_names_are_unique():
    counts = Counter(case.name for case in REQUESTS)

    assert not [name for name, count in counts.items() if count > 1]


def test_every_case_names_its_rule_or_attack():
    rule = re.compile(r"RFC \d+|CVE-|smuggling|spoofing|splitting|overflow|mixing|abuse|limit")

    assert not [case.name for case in REQUESTS if not rule.search(case.why)]


def test_no_two_cases_are_the_same():
    counts = Counter((case.sent, case.eof, case.limits) for case in REQUESTS)

    assert not [case.name for case in REQUESTS if counts[case.sent, case.eof, case.limits] > 1]


@every_case
def test_verdict(case: Case):
    whole = run([case.sent], case.eof, case.limits)

    check(case, whole)
    assert whole == run_at_once(case.sent, case.eof, case.limits)
    assert whole == run(byte_by_byte(case.sent), case.eof, case.limits)


@every_case
def test_every_split_into_two(case: Case):
    fields = SHARED[case.limits]
    whole = run([case.sent], case.eof, case.limits, fields)

    for pieces in in_two(case.sent, case.name):
        assert whole == run(pieces, case.eof, case.limits, fields), pieces


@every_case
def test_after_a_good_request(case: Case):
    before = get("X-Before: 1")
    requests = (seen_get(("x-before", b"1")), *case.requests)
    pipelined = Case(case.name, case.why, before + case.sent, requests, case.then, case.eof, case.limits)

    outcome = run([pipelined.sent], case.eof, case.limits, SHARED[case.limits])

    check(pipelined, outcome)
    account(pipelined.sent, outcome.requests, outcome.refused)


@every_case
def test_what_follows_is_a_request_only_where_one_may_begin(case: Case):
    alone = run([case.sent], False, case.limits)

    followed = run([case.sent, get("X-After: 1")], False, case.limits)

    if alone.then is OPEN:
        assert alone.requests == followed.requests[:-1]
        assert (b"x-after", b"1") in followed.requests[-1].fields
    elif alone.then is CLOSES or isinstance(alone.then, int):
        assert alone == followed
    else:
        assert not [seen for seen in followed.requests[:-1] if (b"x-after", b"1") in seen.fields]


@every_case
def test_an_early_response_does_not_change_what_is_read(case: Case):
    whole = run([case.sent], case.eof, case.limits)
    if any(seen.expects_continue for seen in whole.requests):
        return  # then a final response instead of 100 ends the connection, see test_responses.py

    early = run([case.sent], case.eof, case.limits, early=True)

    assert (whole.requests, whole.then) == (early.requests, early.then)


def test_a_memory_of_lines_does_not_change_a_verdict():
    fields = AsgiFields()
    cases = [case for case in REQUESTS if case.limits == DEFAULT and len(case.sent) < 2000]

    first = [run([case.sent], case.eof, DEFAULT, fields) for case in cases]
    again = [run([case.sent], case.eof, DEFAULT, fields) for case in reversed(cases)]

    assert first == again[::-1]

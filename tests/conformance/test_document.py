"""docs/http.md says what the corpus says."""

import re
from pathlib import Path

import pytest

from tests.conformance.case import NO_RULE, Case, Rule, accepted, get, refused, seen_get, shown
from tests.conformance.corpus import ANSWERS, REQUESTS, SUBJECTS
from tests.conformance.document import PAGE, TITLES, answer_to, renew

PROJECT = Path(__file__).parent.parent.parent

RULES: dict[Rule, list[Case]] = {}
for _case in REQUESTS:
    RULES.setdefault(_case.rule, []).append(_case)

every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.what for rule in RULES])


def test_the_page_is_fresh():
    page = (PROJECT / PAGE).read_text(encoding="utf-8")

    assert renew(page) == page, "run `python -m tests.conformance.document`"


def test_every_subject_has_a_title():
    assert list(SUBJECTS) == list(TITLES)


def test_every_case_is_an_instance_of_a_rule():
    assert NO_RULE not in RULES
    assert not [answer.name for answer in ANSWERS if not answer.rule.what]


@every_rule
def test_a_rule_names_its_source_or_attack(rule: Rule):
    assert re.search(r"RFC \d+|smuggling|spoofing|overflow", rule.why)


@every_rule
def test_the_example_is_of_one_of_the_cases(rule: Rule):
    assert rule.example
    assert any(rule.example in shown(case.sent) for case in RULES[rule])


@every_rule
def test_what_a_rule_covers_is_served_or_refused(rule: Rule):
    assert answer_to(RULES[rule])


def test_a_rule_that_says_both_is_found():
    with pytest.raises(AssertionError):
        answer_to([accepted("a", "", get(), seen_get()), refused("b", "", b"\0", 400)])


def test_no_two_rules_have_the_same_text():
    for rules in (list(RULES), list({answer.rule for answer in ANSWERS})):
        words = [rule.what for rule in rules]

        assert len(words) == len(set(words))

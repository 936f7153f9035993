"""A short look at what fuzz.py tries for as long as one likes: the same examples in every run."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance import case as case_words
from tests.conformance.accounting import account
from tests.conformance.case import DEFAULT, SMALL, SMUGGLED, get, head
from tests.conformance.core import check, run
from tests.conformance.fuzz import PROPERTIES, SHARED, Sent, as_case, report, try_property
from tests.conformance.mutations import SOURCES, cut
from tests.soak import rounds

EXAMPLES = rounds(100, 5000)
EDITED = rounds(200, 20_000)
"""Of the cases of the corpus, edited, there are more."""

# Nothing here waits for anything, so it takes as long as the machine is busy.
pytestmark = pytest.mark.timeout(rounds(600, 7200))

quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("name", PROPERTIES)
def test_property(name: str):
    failure = try_property(name, 0, EDITED if name == "cases of the corpus, edited" else EXAMPLES)

    assert failure is None, report(failure)


BODIES = st.one_of(
    st.binary(max_size=60), st.sampled_from([SMUGGLED, b"\r\n\r\n", b"0\r\n\r\n", get()]), st.none()
)


@st.composite
def good_requests(draw: st.DrawFn, number: int) -> tuple[bytes, str, bytes]:
    """(the bytes of a good request, its target, its body)."""
    body = draw(BODIES)
    target = f"/{number}"
    lines = [f"{draw(st.sampled_from(['GET', 'POST', 'HEAD']))} {target} HTTP/1.1", "Host: a"]
    lines += draw(st.lists(st.sampled_from(["X-A: 1", "Connection: upgrade", "Upgrade: h2c", "Cookie: a"])))
    if body is None:
        return head(*lines), target, b""
    if draw(st.booleans()):
        return head(*lines, f"Content-Length: {len(body)}") + body, target, body
    pieces = [piece for piece in draw(cut(body)) if piece]
    chunks = b"".join(b"%X;e=f\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    trailer = draw(st.sampled_from([b"", b"X-T: 1\r\n"]))
    return head(*lines, "Transfer-Encoding: chunked") + chunks + b"0\r\n" + trailer + b"\r\n", target, body


@quick
@given(st.data(), st.integers(1, 6))
def test_exactly_what_was_sent_is_seen(source: st.DataObject, count: int):
    sent = [source.draw(good_requests(number)) for number in range(count)]
    data = b"".join(text for text, _, _ in sent)

    outcome = run(source.draw(cut(data)), False, DEFAULT, SHARED[DEFAULT])

    # Nothing is read behind an offer of Upgrade that is not taken.
    offers = [b"Connection: upgrade\r\n" in text and b"Upgrade: h2c\r\n" in text for text, _, _ in sent]
    served = sent[: offers.index(True) + 1] if True in offers else sent
    assert [(target.encode(), body) for _, target, body in served] == [
        (seen.target, seen.body) for seen in outcome.requests
    ]


# ── the checkers themselves ──


def test_a_request_that_was_not_sent_is_found():
    """A body read as a request must not pass."""
    smuggled = run([SMUGGLED], False, DEFAULT).requests
    hiding = head("POST / HTTP/1.1", "Host: a.example", f"Content-Length: {len(SMUGGLED)}") + SMUGGLED
    seen = run([hiding], False, DEFAULT).requests

    account(hiding, seen)
    with pytest.raises(AssertionError):
        account(hiding, [*seen, *smuggled])
    with pytest.raises(AssertionError):
        account(SMUGGLED + hiding, seen)


def test_a_body_that_was_cut_short_does_not_pass_for_a_complete_one():
    whole = head("POST / HTTP/1.1", "Host: a", "Content-Length: 5") + b"hello"
    seen = run([whole], False, DEFAULT).requests

    account(whole, seen)
    with pytest.raises(AssertionError):
        account(whole[:-1], seen)


@quick
@given(st.sampled_from(list(SOURCES)).flatmap(SOURCES.__getitem__), st.booleans())
def test_a_reproducer_is_a_case_that_holds(data: bytes, eof: bool):
    for limits in (DEFAULT, SMALL):
        case = eval(as_case(Sent(data, [data], eof, limits)), vars(case_words).copy())

        check(case, run([data], eof, limits))

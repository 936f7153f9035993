"""The request side of the corpus against the real command: every worker class, by TCP, unix socket and TLS.

What a case amounts to is decided by the connection alone, and tested there in every split (test_requests.py).
Here each worker class gets each case whole over TCP, and must have the one answer; a sample is also sent
behind a good request, and in two pieces. Over a unix socket and TLS, where the same loop reads, a sample is
sent, and every case in which the client ends its side. `make soak` sends everything everywhere. The worker
that answered is never replaced meanwhile.
"""

import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.conformance.case import DEFAULT, SMALL, Case, get, post, seen_get, seen_post
from tests.conformance.client import Client, ask, hold_to
from tests.conformance.corpus import SUBJECTS
from tests.conformance.faults import Faults
from tests.conformance.served import KINDS, LIMITS, Served, Servers, servers
from tests.conformance.splits import seeded
from tests.soak import rounds

pytestmark = [pytest.mark.integration, pytest.mark.timeout(rounds(120, 1200))]

CUT_ONE_IN = rounds(3, 1)
"""Of so many cases one is cut in two, behind a good request."""

ELSEWHERE_ONE_IN = rounds(8, 1)
"""Of so many cases one is sent over a unix socket and TLS."""

every_kind = pytest.mark.parametrize(("worker", "transport"), KINDS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("served"), "witness") as started:
        yield started


@pytest.mark.parametrize("subject", SUBJECTS)
@every_kind
def test_cases(worker: str, transport: str, subject: str, served: Servers):
    cases = [case for case in SUBJECTS[subject] if case.limits in LIMITS]
    if transport != "tcp":
        chosen = {case.name for case in sample(cases, ELSEWHERE_ONE_IN)}
        cases = [case for case in cases if case.eof or case.name in chosen]
    cut = {case.name for case in sample(cases, CUT_ONE_IN)}
    with Faults() as faults:
        for case in cases:
            one = served.get(worker, case.limits, transport)
            with faults.of(case.name):
                hold_to(case, worker, one.address, [case.sent], lambda: None)
                if case.name in cut:
                    check_cut_behind_a_good_request(case, one)
                one.check_serves()


def sample(cases: list[Case], one_in: int) -> list[Case]:
    """The same ones each time, and at least one."""
    return sorted(cases, key=lambda case: zlib.crc32(case.name.encode()))[: -(-len(cases) // one_in)]


def check_cut_behind_a_good_request(case: Case, one: Served) -> None:
    """Assert that the case holds if a request comes before it, in one piece with its beginning."""
    first, second = seeded(case.sent, case.name)
    behind = replace(case, requests=(seen_get(("x-before", b"1")), *case.requests))
    hold_to(behind, one.worker, one.address, [get("X-Before: 1") + first, second], one.check_serves)


@every_kind
def test_a_client_that_waits_for_100_gets_it(worker: str, transport: str, served: Servers):
    client = Client(served.get(worker, DEFAULT, transport).address)
    client.send(post("Expect: 100-continue", "Content-Length: 5"))

    assert client.read_interim().status == 100

    ask(client, worker, seen_post(b"hello"), b"hello")
    ask(client, worker, seen_get(), get())
    client.close()


@every_kind
def test_a_client_that_goes_on_sending_reads_why_it_was_refused(worker: str, transport: str, served: Servers):
    """RFC 9112 §9.6: closed at once, the connection would be reset and the answer lost."""
    one = served.get(worker, SMALL, transport)
    client = Client(one.address)
    client.send(post("Content-Length: 10000000"))
    for _ in range(16):
        client.send(bytes(65536))

    assert client.read_response("POST", "1.1").status == 413
    client.close()
    one.check_serves()

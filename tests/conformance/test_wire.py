"""The request side of the corpus against the real command: every worker class, by TCP, unix socket and TLS.

Each case is sent whole and after a good request, and must have the one answer that the connection alone
gives (test_requests.py). Over TCP it is sent in two pieces as well; over the others a sample is, since it is
the same loop that reads. The worker that answered is never replaced meanwhile.
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

pytestmark = pytest.mark.integration

SAMPLE = 8
"""Of so many cases one is cut up over a unix socket and TLS."""

every_kind = pytest.mark.parametrize(("worker", "transport"), KINDS)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("served"), "witness") as started:
        yield started


@pytest.mark.parametrize("subject", SUBJECTS)
@every_kind
def test_cases(worker: str, transport: str, subject: str, served: Servers):
    with Faults() as faults:
        for case in SUBJECTS[subject]:
            if case.limits in LIMITS:
                with faults.of(case.name):
                    check_case(case, served.get(worker, case.limits, transport), transport)


def check_case(case: Case, one: Served, transport: str) -> None:
    """Assert that the server holds to the case however it is sent."""
    good = get("X-Before: 1")
    requests = (seen_get(("x-before", b"1")), *case.requests)

    hold_to(case, one.worker, one.address, [case.sent], lambda: None)
    hold_to(replace(case, requests=requests), one.worker, one.address, [good + case.sent], lambda: None)
    if transport == "tcp" or zlib.crc32(case.sent) % SAMPLE == 0:
        hold_to(case, one.worker, one.address, seeded(case.sent, case.name), one.check_serves)
    one.check_serves()


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

"""The request side of the corpus against the real command, on every worker class, over TCP.

Each case is sent whole, after a good request, and in two pieces, and must have the one answer that the
connection alone gives (test_requests.py). The worker that answered is never replaced meanwhile.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conformance.case import DEFAULT, SMALL, Case, get, post, seen_get, seen_post
from tests.conformance.client import Client, ask, hold_to
from tests.conformance.corpus import REQUESTS
from tests.conformance.splits import seeded
from tests.integration.server import Server, command

pytestmark = pytest.mark.integration

HERE = Path(__file__).parent

KINDS = {
    "sync": ("witness:wsgi", "--worker-class=sync"),
    "asgi on uvloop": ("witness:asgi", "--worker-class=asgi", "--loop=uvloop"),
    "asgi on asyncio": ("witness:asgi", "--worker-class=asgi", "--loop=asyncio"),
}
"""What serves: an application, and the options that choose its worker."""

LIMITS = {
    DEFAULT: (),
    SMALL: (
        f"--limit-request-line={SMALL.request_line}",
        f"--limit-request-fields={SMALL.fields}",
        f"--limit-request-field_size={SMALL.field_size}",
        f"--limit-request-body={SMALL.body}",
    ),
}

CASES = [case for case in REQUESTS if case.limits in LIMITS]


class Served:
    """One server with one worker, and a connection to it that stays."""

    def __init__(self, kind: str, server: Server) -> None:
        self.kind = kind
        self.server = server
        self.port = server.port
        self._control = Client(self.port)
        self._pid = self._control_pid()

    def check_serves(self) -> None:
        """Assert that the same worker still serves.

        It has one loop: an answer to this also means that it has looked at what was sent before.
        """
        assert self._control_pid() == self._pid, "the worker was replaced"

    def close(self) -> None:
        self._control.close()

    def _control_pid(self) -> str:
        response = ask(self._control, self.kind, seen_get(), get())
        found = re.search(rb'"pid": (\d+)', response.values(b"x-saw")[0])
        assert found is not None
        return found[1].decode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, object], Served]]:
    """(kind, limits) → its server. All are checked at the end: exit code 0, and clean logs."""
    servers = {}
    for kind, options in KINDS.items():
        for number, limits in enumerate(LIMITS):
            arguments = (*options, "--bind=127.0.0.1:0", "--workers=1", f"--app-dir={HERE}")
            folder = tmp_path_factory.mktemp(f"{kind.replace(' ', '-')}-{number}")
            servers[kind, limits] = Server(command(*arguments, *LIMITS[limits]), folder, {})
    running = {}
    try:
        for key, server in servers.items():
            server.await_line("listening on ")
            running[key] = Served(key[0], server)
        yield running
        for one in running.values():
            one.check_serves()
            one.close()
            assert one.server.stop() == 0
            for log in (one.server.log, one.server.access_log):
                assert "Traceback" not in log
                assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", log), "a control character in a log"
    finally:
        for server in servers.values():
            server.close()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
@pytest.mark.parametrize("kind", KINDS)
def test_case(kind: str, case: Case, served: dict[tuple[str, object], Served]):
    one = served[kind, case.limits]
    good = get("X-Before: 1")
    requests = (seen_get(("x-before", b"1")), *case.requests)

    hold_to(case, kind, one.port, [case.sent], lambda: None)
    hold_to(replace(case, requests=requests), kind, one.port, [good + case.sent], lambda: None)
    hold_to(case, kind, one.port, seeded(case.sent, case.name), one.check_serves)
    one.check_serves()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_waits_for_100_gets_it(kind: str, served: dict[tuple[str, object], Served]):
    client = Client(served[kind, DEFAULT].port)
    client.send(post("Expect: 100-continue", "Content-Length: 5"))

    assert client.read_interim().status == 100

    ask(client, kind, seen_post(b"hello"), b"hello")
    ask(client, kind, seen_get(), get())
    client.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_goes_on_sending_reads_why_it_was_refused(
    kind: str, served: dict[tuple[str, object], Served]
):
    """RFC 9112 §9.6: closed at once, the connection would be reset and the answer lost."""
    client = Client(served[kind, SMALL].port)
    client.send(post("Content-Length: 10000000"))
    for _ in range(16):
        client.send(bytes(65536))

    assert client.read_response("POST", "1.1").status == 413
    client.close()
    served[kind, SMALL].check_serves()

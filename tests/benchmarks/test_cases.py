"""What the cases send, and that both applications answer it alike."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import applications
from tests.benchmarks.cases import CASES

ROOT = Path(__file__).parent.parent.parent
DIGEST = """
import hashlib
from tests.benchmarks.cases import CASES
print(hashlib.sha256(b"".join(b"".join(case.make()) for case in CASES.values())).hexdigest())
"""


def fields_of(request: bytes) -> dict[str, str]:
    head = request.partition(b"\r\n\r\n")[0].decode()
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:])


def test_real_requests_are_of_many_clients_and_differ() -> None:
    requests = CASES["real"].make()
    fields = [fields_of(request) for request in requests]
    assert len(set(requests)) == len(requests) == 4096
    for name in ("X-Request-Id", "Cookie"):
        assert len({one[name] for one in fields}) == 4096
    assert len({one["Referer"] for one in fields}) > 4000
    assert len({one["X-Forwarded-For"] for one in fields}) > 800
    assert len({one["User-Agent"] for one in fields}) > 800


def test_real_requests_have_ten_to_twenty_fields() -> None:
    numbers = [len(fields_of(request)) for request in CASES["real"].make()]
    assert (min(numbers), max(numbers)) == (10, 20)


def test_a_fifth_of_the_real_requests_are_small_json_posts() -> None:
    posts = [request for request in CASES["real"].make() if request.startswith(b"POST ")]
    assert 0.18 < len(posts) / 4096 < 0.22
    bodies = [request.partition(b"\r\n\r\n")[2] for request in posts]
    assert (min(map(len, bodies)), max(map(len, bodies))) == (120, 300)
    assert all(isinstance(json.loads(body), dict) for body in bodies)


@pytest.mark.parametrize(("case", "size"), [("post", 200), ("echo", 10_000)])
def test_posts_have_the_size_that_they_are_named_for(case: str, size: int) -> None:
    bodies = [request.partition(b"\r\n\r\n")[2] for request in CASES[case].make()]
    assert {len(body) for body in bodies} == {size}
    assert len(set(bodies)) == len(bodies)


def test_a_browser_sends_sixteen_fields() -> None:
    (request,) = CASES["browser"].make()
    assert len(fields_of(request)) == 16


def test_requests_are_the_same_in_every_run() -> None:
    def digest(seed: str) -> bytes:
        environment = {"PYTHONHASHSEED": seed}
        return subprocess.run(
            [sys.executable, "-c", DIGEST], cwd=ROOT, env=environment, check=True, capture_output=True
        ).stdout

    assert digest("1") == digest("2")


@pytest.mark.parametrize("case", CASES)
def test_both_applications_give_the_expected_answers(case: str) -> None:
    for request in CASES[case].make()[:20]:
        method, target = request.split(b" ")[:2]
        body = request.partition(b"\r\n\r\n")[2]
        wanted = applications.expected(request)
        assert call_wsgi(method.decode(), target.decode(), body) == ("200 OK", wanted)
        assert asyncio.run(call_asgi(method.decode(), target.decode(), body)) == (200, wanted)


def call_wsgi(method: str, target: str, body: bytes) -> tuple[str, bytes]:
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": target.partition("?")[0],
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    answer = b"".join(applications.wsgi(environ, lambda status, fields: statuses.append(status)))
    return statuses[0], answer


async def call_asgi(method: str, target: str, body: bytes) -> tuple[int, bytes]:
    pieces = [body[:50], body[50:]]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": target.partition("?")[0]}
    await applications.asgi(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)

"""The application to try: what it shows, as plain text whatever the request says."""

import io
import os
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest

from appserve import demo
from appserve.version import __version__


def answer(path: str, **more: Any) -> tuple[str, dict[str, str], str]:
    """Status, header fields and body, from a caller that checks PEP 3333 on both sides."""
    environ: dict[str, Any] = {"SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "", **more}
    setup_testing_defaults(environ)
    reported: list[Any] = []

    def start_response(status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
        reported.append((status, dict(fields)))
        return lambda data: None

    response = validator(demo.app)(environ, start_response)
    body = b"".join(response)
    response.close()  # type: ignore[attr-defined]  # the validator's own iterator has it
    status, fields = reported[-1]
    if "Content-Length" in fields:
        assert int(fields["Content-Length"]) == len(body)
    return status, fields, body.decode()


def test_the_page_shows_worker_version_and_request():
    status, fields, body = answer("/", HTTP_USER_AGENT="curl/8", REMOTE_ADDR="192.0.2.1")

    assert (status, fields["Content-Type"]) == ("200 OK", "text/plain; charset=utf-8")
    assert f"worker {os.getpid()}" in body
    assert f"version {__version__}" in body
    assert "User-Agent: curl/8\n" in body
    assert "192.0.2.1" in body


def test_nothing_of_a_request_becomes_markup():
    attack = "<script>alert('1')</script>"
    _, fields, body = answer("/", HTTP_X=attack, QUERY_STRING=attack)

    assert body.count(attack) == 2
    assert fields["Content-Type"].startswith("text/plain")
    assert fields["X-Content-Type-Options"] == "nosniff"


def test_bytes_of_a_request_are_shown_as_the_text_they_are():
    _, _, body = answer("/", HTTP_X="grün".encode().decode("latin-1"), HTTP_Y="\xff")

    assert "X: grün\n" in body
    assert "Y: \ufffd\n" in body


def test_streaming_sends_a_line_at_a_time(monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr(demo.time, "sleep", pauses.append)
    status, fields, body = answer("/stream")

    assert status == "200 OK"
    assert "Content-Length" not in fields
    assert len(body.splitlines()) == 10
    assert len(pauses) == 9


def test_echo_sends_back_what_came_as_plain_text():
    body = "<b>grün</b>".encode()
    status, fields, text = answer(
        "/echo",
        REQUEST_METHOD="POST",
        QUERY_STRING="a=1",
        CONTENT_LENGTH=str(len(body)),
        **{"wsgi.input": io.BytesIO(body)},
    )

    assert (status, fields["Content-Type"]) == ("200 OK", "text/plain; charset=utf-8")
    assert text == f"POST /echo?a=1\n{len(body)} bytes of body\n\n<b>grün</b>\n"


def test_another_path_is_not_found():
    status, _, text = answer("/gr\xc3\xbcn")

    assert (status, text) == ("404 Not Found", "nothing here: /grün\n")

"""A client of real sockets that holds a server to a case of the corpus."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from appserve.http.messages import CHUNKED
from tests.conformance.case import CLOSES, ENDS, OPEN, WAITS, Case, Request, get, seen_get
from tests.conformance.streams import Address
from tests.conformance.wire import Response, read_response


class Client:
    """One connection."""

    def __init__(self, address: Address) -> None:
        self._stream = address.connect()
        self._received = b""
        self._ended = False
        self.send = self._stream.send
        self.end = self._stream.end
        self.close = self._stream.close

    def read_response(self, method: str, version: str) -> Response:
        """The next final response."""
        while True:
            read = read_response(self._received, method, version, ended=self._ended)
            if read is None:
                assert not self._ended, f"the connection ended inside a response: {self._received!r}"
                self._receive()
                continue
            response, self._received = read
            if response.status >= 200:
                return response

    def read_interim(self) -> Response:
        """The next response, which must be an interim one."""
        while (read := read_response(self._received, "GET")) is None:
            assert not self._ended, "the connection ended instead of an interim response"
            self._receive()
        response, self._received = read
        assert response.status < 200, response
        return response

    def read_end(self) -> None:
        """Assert that nothing comes any more but the end of the connection."""
        while not self._ended:
            self._receive()
        assert self._received == b"", "bytes after the last response"
        assert not self._stream.cut, "TLS ended without an alert (RFC 9112 §9.8)"

    def read_all(self) -> bytes:
        """Everything up to the end of the connection."""
        while not self._ended:
            self._receive()
        received, self._received = self._received, b""
        return received

    def _receive(self) -> None:
        data = self._stream.receive()
        self._received += data
        self._ended = not data


def ask(client: Client, kind: str, expected: Request, sent: bytes = b"") -> Response:
    """Send `sent` and read its response, which must report `expected`."""
    client.send(sent)
    response = client.read_response(expected.method, expected.version)
    assert response.status == 200, response
    (report,) = response.values(b"x-saw")
    check_report(kind, expected, json.loads(report))
    return response


def check_report(kind: str, expected: Request, report: dict[str, Any]) -> None:
    """Assert that the application of this worker class saw the request, in full."""
    path = expected.expected_path
    if kind.startswith("asgi"):
        assert report["raw_path"] == expected.expected_raw_path
    else:
        assert report["target"] == expected.target
        path = path.removeprefix("*")  # it is no path, and PATH_INFO is one or empty (RFC 3875 §4.1.5)
    seen = tuple(report[name] for name in ("method", "version", "path", "query"))
    assert seen == (expected.method, expected.version, path, expected.expected_query)
    assert report["body"] == expected.body.decode("latin-1")
    fields = report["fields"]
    if not kind.startswith("asgi") and expected.length == CHUNKED:
        # WSGI applications see how long the body was found to be, and not how it came (RFC 9112 §7.1.3).
        assert fields.pop("content-length") == str(len(expected.body))
        assert "transfer-encoding" not in fields
        fields["transfer-encoding"] = "chunked"
    for name, value in expected.fields:
        text = None if value is None else value.decode("latin-1")
        assert (name, fields.get(name)) == (name, text)


def hold_to(
    case: Case, kind: str, address: Address, pieces: Iterable[bytes], between: Callable[[], object]
) -> None:
    """Send the pieces, with a call of `between` after each, and assert that the answers are the case's."""
    client = Client(address)
    try:
        for piece in pieces:
            client.send(piece)
            between()
        if case.eof:
            client.end()
        _check_answers(case, kind, client)
    finally:
        client.close()


def _check_answers(case: Case, kind: str, client: Client) -> None:
    cut = [request for request in case.requests if request.cut]
    complete = [request for request in case.requests if not request.cut]
    for number, request in enumerate(complete, 1):
        response = ask(client, kind, request)
        assert response.closes == (case.then is CLOSES and number == len(complete))
    then = case.then
    if then is WAITS:
        # That it waits cannot be seen. That it has not answered yet can, and what it makes of the end.
        client.end()
        then = 400
    if then is OPEN:
        ask(client, kind, seen_get(("x-after", b"1")), get("X-After: 1"))
        return
    if then is not CLOSES and then is not ENDS:
        method, version = "GET", "1.1"
        if cut:
            method, version = cut[0].method, cut[0].version
        else:
            method = case.refused_method
        response = client.read_response(method, version)
        assert (response.status, response.closes) == (then, True)
    client.read_end()

"""A small browser: cookies kept, forms and files sent, every answer read to its end."""

import http.client
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

TIMEOUT = 20.0  # seconds


@dataclass(frozen=True)
class Answer:
    status: int
    fields: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Browser:
    """One visitor of one site: a connection that is kept open as long as the server does, and its cookies."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
        self.cookies: dict[str, str] = {}

    def close(self) -> None:
        self.connection.close()

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, target: str) -> Answer:
        return self.request("GET", target)

    def post(self, target: str, body: bytes = b"", kind: str = "application/octet-stream") -> Answer:
        return self.request("POST", target, body, {"Content-Type": kind})

    def post_form(self, target: str, **values: str) -> Answer:
        return self.post(target, urlencode(values).encode(), "application/x-www-form-urlencoded")

    def post_json(self, target: str, value: object) -> Answer:
        return self.post(target, json.dumps(value).encode(), "application/json")

    def upload(self, target: str, files: Mapping[str, tuple[str, bytes]], **values: str) -> Answer:
        boundary = secrets.token_hex(16)
        body = b"".join(_parts(boundary, files, values))
        return self.post(target, body, f"multipart/form-data; boundary={boundary}")

    def post_chunks(self, target: str, pieces: Iterable[bytes]) -> Answer:
        """A body of unknown length, in chunks."""
        return self.request("POST", target, pieces, {"Transfer-Encoding": "chunked"})

    def request(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Answer:
        answer = self.open(method, target, body, fields)
        return Answer(answer.status, answer.headers, answer.read())

    def open(
        self,
        method: str,
        target: str,
        body: bytes | Iterable[bytes] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        """The answer with its body still to be read, piece by piece as it comes."""
        sent = dict(fields or {})
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        chunked = sent.get("Transfer-Encoding") == "chunked"
        self.connection.request(method, target, body, sent, encode_chunked=chunked)
        answer = self.connection.getresponse()
        for text in answer.headers.get_all("Set-Cookie", []):
            self._keep(text)
        return answer

    def _keep(self, text: str) -> None:
        for name, morsel in SimpleCookie(text).items():
            if morsel.value and morsel["max-age"] != "0":
                self.cookies[name] = morsel.value
            else:
                self.cookies.pop(name, None)


def _parts(
    boundary: str, files: Mapping[str, tuple[str, bytes]], values: Mapping[str, str]
) -> Iterable[bytes]:
    for name, value in values.items():
        yield f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    for name, (filename, content) in files.items():
        yield (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        yield content + b"\r\n"
    yield f"--{boundary}--\r\n".encode()

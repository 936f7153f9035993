"""Where in the bytes each request stood: each begins where the one before it ended, and none elsewhere.

A second, simpler reading of what was accepted. It judges nothing; it only holds every head and body that the
connection told of against the bytes that were sent, so a request that nobody sent cannot pass.
"""

from collections.abc import Sequence

from appserve.http.messages import CHUNKED
from tests.conformance.core import Seen


def account(sent: bytes, requests: Sequence[Seen], refused: bytes = b"") -> None:
    """Assert that these requests, and nothing else before them, are at the beginning of `sent`.

    `refused`: the first line of the head that stands behind them.
    """
    at = 0
    for seen in requests:
        while sent.startswith(b"\r\n", at):
            at += 2
        line = b"%b %b HTTP/%b\r\n" % (seen.method.encode(), seen.target, seen.version.encode())
        assert sent.startswith(line, at), f"{line!r} was not sent there"
        end = sent.index(b"\r\n\r\n", at) + 4
        _check_fields(sent[at + len(line) : end - 2], seen)
        at = _check_body(sent, end, seen)
    if refused:
        while sent.startswith(b"\r\n", at):
            at += 2
        assert sent.startswith(refused, at)


def _check_fields(text: bytes, seen: Seen) -> None:
    lines = [line.partition(b":") for line in text.split(b"\r\n")[:-1]]
    sent = [(name.lower(), value.strip(b" \t")) for name, _, value in lines if b"_" not in name]
    if seen.target.startswith((b"/", b"*")):
        assert sent == list(seen.fields)
    else:
        assert [pair for pair in sent if pair[0] != b"host"] == list(seen.fields)[1:]


def _check_body(sent: bytes, at: int, seen: Seen) -> int:
    """Assert that the body is what stands at `at`; where it ends."""
    if seen.length != CHUNKED:
        end = at + seen.length
        assert sent[at:end] == seen.body
        assert seen.cut == (len(sent) < end)
        return end
    body = b""
    while not (seen.cut and len(body) == len(seen.body)):
        size, _, _ = sent[at : sent.index(b"\r\n", at)].partition(b";")
        at = sent.index(b"\r\n", at) + 2
        length = int(size, 16)
        if not length:
            break
        body += sent[at : at + length]
        at += length + 2
    assert body[: len(seen.body)] == seen.body
    if not seen.cut:
        assert body == seen.body
        while not sent.startswith(b"\r\n", at):
            at = sent.index(b"\r\n", at) + 2
        at += 2
    return at

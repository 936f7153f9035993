"""Compares what a connection reported with the second reading of what it was sent (reference.py)."""

from collections.abc import Sequence

from appserve.http.messages import CHUNKED
from tests.conformance.core import Seen
from tests.conformance.reference import Framed, read_requests


def account(sent: bytes, requests: Sequence[Seen], refused: bytes = b"") -> None:
    """Assert that these requests, and nothing else before or between them, are at the beginning of `sent`.

    `refused`: the first line of the head that stands behind them.
    """
    found = read_requests(sent)
    assert len(requests) <= len(found), f"{requests[len(found)]} was not sent"
    end = 0
    for seen, framed in zip(requests, found, strict=False):
        check_request(seen, framed)
        end = framed.end
    if refused:
        while sent.startswith(b"\r\n", end):
            end += 2
        assert sent.startswith(refused, end), f"{refused!r} does not stand behind the last request"


def check_request(seen: Seen, framed: Framed) -> None:
    """Assert that the connection reported this request as it was sent."""
    assert (framed.method.decode(), framed.target) == (seen.method, seen.target)
    assert ("1.0" if framed.minor == 0 else "1.1") == seen.version
    fields = [field for field in framed.fields if b"_" not in field[0]]
    if framed.target.startswith((b"/", b"*")):
        assert fields == list(seen.fields)
    else:
        # The authority of an absolute-form target takes the place of Host (RFC 9112 §3.2.2).
        authority = framed.target.split(b"/")[2].partition(b"?")[0]
        rest = [field for field in fields if field[0] != b"host"]
        assert [(b"host", authority), *rest] == list(seen.fields)
    if seen.cut:
        assert framed.body.startswith(seen.body)
    else:
        assert framed.complete, "a body that was cut short passed for a complete one"
        assert framed.body == seen.body
    if framed.values(b"transfer-encoding"):
        assert seen.length == CHUNKED
    else:
        assert seen.length == int(next(iter(framed.values(b"content-length")), b"0"))

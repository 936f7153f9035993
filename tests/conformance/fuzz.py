"""What no one wrote down, tried for as long as one likes.

    python -m tests.conformance.fuzz --seconds 60
    python -m tests.conformance.fuzz --seconds 60 --seed 7

Whatever is sent: nothing but Rejected comes of it; every request that is seen was sent, and where a second
reading finds it; the verdict is the same however the bytes were split, and whatever was read before; what is
written is well-formed. Whatever an application answers, a strict client reads it in one way.

A property that fails is shrunk, printed as a case for the corpus, and is the exit code 1.
"""

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from appserve.asgi.scope import AsgiFields
from appserve.errors import AppMistake
from appserve.http.messages import Event, Limits
from tests.conformance.accounting import account
from tests.conformance.case import DEFAULT, SMALL, get, head
from tests.conformance.core import Outcome, Seen, check_written, make_connection, run, run_at_once
from tests.conformance.mutations import SOURCES, cut
from tests.conformance.splits import byte_by_byte
from tests.conformance.wire import read_response

ROUND = 100
"""Examples of one kind before it is another's turn."""

SHARED = {limits: AsgiFields() for limits in (DEFAULT, SMALL)}
"""What a process remembers of field lines; verdicts may not depend on it."""


# ── requests ──


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes of a client, one way to cut them up, and whether the client ends its side after them."""

    data: bytes
    pieces: list[bytes]
    eof: bool
    limits: Limits


@st.composite
def sendings(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> Sent:
    """Bytes of this source, cut up somehow."""
    data = draw(source)
    return Sent(data, draw(cut(data)), draw(st.booleans()), draw(st.sampled_from([DEFAULT, SMALL])))


def check_sent(sent: Sent) -> None:
    """Assert every property that holds for any bytes at all."""
    data, eof, limits = sent.data, sent.eof, sent.limits
    whole = run([data], eof, limits)

    account(data, whole.requests, whole.refused)
    check_written(whole)
    assert whole == run(sent.pieces, eof, limits, SHARED[limits])
    assert whole == run(byte_by_byte(data), eof, limits)
    assert whole == run_at_once(data, eof, limits)
    if not any(seen.expects_continue for seen in whole.requests):
        early = run([data], eof, limits, early=True)
        assert (whole.requests, whole.then) == (early.requests, early.then)


# ── responses ──

NAMES = st.one_of(
    st.sampled_from(
        b"content-length Content-Length transfer-encoding connection upgrade date server set-cookie x-a "
        b"keep-alive".split()
    ),
    st.binary(max_size=4),
)
VALUES = st.one_of(
    st.sampled_from([b"0", b"2", b"5", b"chunked", b"close", b"keep-alive", b"", b" a ", b"a\r\nb: c"]),
    st.binary(max_size=6),
)
GOOD_FIELDS = st.sampled_from(
    [(b"content-length", b"0"), (b"content-length", b"2"), (b"x-a", b"b"), (b"connection", b"close")]
)
ASKING = (
    get(),
    get("Connection: close"),
    head("HEAD / HTTP/1.1", "Host: a"),
    head("GET / HTTP/1.0"),
    head("GET / HTTP/1.0", "Connection: keep-alive"),
    head("HEAD / HTTP/1.0", "Connection: keep-alive"),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """What an application answers to a request. `whole`: its pieces are given as one."""

    request: bytes
    status: int
    fields: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    whole: bool


ANSWERINGS = st.builds(
    Answered,
    st.sampled_from(ASKING),
    st.one_of(st.sampled_from([200, 204, 205, 304, 404, 426]), st.integers(100, 999), st.integers()),
    st.lists(st.one_of(GOOD_FIELDS, st.tuples(NAMES, VALUES)), max_size=4),
    st.lists(st.sampled_from([b"", b"a", b"ab", b"0\r\n\r\n"]), min_size=1, max_size=4),
    st.booleans(),
)


def check_answered(answered: Answered) -> None:
    """Assert that a strict client reads what is written in one way, or cannot take it for complete."""
    connection = make_connection(DEFAULT, SHARED[DEFAULT])
    connection.receive_data(answered.request)
    while connection.next_event() is not Event.END:
        pass
    line = answered.request.partition(b"\r\n")[0].decode()
    status, pieces = answered.status, answered.pieces
    written = b""
    finished = True
    try:
        if answered.whole:
            written = connection.response.respond(status, answered.fields, b"".join(pieces))
        else:
            written = connection.response.start_response(status, answered.fields)
            for number, piece in enumerate(pieces, 1):
                written += connection.response.send_body(piece, number < len(pieces))
    except AppMistake:
        finished = False
        if not written:
            written = connection.response.respond(500, [], b"sorry")
            status, pieces, finished = 500, [b"sorry"], True

    read = read_response(written, line.split(" ")[0], line[-3:], ended=True)

    if read is None:
        assert connection.response.short or not finished
        assert not connection.keeps_alive
        return
    response, rest = read
    assert rest == b""
    assert response.status == status
    is_bodiless = response.framing == "none" or status == 205
    assert response.body == (b"" if is_bodiless else b"".join(pieces)) or not finished
    assert response.closes or connection.keeps_alive or not finished


# ── for as long as one likes ──

PROPERTIES: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], None]]] = {
    **{name: (sendings(source), check_sent) for name, source in SOURCES.items()},
    "responses": (ANSWERINGS, check_answered),
}
"""What makes examples, and what has to hold for each."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A property that does not hold: the smallest input that shows it, and how."""

    name: str
    input: object
    error: BaseException


def try_property(name: str, number: int, examples: int, *, shrink: bool = True) -> Failure | None:
    """Try one property with so many examples, the same ones for the same `number`."""
    strategy, check = PROPERTIES[name]
    last: list[object] = []

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(strategy)
    def attempt(example: object) -> None:
        last[:] = [example]
        check(example)

    try:
        attempt()
    except Exception as error:
        return Failure(name, last[0], error)  # the smallest one is tried last
    return None


def make_examples(source: st.SearchStrategy[bytes], number: int, count: int) -> list[bytes]:
    """Up to so many different examples, the same ones for the same `number`, to be checked elsewhere."""
    made: dict[bytes, None] = {}

    @seed(number)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(source)
    def collect(example: bytes) -> None:
        made[example] = None

    collect()
    return list(made)


def report(failure: Failure) -> str:
    """The failure for people, with a case to put into the corpus."""
    what = f"{type(failure.error).__name__}: {failure.error}"
    frames = traceback.extract_tb(failure.error.__traceback__)
    ours = [frame for frame in frames if "hypothesis" not in frame.filename][-2:]
    lines = [
        f"{failure.name}: {what}",
        *(f"  {frame.filename}:{frame.lineno}: {frame.line}" for frame in ours),
    ]
    if isinstance(failure.input, Sent):
        lines += [
            "in these pieces:",
            f"  {failure.input.pieces!r}",
            "as a case, with today's verdict to be judged:",
        ]
        lines.append(as_case(failure.input))
    else:
        lines += ["with:", f"  {failure.input!r}"]
    return "\n".join(lines)


def as_case(sent: Sent) -> str:
    """The source of a case of the corpus with these bytes, and what comes of them today."""
    outcome: Outcome | None = None
    try:
        outcome = run([sent.data], sent.eof, sent.limits)
    except Exception as error:  # then that is the defect
        verdict = f"400,  # {type(error).__name__}: {error}"
    else:
        verdict = f"{outcome.then}," if isinstance(outcome.then, int) else ""
    served = outcome.requests if outcome else ()
    kind = "refused" if verdict else "accepted"
    lines = [f"{kind}(", '    "say what it is",', '    "RFC …, or the attack",', f"    {sent.data!r},"]
    if verdict:
        lines.append(f"    {verdict}")
    lines += [f"    {_as_request(seen)}," for seen in served]
    if outcome and not isinstance(outcome.then, int):
        lines.append(f"    then={outcome.then.name},")
    if sent.eof:
        lines.append("    eof=True,")
    if sent.limits == SMALL:
        lines.append("    limits=SMALL,")
    return "\n".join([*lines, ")"])


def _as_request(seen: Seen) -> str:
    line = f"{seen.method} {seen.target.decode('latin-1')} HTTP/{seen.version}"
    given = {
        "body": (seen.body, b""),
        "length": (seen.length, 0),
        "raw_path": (seen.raw_path.decode(), line.split(" ")[1].partition("?")[0]),
        "path": (seen.path, seen.raw_path.decode()),
        "query": (seen.query.decode(), line.split(" ")[1].partition("?")[2]),
        "expects_continue": (seen.expects_continue, False),
        "upgrade": (seen.upgrade, b""),
        "cut": (seen.cut, False),
    }
    rest = "".join(f", {name}={value!r}" for name, (value, usual) in given.items() if value != usual)
    return f"Request({line!r}{rest})"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance.fuzz", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    deadline = time.monotonic() + options.seconds
    rounds = 0
    while time.monotonic() < deadline:
        for name in PROPERTIES:
            failure = try_property(name, options.seed + rounds, ROUND)
            if failure is not None:
                print(report(failure))
                return 1
        rounds += 1
    print(f"{rounds * ROUND * len(PROPERTIES)} examples, and nothing found")
    return 0


if __name__ == "__main__":
    sys.exit(main())

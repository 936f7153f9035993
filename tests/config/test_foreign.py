"""The flags of other servers: each has a meaning here, or an answer."""

from collections import Counter

import pytest

from appserve.config.foreign import FOREIGN, ForeignFlag, translate
from appserve.config.settings import BY_NAME, ROWS
from tests.config.flags_of_others import ALL

OURS = {flag for row in ROWS for flag in (*row.flags, row.off_flag)}
ACTIONS = {"-h", "--help", "-v", "--version", "--check-config", "--print-config"}
FLAGS = [flag for row in FOREIGN for flag in row.flags]

EXAMPLES = {
    "BYTES": "65536",
    "FIELDS": "x-forwarded-for",
    "MILLISECONDS": "2000",
    "NUMBER": "5",
    "PEER": "10.0.0.7",
    "SECONDS": "5",
    "VERSION": "tls1.3",
    "ADDRESS": "*:8080",
    "LOOP": "uvloop",
    "WHEN": "off",
}


@pytest.mark.parametrize("server", ALL)
def test_every_flag_of_a_server_is_known(server: str):
    unknown = [flag for flag in ALL[server].split() if flag not in OURS | ACTIONS | set(FLAGS)]

    assert unknown == []


def test_a_flag_has_one_meaning():
    assert [flag for flag, count in Counter(FLAGS).items() if count > 1] == []
    assert OURS.isdisjoint(FLAGS)


@pytest.mark.parametrize("row", FOREIGN, ids=lambda row: row.flags[0])
def test_a_row_sets_a_value_that_is_accepted_or_says_why_not(row: ForeignFlag):
    assert bool(row.sets) != bool(row.says)
    assert row.servers
    if row.sets and row.flags[0] not in ("--host", "--port"):
        text = EXAMPLES.get(row.metavar, "/some/path") if row.metavar else ""
        found = translate({row.flags[0]: (text,)}, {}, "8000")
        assert (found.problems, found.warnings) == ([], [])
        for given in found.arguments[row.sets]:
            BY_NAME[row.sets].kind.read(given)


@pytest.mark.parametrize(
    ("given", "bind"),
    [
        ({"--host": ("0.0.0.0",), "--port": ("80",)}, ("0.0.0.0:80",)),
        ({"--host": ("0.0.0.0",)}, ("0.0.0.0:5000",)),
        ({"--port": ("80",)}, ("127.0.0.1:80",)),
        ({"--host": ("::",), "--port": ("80",)}, ("[::]:80",)),
        ({"--host": ("[::1]",), "--port": ("80",)}, ("[::1]:80",)),
        ({"--host": ("localhost",), "--port": ("80", "81")}, ("localhost:81",)),
        ({"--host": ("",), "--port": ("80",)}, (":80",)),
        ({"--uds": ("/run/shop.sock",)}, ("unix:/run/shop.sock",)),
        ({"--listen": ("127.0.0.1:80", "8080")}, ("127.0.0.1:80", "0.0.0.0:8080")),
    ],
)
def test_an_address_is_written_as_ours(given: dict[str, tuple[str, ...]], bind: tuple[str, ...]):
    found = translate(given, {}, "5000")

    assert (found.arguments, found.problems) == ({"bind": bind}, [])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"--port": ("http",)}, '--port http: "127.0.0.1:http": expected a port'),
        ({"--host": ("::",), "--port": ("70000",)}, '--host :: --port 70000: "[::]:70000": expected a port'),
        ({"--timeout-keep-alive": ("soon",)}, "--timeout-keep-alive soon: expected a number of seconds"),
        ({"--ssl-protocol-min": ("tls1.0",)}, "--ssl-protocol-min tls1.0: expected 1.2 or 1.3"),
    ],
)
def test_a_mistake_names_the_flag_that_was_typed(given: dict[str, tuple[str, ...]], problem: str):
    (found,) = translate(given, {}, "8000").problems

    assert found.startswith(problem)


def test_what_both_say_is_a_problem():
    found = translate({"--port": ("80",), "--timeout-keep-alive": ("5",)}, {"bind": (":1",)}, "8000")

    assert found.problems == ["--port: --bind is given, too; leave one of them out"]
    assert found.arguments == {"keep_alive": ("5",)}


def test_a_flag_without_effect_says_why_and_one_that_is_refused_what_to_use():
    found = translate({"--worker-tmp-dir": ("/dev/shm",), "--daemon": ("",)}, {}, "8000")

    (warning,), (problem,) = found.warnings, found.problems
    assert warning.startswith("--worker-tmp-dir has no effect: ")
    assert problem.startswith("--daemon: ")
    assert "systemd" in problem

import errno
import os
import re
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

import pytest

from appserve.connection.eviction import Evictable
from appserve.errors import Cause
from appserve.http.messages import Limits
from appserve.http.timeouts import LINGER_SILENCE
from appserve.wsgi import connection as module
from appserve.wsgi import runner
from appserve.wsgi.connection import AGAIN, CLOSE, PIPELINED, READ, WRITE
from appserve.wsgi.spool import Quota, Share
from tests.wsgi.talk import GET, Environ, Talk, chunked, echo, head, hello, open_descriptors, post

TalkTo = Callable[..., Talk]
BIG = os.urandom(2 * 1024 * 1024)
OLD = head("GET / HTTP/1.0")


def big(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [BIG]


def status_of(data: bytes) -> list[int]:
    """The codes of the responses that begin in these bytes."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", data)]


# ── requests ──


def test_a_request_is_answered_and_recorded(talk_to: TalkTo):
    talk = talk_to(hello)
    response = talk.ask(head("GET /a?b=c HTTP/1.1", "Host: a", "Referer: r", "User-Agent: u"))

    assert (response.status, response.body) == (200, b"hello")
    assert talk.access.text.startswith("192.0.2.1 - - [")
    assert '"GET /a?b=c HTTP/1.1" 200 5 "r" "u" 0.0' in talk.access.text
    assert talk.row.current_request() == b"GET /a", "no query string in the scoreboard"
    assert talk.counters.requests == 1


def test_the_validator_of_the_standard_library_is_satisfied(talk_to: TalkTo):
    @validator
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"].read(-1)
        for line in environ["wsgi.input"]:
            assert not line
        environ["wsgi.input"].readline()
        environ["wsgi.input"].readlines()
        environ["wsgi.errors"].flush()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [body]

    talk = talk_to(application)
    for request in (
        GET,
        post(b"hello"),
        chunked(b"he", b"llo"),
        post(BIG),
        head("GET / HTTP/1.1", "Host: a"),
    ):
        talk.client.setblocking(True)
        talk.turn()
        assert send_all(talk, request).startswith(b"HTTP/1.1 200 OK")
    assert talk.log.text == ""


def send_all(talk: Talk, data: bytes) -> bytes:
    """Send what does not fit into the kernel at once; gives what came back."""
    talk.push(data)
    return talk.receive()


@pytest.mark.parametrize("body", [b"", b"h", b"hello" * 100, BIG])
@pytest.mark.parametrize("make", [post, chunked])
def test_a_body_is_complete_when_the_application_is_called(
    talk_to: TalkTo, body: bytes, make: Callable[[bytes], bytes]
):
    seen: list[tuple[bytes, str]] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        seen.append((environ["wsgi.input"].read(), environ["CONTENT_LENGTH"]))
        return hello(environ, start_response)

    talk = talk_to(application)
    before = open_descriptors()
    for _ in range(2):
        request = make(body)
        send_all(talk, request[:-1])
        assert (seen, talk.needed) == ([], READ)
        send_all(talk, request[-1:])
        assert seen.pop() == (body, str(len(body)))
    assert open_descriptors() == before
    assert talk.quota._left == 1 << 30, "the quota was not given back"


@pytest.mark.parametrize("body", [b"", b"hello", BIG])
def test_a_decoded_body_has_a_length_and_no_transfer_encoding(talk_to: TalkTo, body: bytes):
    """RFC 9112 §7.1.3; Bottle decodes a body that is said to be chunked, httpbin refuses it."""

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr([environ["CONTENT_LENGTH"], environ.get("HTTP_TRANSFER_ENCODING")]).encode()]

    assert send_all(talk_to(application), chunked(body)).endswith(f"['{len(body)}', None]".encode())


def test_a_body_that_was_not_read_is_not_the_next_request(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.send(post(GET) + chunked(GET) + GET)

    assert [response.body for response in talk.responses("POST", "POST", "GET")] == [b"hello"] * 3


def test_an_application_gets_an_end_and_no_more(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [repr([environ["wsgi.input"].read(n) for n in (3, 100, 100, -1)]).encode()]

    talk = talk_to(application)

    assert talk.ask(post(b"hello"), "POST").body == b"[b'hel', b'lo', b'', b'']"
    assert talk.ask(GET).body == b"[b'', b'', b'', b'']"


def test_the_environ_of_a_request_is_its_own(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        assert "mine" not in environ
        environ["mine"] = environ["HTTP_HOST"] = environ["wsgi.url_scheme"] = "changed"
        return hello(environ, start_response)

    talk = talk_to(application)

    assert {talk.ask().status for _ in range(3)} == {200}


def test_a_log_cannot_be_broken_by_what_an_application_does_to_its_environ(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        environ.update(dict.fromkeys(environ, 5))
        return hello(environ, start_response)

    talk = talk_to(application)
    talk.ask(head("GET /\xe4 HTTP/1.1".replace("\xe4", "%E4"), "Host: a", "User-Agent: \xe4"))

    assert r'"-" "\xe4" 0.0' in talk.access.text


# ── Expect ──

EXPECTING = head("POST / HTTP/1.1", "Host: a", "Content-Length: 5", "Expect: 100-continue")


def test_100_continue_is_sent_when_the_client_waits(talk_to: TalkTo):
    talk = talk_to(echo)
    talk.send(EXPECTING)

    assert talk.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.send(b"hello")
    (response,) = talk.responses("POST")
    assert (response.body, response.closes) == (b"hello", False)


def test_100_continue_is_not_sent_when_the_body_is_here(talk_to: TalkTo):
    talk = talk_to(echo)
    talk.send(EXPECTING + b"h")
    assert talk.receive() == b""
    talk.send(b"ello")

    assert talk.responses("POST")[0].body == b"hello"


def test_100_continue_is_not_sent_for_a_body_that_is_refused(talk_to: TalkTo):
    talk = talk_to(echo, limits=Limits(body=4))
    talk.send(EXPECTING)

    assert status_of(talk.receive()) == [413]


def test_a_client_that_leaves_instead_of_sending_its_body_is_recorded(talk_to: TalkTo):
    talk = talk_to(echo)
    talk.client.sendall(EXPECTING)
    talk.client.close()

    assert talk.turn() is CLOSE
    assert '"POST / HTTP/1.1" 499 0' in talk.access.text
    assert talk.counters.aborted == 1


# ── refusals ──


def test_a_request_that_is_refused_is_recorded(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.send(b"GET / HTTP/3.0\r\n\r\n")
    data = talk.receive()

    assert status_of(data) == [505]
    body = data.partition(b"\r\n\r\n")[2]
    assert f'"GET / HTTP/3.0" 505 {len(body)} "-" "-"' in talk.access.text
    assert talk.log.text.endswith(
        "INFO     refused a request from 192.0.2.1: 505 unsupported HTTP version: only 1.1 and 1.0 "
        "(RFC 9110 §15.6.6)\n"
    )
    assert (talk.counters.requests, talk.counters.responses[5]) == (1, 1)


def test_good_requests_before_a_bad_one_are_answered(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.send(GET + post(b"a") + b"nonsense\r\n\r\n" + GET)

    assert status_of(talk.receive()) == [200, 200, 400]
    assert talk.has_ended


def test_a_body_over_the_limit_is_413_without_a_call(talk_to: TalkTo):
    for request in (post(b"12345"), chunked(b"123", b"45")):
        talk = talk_to(echo, limits=Limits(body=4))
        talk.send(request)

        assert status_of(talk.receive()) == [413]
        assert '"POST / HTTP/1.1" 413 ' in talk.access.text
        assert echo_is_called_for(talk, post(b"1234")) is False


def echo_is_called_for(talk: Talk, request: bytes) -> bool:
    """Whether a further request is answered; after a refusal it is not."""
    try:
        talk.send(request)
    except OSError:
        return False
    return b"200 OK" in talk.receive()


def crowded(size: int) -> Quota:
    """A quota of which others have taken so much that there is no room for `size` bytes."""
    quota = Quota(100 * size)
    while quota._left >= 2 * size:
        Share(quota).take(size // 10)
    return quota


def test_a_body_for_which_there_is_no_room_now_is_503(talk_to: TalkTo):
    quota = crowded(len(BIG) // 2)
    left = quota._left
    talk = talk_to(echo, quota=quota)
    before = open_descriptors()

    assert status_of(send_all(talk, post(BIG)[:-1000])) == [503]
    assert '"POST / HTTP/1.1" 503 ' in talk.access.text
    assert open_descriptors() == before
    assert quota._left == left


@pytest.mark.parametrize("expects", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_for_which_there_never_is_room_is_413_before_it_comes(talk_to: TalkTo, expects: bytes):
    talk = talk_to(echo, quota=Quota(1_000_000))
    talk.send(b"POST / HTTP/1.1\r\nHost: a\r\n%bContent-Length: 250001\r\n\r\n" % expects)

    answer = talk.receive()
    assert status_of(answer) == [413]
    assert b"--limit-spool" in answer
    assert '"POST / HTTP/1.1" 413 ' in talk.access.text


@pytest.mark.parametrize(("size", "status"), [(1_000_001, 413), (1_000_000, 503)])
def test_a_chunked_body_over_the_limit_is_413_though_there_is_no_room(
    talk_to: TalkTo, size: int, status: int
):
    talk = talk_to(echo, quota=crowded(500_000), limits=Limits(body=1_000_000))
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in pieces_of(size, 30_000)) + b"0\r\n\r\n"
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert status_of(send_all(talk, head + body)) == [status]
    assert f'"POST / HTTP/1.1" {status} ' in talk.access.text


def pieces_of(size: int, longest: int) -> Iterator[bytes]:
    return (bytes(min(longest, size - start)) for start in range(0, size, longest))


@pytest.mark.parametrize("request_bytes", [post(b"hello"), chunked(b"hello")])
def test_a_body_cut_short_is_400_without_a_call(talk_to: TalkTo, request_bytes: bytes):
    talk = talk_to(echo)
    talk.send(request_bytes[:-1])
    talk.end()

    assert status_of(talk.receive()) == [400]
    assert talk.needed is CLOSE
    assert '"POST / HTTP/1.1" 400 ' in talk.access.text


def test_a_body_that_is_broken_off_is_recorded(talk_to: TalkTo):
    talk = talk_to(echo)
    talk.send(post(b"hello")[:-1])
    before = open_descriptors()

    assert talk.leave() is CLOSE
    assert len(open_descriptors()) == len(before) - 2
    assert " 400 " in talk.access.text


def test_a_large_body_that_is_broken_off_leaves_nothing_behind(talk_to: TalkTo):
    talk = talk_to(echo)
    before = open_descriptors()
    send_all(talk, post(BIG)[:-1])
    assert len(open_descriptors()) == len(before) + 1
    talk.end()

    assert status_of(talk.receive()) == [400]
    assert len(open_descriptors()) == len(before) - 1
    assert talk.quota._left == 1 << 30


# ── pipelining, half-close ──


def test_a_turn_is_bounded_and_goes_on(talk_to: TalkTo):
    talk = talk_to(hello)
    count = 2 * PIPELINED + 3
    talk.client.sendall(GET * count)

    needed = [talk.connection.on_readable()]
    while needed[-1] is AGAIN:
        needed.append(talk.connection.proceed())
    assert needed == [AGAIN, AGAIN, READ]
    assert len(talk.responses(*["GET"] * count)) == count


def test_exactly_one_turn_of_requests_needs_no_other(talk_to: TalkTo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "LONG", 10**12)
    talk = talk_to(hello)
    talk.client.sendall(GET * PIPELINED)

    assert talk.connection.on_readable() is READ
    assert len(talk.responses(*["GET"] * PIPELINED)) == PIPELINED


def test_after_a_long_call_other_connections_have_their_turn(
    talk_to: TalkTo, monkeypatch: pytest.MonkeyPatch
):
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        time.sleep(0.002)
        return hello(environ, start_response)

    monkeypatch.setattr(runner, "LONG", 0)
    talk = talk_to(application)
    talk.client.sendall(GET * 3)

    assert [talk.connection.on_readable(), talk.connection.proceed()] == [AGAIN, AGAIN]
    assert talk.connection.proceed() is READ
    assert len(talk.responses(*["GET"] * 3)) == 3


def test_mixed_requests_in_one_packet_are_answered_in_order(talk_to: TalkTo):
    talk = talk_to(echo)
    talk.send(post(b"1") + GET + chunked(b"2", b"3") + head("HEAD / HTTP/1.1", "Host: a") + post(b"4"))

    bodies = [response.body for response in talk.responses("POST", "GET", "POST", "HEAD", "POST")]
    assert bodies == [b"1", b"", b"23", b"", b"4"]


def test_a_client_that_ends_its_side_still_gets_its_answers(talk_to: TalkTo):
    talk = talk_to(big, small=True)
    talk.client.sendall(GET * 3)
    talk.end()

    assert [response.body == BIG for response in talk.responses(*["GET"] * 3)] == [True] * 3
    assert talk.has_ended
    assert talk.needed is CLOSE


@pytest.mark.parametrize("last", [OLD, head("GET / HTTP/1.1", "Host: a", "Connection: close")])
def test_after_its_last_request_a_client_is_not_waited_for(talk_to: TalkTo, last: bytes):
    talk = talk_to(hello)

    assert talk.send(last) is CLOSE
    assert status_of(talk.receive()) == [200]


# ── the end ──


def closing(environ: Environ, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Length", "5"), ("Connection", "close")])
    return [b"hello"]


def test_a_client_that_may_be_sending_is_not_reset_under_its_response(talk_to: TalkTo):
    talk = talk_to(closing)
    talk.client.sendall(GET)
    talk.turn()
    assert talk.needed is READ
    assert talk.connection.lingers
    for _ in range(10):
        talk.send(GET * 100)

    assert status_of(talk.receive()) == [200], "what comes later is read and dropped"
    assert talk.has_ended
    assert talk.end() is CLOSE


def test_lingering_has_an_end(talk_to: TalkTo):
    talk = talk_to(closing)
    talk.send(GET)
    assert status_of(talk.receive()) == [200]
    assert not talk.connection.is_expired(0.0)
    talk.send(b"more")
    assert not talk.connection.is_expired(1.0)
    assert not talk.connection.is_expired(1.0 + LINGER_SILENCE)

    assert talk.connection.is_expired(1.1 + LINGER_SILENCE)
    assert talk.expire() is CLOSE
    assert talk.counters.timeouts == 0, "its response is complete"


def test_a_last_response_that_the_kernel_holds_may_be_read_as_slowly_as_any_other(talk_to: TalkTo):
    talk = talk_to(closing, stall=50.0)
    talk.send(GET)
    assert talk.connection.lingers
    assert not talk.connection.is_expired(0.0)
    assert not talk.connection.is_expired(50.0)

    assert talk.connection.is_expired(50.1)
    assert talk.expire() is CLOSE
    assert talk.counters.timeouts == 1


def test_a_client_that_resets_while_we_linger_is_forgotten(talk_to: TalkTo):
    talk = talk_to(closing)
    talk.send(GET)
    talk.client.close()

    assert talk.turn() is CLOSE


def test_a_connection_that_is_gone_already_does_not_linger(talk_to: TalkTo, monkeypatch: pytest.MonkeyPatch):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        return closing(environ, start_response)

    talk = talk_to(application)
    talk.client.sendall(GET)

    class Gone:
        def __getattr__(self, name: str) -> Any:
            return getattr(server, name)

        def shutdown(self, how: int) -> None:
            raise OSError(errno.ENOTCONN, "gone")

    server = talk.connection.socket
    talk.connection.socket = Gone()  # type: ignore[assignment]

    assert talk.connection.on_readable() is CLOSE


# ── the application fails ──


def failing(environ: Environ, start_response: Any) -> list[bytes]:
    raise ValueError("a mistake")


def test_an_application_that_raises_is_a_500_and_logged(talk_to: TalkTo):
    talk = talk_to(failing)
    for request, method in ((GET, "GET"), (post(b"a"), "POST"), (GET, "GET")):
        response = talk.ask(request, method)
        assert (response.status, response.body, response.closes) == (500, b"Internal Server Error\n", False)

    assert talk.log.text.count("application error in ") == 3
    assert "ValueError: a mistake" in talk.log.text
    assert "appserve/wsgi" not in talk.log.text, "our frames are of no use to the application's author"
    assert talk.access.text.count(" 500 22 ") == 3
    assert talk.counters.app_errors == 3


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), RecursionError()])
def test_no_exception_of_an_application_ends_more_than_its_request(talk_to: TalkTo, error: BaseException):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        raise error

    talk = talk_to(application)

    assert [talk.ask().status for _ in range(2)] == [500, 500]
    assert talk.log.text.count(f"application error in GET /: it raised {type(error).__name__}") == 2


def test_an_error_that_cannot_be_shown_is_a_500_too(talk_to: TalkTo):
    class Nasty(Exception):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        raise Nasty

    assert talk_to(application).ask().status == 500


def half_of(*headers: tuple[str, str]) -> Callable[[Environ, Any], Iterator[bytes]]:
    def application(environ: Environ, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", list(headers))
        yield b"half"
        raise ValueError("a mistake")

    return application


@pytest.mark.parametrize("headers", [(), (("Content-Length", "8"),)])
def test_a_response_that_breaks_off_is_detectable_by_the_client(talk_to: TalkTo, headers: Any):
    talk = talk_to(half_of(*headers))
    talk.send(GET + GET)
    data = talk.receive()

    assert status_of(data) == [200]
    assert b"half" in data
    assert not data.endswith(b"0\r\n\r\n")
    assert talk.has_ended
    assert ' 200 4 "' in talk.access.text


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    server.setblocking(False)
    client.settimeout(10)
    return client, server


class TcpTalk(Talk):
    """A talk over TCP, which alone knows resets."""

    def __init__(self, application: Any, **settings: Any) -> None:
        super().__init__(application, **settings)
        self.client.close()
        self.connection.close()
        self.client, server = tcp_pair()
        self.connection = module.WsgiConnection(self.service, server, ("127.0.0.1", 1), ("127.0.0.1", 2))

    def end_of_stream(self) -> str:
        """How the connection ends for the client, after whatever came before."""
        try:
            while self.client.recv(1 << 16):
                pass
        except ConnectionResetError:
            return "reset"
        return "end"


@pytest.fixture
def tcp_to() -> Iterator[TalkTo]:
    talks: list[TcpTalk] = []

    def make(application: Any, **settings: Any) -> TcpTalk:
        talks.append(TcpTalk(application, **settings))
        return talks[-1]

    yield make
    for talk in talks:
        talk.close()


def test_a_body_that_only_the_connection_ends_is_reset_when_it_breaks_off(tcp_to: Callable[..., TcpTalk]):
    cut, whole = tcp_to(half_of()), tcp_to(lambda environ, start: (start("200 OK", []), iter([b"half"]))[1])
    for talk in (cut, whole):
        talk.client.sendall(OLD)
        select.select([talk.connection.socket], [], [], 10)
        talk.turn()
        assert talk.needed is CLOSE

    assert (cut.end_of_stream(), whole.end_of_stream()) == ("reset", "end")


def test_a_response_that_fails_in_its_close_is_whole(tcp_to: Callable[..., TcpTalk]):
    class Failing:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"whole"])

        def close(self) -> None:
            raise ValueError("in close")

    talk = tcp_to(lambda environ, start: (start("200 OK", []), Failing())[1])
    talk.client.sendall(OLD)
    select.select([talk.connection.socket], [], [], 10)
    talk.turn()

    assert talk.end_of_stream() == "end"


def test_a_response_that_is_cut_by_the_end_of_the_worker_is_reset(tcp_to: Callable[..., TcpTalk]):
    talk = tcp_to(lambda environ, start: (start("200 OK", []), [BIG * 8])[1])
    talk.client.sendall(OLD)
    select.select([talk.connection.socket], [], [], 10)
    assert talk.turn() is WRITE
    talk._act(CLOSE)

    assert talk.end_of_stream() == "reset"


# ── the client leaves ──


def test_a_client_that_leaves_while_the_application_runs_is_no_error(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        talk.client.close()
        return hello(environ, start_response)

    talk = talk_to(application)

    assert talk.send(GET) is CLOSE
    assert talk.log.text == ""
    assert '"GET / HTTP/1.1" 499 ' in talk.access.text
    assert (talk.counters.aborted, talk.counters.requests) == (1, 1)


def test_an_application_may_ignore_that_the_client_left(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        talk.client.close()
        for _ in range(3):
            with pytest.raises(Exception):  # noqa: B017  an OSError first, then a mistake
                write(b"hello")
        return []

    talk = talk_to(application)

    assert talk.send(GET) is CLOSE
    assert talk.log.text == ""
    assert " 499 " in talk.access.text


def test_a_client_that_left_gets_no_apology(talk_to: TalkTo):
    def application(environ: Environ, start_response: Any) -> list[bytes]:
        talk.client.close()
        raise ValueError("a mistake")

    talk = talk_to(application)

    assert talk.send(GET) is CLOSE
    assert "ValueError: a mistake" in talk.log.text
    assert " 499 " in talk.access.text
    assert talk.row.stall_reference_ns == 0, "the scoreboard shows an application that is busy for ever"


def test_a_client_that_left_before_its_refusal_is_no_error(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.client.sendall(b"nonsense\r\n\r\n")
    talk.client.close()

    assert talk.turn() is CLOSE
    assert "refused a request from" in talk.log.text
    assert "ERROR" not in talk.log.text


def test_a_reset_is_no_error_in_any_phase(tcp_to: Callable[..., TcpTalk]):
    phases = [
        b"",
        b"GET /",
        GET,
        post(b"hello")[:-2],
        post(BIG)[:300_000],
        EXPECTING,
        GET * 40,
        b"nonsense\r\n\r\n",
    ]
    for application in (hello, big):
        for sent in phases:
            talk = tcp_to(application)
            talk.push(sent)
            talk.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            talk.client.close()
            poll = select.poll()
            poll.register(talk.connection.socket, 0)
            if talk.needed is not CLOSE:
                assert poll.poll(10_000), "the reset has not arrived"
            while talk.needed is not CLOSE:
                talk.turn()

            assert [line for line in talk.log.text.splitlines() if "refused a request" not in line] == []


# ── slow readers ──


def test_a_reader_that_takes_its_time_costs_the_application_none(talk_to: TalkTo):
    talk = talk_to(big, small=True)

    assert talk.send(GET) is WRITE
    assert talk.counters.calls == 1, "the application is done"
    assert (talk.counters.requests, talk.access.text) == (0, ""), "and the request is not"
    assert talk.row.stall_reference_ns == 0
    assert not talk.connection.is_idle
    assert talk.responses("GET")[0].body == BIG
    assert '"GET / HTTP/1.1" 200 2097152 ' in talk.access.text
    assert talk.needed is READ
    assert talk.connection.is_idle


def test_what_was_sent_behind_a_slow_response_is_answered_after_it(talk_to: TalkTo):
    talk = talk_to(big, small=True)
    talk.client.sendall(GET * 3)
    assert talk.turn() is WRITE
    assert talk.counters.calls == 1

    assert len(talk.responses(*["GET"] * 3)) == 3
    assert talk.counters.requests == 3


def test_a_refusal_waits_behind_nothing_and_is_complete(talk_to: TalkTo):
    talk = talk_to(big, small=True)
    talk.client.sendall(GET + b"nonsense\r\n\r\n")
    talk.turn()
    data = talk.receive()

    assert status_of(data.replace(BIG, b"")) == [200, 400]


def sent_bytes(talk: Talk, status: int) -> int:
    """How much of a body was sent, by the access log."""
    match = re.search(rf'" {status} ([0-9]+) ', talk.access.text)
    assert match is not None
    return int(match[1])


def test_a_reader_that_leaves_is_forgotten(talk_to: TalkTo):
    talk = talk_to(big, small=True)
    before = open_descriptors()
    assert talk.send(GET) is WRITE
    assert len(open_descriptors()) == len(before) + 1, "the spool"

    assert talk.leave() is CLOSE
    talk._access_log.flush()
    assert 0 < sent_bytes(talk, 499) < len(BIG), "what it has not taken is not recorded as sent"
    assert talk.counters.aborted == 1
    assert len(open_descriptors()) == len(before) - 2
    assert talk.quota._left == 1 << 30
    assert talk.log.text == ""


def test_a_stalled_reader_that_the_application_waits_for_is_aborted(talk_to: TalkTo):
    quota = Quota(0)
    talk = talk_to(big, small=True, quota=quota, stall=0.01)

    assert talk.send(GET) is CLOSE
    assert " 499 " in talk.access.text
    assert talk.log.text == ""


@pytest.mark.parametrize("outcome", ["a list", "a generator", "an error"])
def test_a_worker_that_begins_to_leave_during_a_call_says_so_in_its_answer(talk_to: TalkTo, outcome: str):
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        talk.service.keep_alive.closes = True
        if outcome == "an error":
            raise ValueError("a mistake")
        start_response("200 OK", [])
        return [b"hello"] if outcome == "a list" else iter([b"hel", b"lo"])

    talk = talk_to(application)

    assert talk.ask().closes


# ── making room ──


@pytest.mark.parametrize(
    ("before", "since", "kept"),
    [
        *((b"", b"", False), (b"", GET, True), (b"", GET[:9], True)),
        *((GET[:9], b"", False), (GET[:9], GET[9:15], False), (GET[:9], GET[9:], True)),
    ],
)
def test_it_makes_room_unless_what_it_waits_for_has_come_in(
    talk_to: TalkTo, before: bytes, since: bytes, kept: bool
):
    """It came while the application had the thread, and nothing of it was looked at."""
    talk = talk_to(echo)
    talk.client.sendall(before)
    talk.turn()
    talk.client.sendall(since)

    assert talk.connection.make_room() is (AGAIN if kept else CLOSE)


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        *((b"", None), (GET, Evictable.IDLE), (GET[:9], Evictable.HEAD), (GET + GET[:9], Evictable.HEAD)),
        *((post(b"hello")[:-1], None), (post(b"hello")[:-5], None)),
    ],
)
def test_only_what_has_no_request_may_be_closed_for_others(
    talk_to: TalkTo, sent: bytes, kind: Evictable | None
):
    talk = talk_to(echo)
    talk.client.sendall(sent)
    talk.turn()

    found = talk.connection.evictable(time.monotonic_ns())
    assert (found and found[0]) == kind


# ── deadlines ──


def overdue_at(talk: Talk, start: float, seconds: float) -> bool:
    """Whether the connection is overdue `seconds` after `start`; it is looked at once before."""
    talk.connection.is_expired(start)
    return talk.connection.is_expired(start + seconds)


@pytest.mark.parametrize(
    ("sent", "allowed"),
    [(b"", 30), (GET, 75), (b"G", 30), (GET[:-1], 30), (GET + b"GET", 30), (post(b"hello")[:-1], 60)],
)
def test_each_wait_has_its_timeout(talk_to: TalkTo, sent: bytes, allowed: float):
    talk = talk_to(hello)
    talk.send(sent)

    assert not overdue_at(talk, 100.0, allowed)
    assert overdue_at(talk, 100.0, allowed + 0.1)


def test_a_head_that_trickles_is_late_and_a_body_that_trickles_is_not(talk_to: TalkTo):
    head_first, body_first = talk_to(hello), talk_to(hello)
    for talk, sent in ((head_first, GET), (body_first, post(b"a" * 100))):
        talk.send(sent[:20] if talk is head_first else sent[:-50])
        talk.connection.is_expired(0.0)
        talk.send(sent[20:22] if talk is head_first else sent[-50:-40])

    assert head_first.connection.is_expired(31.0)
    assert not body_first.connection.is_expired(61.0)


def test_a_reader_that_takes_nothing_is_late(talk_to: TalkTo):
    talk = talk_to(big, small=True, stall=50.0)
    talk.send(GET)

    assert not overdue_at(talk, 0.0, 50.0)
    talk.client.recv(100_000)
    talk.turn()
    assert not talk.connection.is_expired(50.1)
    assert overdue_at(talk, 51.0, 50.1)
    assert talk.expire() is CLOSE
    assert talk.counters.timeouts == 1


def test_a_reader_that_takes_too_little_to_make_room_in_the_kernel_is_not_late(talk_to: TalkTo):
    talk = talk_to(big, stall=50.0)
    talk.send(GET)
    sent = talk.connection._outbox.taken
    talk.connection.is_expired(0.0)
    talk.client.recv(50_000)

    assert talk.turn() is WRITE
    assert talk.connection._outbox.taken == sent, "this shows nothing: there was room"
    assert not talk.connection.is_expired(50.1)
    assert talk.connection.is_expired(100.2)


def test_an_idle_connection_is_closed_without_a_word(talk_to: TalkTo):
    for sent in (b"", GET):
        talk = talk_to(hello)
        talk.send(sent)
        talk.receive()

        assert talk.expire() is CLOSE
        assert talk.receive() == b""
        assert talk.access.text.count("\n") == len(sent) // len(GET)
        assert talk.counters.timeouts == 1


@pytest.mark.parametrize(
    ("sent", "line"),
    [
        (b"HEAD", "HEAD"),
        (GET[:-1], "GET / HTTP/1.1"),
        (post(b"hello")[:-1], "POST / HTTP/1.1"),
        (post(BIG)[:600_000], "POST / HTTP/1.1"),
    ],
)
def test_a_request_that_does_not_arrive_is_408(talk_to: TalkTo, sent: bytes, line: str):
    talk = talk_to(hello)
    before = open_descriptors()
    send_all(talk, sent)

    assert talk.expire() is READ
    assert status_of(talk.receive()) == [408]
    assert talk.has_ended
    assert talk.connection.lingers
    assert f'"{line}" 408 ' in talk.access.text
    assert talk.counters.timeouts == 1
    assert open_descriptors() == before
    assert talk.send(b"\r\n\r\n") is READ
    assert talk.receive() == b""


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (b"", GET, [200]),
        (GET[:10], GET[10:], [200]),
        (post(b"hello")[:-2], b"lo", [200]),
        (b"", GET[:10], []),
        (post(b"hello")[:-2], b"l", []),
        (GET[:10], b"\x00", [400]),
    ],
)
def test_what_came_while_the_application_had_the_thread_is_not_late(
    talk_to: TalkTo, first: bytes, then: bytes, expected: list[int]
):
    talk = talk_to(hello)
    talk.send(first)
    talk.client.sendall(then)
    talk.expire()

    assert status_of(talk.receive()) == expected
    assert talk.needed is READ
    assert talk.counters.timeouts == 0


def test_an_unread_request_is_served_before_an_idle_connection_is_closed(talk_to: TalkTo):
    talk = talk_to(hello)
    assert talk.connection.is_idle
    talk.client.sendall(GET)
    assert talk.connection.is_idle, "as far as we know"
    talk.connection.close_after_response()

    assert talk.connection.close_idle() is AGAIN
    assert talk.connection.proceed() is READ
    assert status_of(talk.receive()) == [200]
    assert talk.connection.lingers


def test_an_idle_connection_is_left_at_once(talk_to: TalkTo):
    assert talk_to(hello).connection.close_idle() is CLOSE


def test_the_last_response_says_so(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.connection.close_after_response()
    talk.send(GET)
    (response,) = talk.responses("GET")

    assert response.closes
    assert talk.has_ended


# ── processes of the application ──


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_the_application_forked_sends_no_response(talk_to: TalkTo):
    pids: list[int] = []

    def application(environ: Environ, start_response: Any) -> list[bytes]:
        pid = os.fork()
        if pid == 0:
            talk.connection.disown()
            if environ["PATH_INFO"] == "/exit":
                sys.exit(7)
        pids.append(pid)
        return hello(environ, start_response)

    talk = talk_to(application)
    for path, code in (("/exit", 7), ("/return", 0)):
        response = talk.ask(head(f"GET {path} HTTP/1.1", "Host: a"))
        assert (response.status, response.body) == (200, b"hello")
        assert os.waitstatus_to_exitcode(os.waitpid(pids.pop(), 0)[1]) == code
    assert talk.log.text == ""


# ── impossible ──


def test_a_refusal_by_an_outbox_that_waits_is_written_later(talk_to: TalkTo, monkeypatch: pytest.MonkeyPatch):
    """A refusal that the kernel does not take at once is not lost."""

    def busy(data: bytes) -> int:
        raise BlockingIOError

    talk = talk_to(hello)
    send = talk.connection._outbox._send
    talk.connection._outbox._send = busy
    talk.client.sendall(b"nonsense\r\n\r\n")
    assert talk.connection.on_readable() is WRITE
    talk.connection._outbox._send = send

    talk.needed = WRITE
    assert status_of(talk.receive()) == [400]


def test_is_readable_without_data_is_no_event(talk_to: TalkTo):
    talk = talk_to(hello)

    assert talk.connection.on_readable() is READ


def test_an_unknown_error_of_a_socket_is_the_end_of_its_client(talk_to: TalkTo):
    def fail(size: int) -> bytes:
        raise TimeoutError(errno.ETIMEDOUT, "no answer")

    talk = talk_to(hello)
    talk.connection._recv = fail  # type: ignore[method-assign]

    assert talk.connection.on_readable() is CLOSE


def test_a_refusal_is_logged_and_counted_by_its_cause(talk_to: TalkTo):
    talk = talk_to(hello, peer="")
    talk.send(b"nonsense\r\n\r\n")

    assert "INFO     refused a request from a local client: 400 malformed request line" in talk.log.text
    assert talk.row.totals().refusals[Cause.SYNTAX] == sum(talk.row.totals().refusals) == 1


def test_a_client_that_is_too_slow_is_counted_as_refused(talk_to: TalkTo):
    talk = talk_to(hello)
    talk.send(GET[:-2])
    talk.connection.expire()

    assert "refused a request from 192.0.2.1: 408 " in talk.log.text
    assert talk.row.totals().refusals[Cause.TIMEOUT] == 1

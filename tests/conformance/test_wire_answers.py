"""The response side of the corpus from real applications, on every worker class and transport.

What a client reads is what test_responses.py says, where the interface lets an application say it. A mistake
that could be reported before anything was sent is a 500 here, and another is a connection that ends.
"""

from collections.abc import Iterator

import pytest

from tests.conformance.answer import Answer, Mistake
from tests.conformance.answering import LARGE, LARGE_SHAPES
from tests.conformance.case import CLOSES, DEFAULT
from tests.conformance.client import Client
from tests.conformance.core import DATE_FIELDS
from tests.conformance.corpus import ANSWERS
from tests.conformance.faults import Faults
from tests.conformance.served import KINDS, Servers, servers
from tests.conformance.streams import Address, Stream
from tests.conformance.wire import Response, read_response

pytestmark = pytest.mark.integration

SANE = [answer.name for answer in ANSWERS].index("a 404 with a body")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with servers(tmp_path_factory.mktemp("answering"), "answering", errors=True) as started:
        yield started


@pytest.mark.parametrize(("worker", "transport"), KINDS)
def test_answers(worker: str, transport: str, served: Servers):
    address = served.address(worker, DEFAULT, transport)
    with Faults() as faults:
        for number, answer in enumerate(ANSWERS):
            with faults.of(answer.name):
                check_answer(answer, number, address)


def check_answer(answer: Answer, number: int, address: Address) -> None:
    """Assert that a client reads what the application of this number was to say."""
    client = Client(address)
    try:
        client.send(answer.request.replace(b" / ", b" /%d " % number, 1))
        method, _, version = answer.request.partition(b"\r\n")[0].decode().split()
        if answer.framing == "short" or answer.mistake is Mistake.BODY:
            check_broken_off(answer, client)
            return
        response = client.read_response(method, version.removeprefix("HTTP/"))
        if answer.mistake is not None:
            assert response.status == 500
        else:
            check_response(answer, response)
        if response.closes:
            client.read_end()
        else:
            check_goes_on(client)
    finally:
        client.close()


def check_response(answer: Answer, response: Response) -> None:
    assert (answer.status, answer.received) == (response.status, response.body)
    # One piece may be all that there is, and is known before the head is sent: then it has a length.
    assert response.framing in ({answer.framing, "length"} if one_piece(answer) else {answer.framing})
    if response.framing == answer.framing:
        assert (answer.then is CLOSES) == response.closes
        for name, values in answer.has:
            if name in {b"date", b"server"}:
                ours = [value for value in values if value in DATE_FIELDS.date_server]
                assert len(values) == len(response.values(name))
                assert ours or list(values) == response.values(name)
            else:
                assert (name, list(values)) == (name, response.values(name))


def one_piece(answer: Answer) -> bool:
    return isinstance(answer.body, tuple) and len([piece for piece in answer.body if piece]) <= 1


def check_broken_off(answer: Answer, client: Client) -> None:
    """Not more than was announced is read, and then the connection ends."""
    data = client.read_all()
    head, _, body = data.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 500 "):
        return  # it was known before anything was sent
    given = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    announced = int(dict(answer.fields)[b"content-length"])
    assert b"\r\ncontent-length: %d" % announced in head.lower()
    assert len(body) <= announced
    assert given.startswith(body)


def check_goes_on(client: Client) -> None:
    """The connection is good for another request, whose answer is not mixed with the one before."""
    client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % SANE)
    response = client.read_response("GET", "1.1")
    assert (response.status, response.body) == (404, b"none")


@pytest.mark.parametrize(("worker", "transport"), KINDS)
def test_a_large_response_that_is_read_slowly_arrives_whole(worker: str, transport: str, served: Servers):
    """A sync worker is done with its application before the client reads: the rest waits in a spool."""
    address = served.address(worker, DEFAULT, transport)
    other = Client(address)
    for path, (_, has_length) in LARGE_SHAPES.items():
        client = address.connect(small=True)
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        received = bytearray()
        for size in (1, len(LARGE) // 3, len(LARGE)):
            check_goes_on(other)  # so the worker has come to an end with what the client did not read
            while len(received) < size:
                received += receive_more(client)
        end = LARGE[-100:] if has_length else b"\r\n0\r\n\r\n"
        while not received.endswith(end):
            received += receive_more(client)
        read = read_response(bytes(received), "GET")
        assert read is not None
        response, rest = read
        assert (response.status, response.framing, rest) == (200, "length" if has_length else "chunked", b"")
        assert response.body == LARGE
        client.close()
    other.close()


def receive_more(client: Stream) -> bytes:
    data = client.receive()
    assert data, "the response was cut off"
    return data

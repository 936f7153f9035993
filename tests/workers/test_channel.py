"""Messages between a master and a worker, over both kinds of socket."""

import json
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.workers.channel import (
    MESSAGES_PER_TURN,
    TEXT_LIMIT,
    TYPE_OF_KIND,
    VERSION,
    Channel,
    ChannelMessage,
    Failed,
    Listening,
    LogFiles,
    QuitOrder,
    Ready,
    RetireOrder,
    Retiring,
    SiblingDied,
    StopOrder,
    decode,
    encode,
    make_channel_pair,
)

EXAMPLES: list[ChannelMessage] = [
    Ready("wsgi", "sync", "it is a WSGI application", "app:app", "it takes two arguments"),
    Failed(4, "no module", "Traceback …\n  \udc80 \x00 \U0001f600"),
    Listening(),
    RetireOrder(1.0, 25.0),
    StopOrder(1.0, 25.0),
    QuitOrder(2.0),
    Retiring(),
    SiblingDied(),
    LogFiles(access=True, error=False),
]

Pair = tuple[Channel, Channel]


@pytest.fixture(params=["packets", "stream"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    ours, theirs = make_channel_pair(stream=request.param == "stream")
    yield ours, theirs
    ours.close()
    theirs.close()


def receive_all(channel: Channel) -> list[ChannelMessage]:
    messages: list[ChannelMessage] = []
    while received := channel.receive():
        messages += received
    return messages


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_every_message_arrives_as_it_was_sent(pair: Pair, message: ChannelMessage) -> None:
    ours, theirs = pair

    assert theirs.send(message)
    assert ours.receive() == [message]
    assert ours.receive() == []
    assert not ours.closed


def test_messages_arrive_in_order(pair: Pair) -> None:
    ours, theirs = pair
    for message in EXAMPLES:
        theirs.send(message)

    assert receive_all(ours) == EXAMPLES


def test_every_kind_of_message_has_an_example() -> None:
    assert {type(message) for message in EXAMPLES} == set(TYPE_OF_KIND.values())


def test_the_death_of_the_other_side_is_an_end_of_file(pair: Pair) -> None:
    ours, theirs = pair
    theirs.send(Listening())
    theirs.close()

    assert ours.receive() == [Listening()]
    ours.receive()
    assert ours.closed
    assert ours.receive() == []


def test_sending_to_the_dead_is_refused_and_harmless(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()

    assert not ours.send(Listening())
    assert not ours.send_before_leaving(Failed(4, "", ""), timeout=30.0)


def test_a_peer_that_does_not_read_blocks_no_sender(pair: Pair) -> None:
    ours, theirs = pair
    failed = Failed(1, "", "x" * 10_000)
    sent = 0
    while ours.send(failed):
        sent += 1

    assert 1 <= sent < 1000
    assert not ours.send_before_leaving(failed, timeout=0.01)
    assert set(receive_all(theirs)) == {failed}


def test_a_flood_is_read_in_turns(pair: Pair) -> None:
    ours, theirs = pair
    for _ in range(MESSAGES_PER_TURN + 1):
        theirs.send(SiblingDied())

    received = ours.receive()
    if not ours.closed and len(received) == MESSAGES_PER_TURN:
        assert len(ours.receive()) == 1
    else:
        # A stream gives many small messages at once.
        assert len(received) == MESSAGES_PER_TURN + 1


def test_a_text_that_is_too_long_is_cut_in_the_middle(pair: Pair) -> None:
    ours, theirs = pair
    text = "first" + "\U0001f600" * 4 * TEXT_LIMIT + "last"

    assert theirs.send(Failed(4, "no module", text))
    (received,) = receive_all(ours)
    assert isinstance(received, Failed)
    assert received.text.startswith("first")
    assert received.text.endswith("last")
    assert "characters left out" in received.text
    assert len(received.text) < TEXT_LIMIT + 100


def test_an_end_can_be_waited_for(pair: Pair) -> None:
    ours, theirs = pair
    poll = select.poll()
    poll.register(ours, select.POLLIN)

    assert poll.poll(0) == []
    theirs.send(Listening())
    assert len(poll.poll(10_000)) == 1


# ── what other releases may say ──


def test_a_field_that_is_not_known_is_ignored() -> None:
    packet = json.dumps({"v": VERSION + 1, "kind": "QuitOrder", "deadline": 3.0, "reason": "new"}).encode()

    assert decode(packet) == QuitOrder(3.0)


def test_a_field_that_is_missing_has_its_default() -> None:
    assert decode(b'{"v": 0, "kind": "RetireOrder", "linger": 5}') == RetireOrder(5.0, RetireOrder().deadline)


@pytest.mark.parametrize("message_type", TYPE_OF_KIND.values())
def test_every_field_has_a_default(message_type: type[ChannelMessage]) -> None:
    message = message_type()

    assert decode(encode(message)) == message
    assert set(message_type.__annotations__.values()) <= {int, float, str, bool}


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"null",
        b'{"kind": 1}',
        b'{"kind": "nonsense"}',
        b'{"kind": "StopOrder", "deadline": "soon"}',
        b'{"kind": "Failed", "exit_code": 4.5}',
        b'{"kind": "Failed", "exit_code": true}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_none(packet: bytes) -> None:
    assert decode(packet) is None


def test_rubbish_between_messages_is_skipped() -> None:
    ours, theirs = make_channel_pair()
    theirs._endpoint.send(b"rubbish")
    theirs.send(Listening())

    assert receive_all(ours) == [Listening()]
    ours.close()
    theirs.close()


def test_a_stream_that_announces_too_much_is_closed() -> None:
    ours, theirs = make_channel_pair(stream=True)
    theirs._endpoint.send(b"\xff\xff\xff\xff")

    assert ours.receive() == []
    assert ours.closed
    ours.close()
    theirs.close()


def test_a_stream_may_be_cut_anywhere() -> None:
    ours, theirs = make_channel_pair(stream=True)
    data = b"".join(len(packet).to_bytes(4, "big") + packet for packet in map(encode, EXAMPLES))
    received = []
    for at in range(len(data)):
        theirs._endpoint.send(data[at : at + 1])
        received += ours.receive()

    assert received == EXAMPLES
    ours.close()
    theirs.close()


def test_descriptors_come_with_their_message_and_in_order(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = pair
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    files = [os.open(tmp_path / name, os.O_RDONLY) for name in ("a", "b", "c")]

    assert ours.send(LogFiles(access=True, error=True), files[:2])
    assert ours.send(Listening())
    assert ours.send(LogFiles(access=True), files[2:])
    for fd in files:
        os.close(fd)

    received: list[bytes] = []
    for message in receive_all(theirs):
        if isinstance(message, LogFiles):
            for fd in theirs.take_files(message.count):
                assert not os.get_inheritable(fd)
                received.append(os.read(fd, 10))
                os.close(fd)
    assert received == [b"a", b"b", b"c"]


def test_a_worker_cannot_give_its_master_descriptors(pair: Pair) -> None:
    ours, theirs = pair
    before = os.listdir("/dev/fd")

    assert theirs.send(LogFiles(access=True), [0])

    assert ours.receive() == [LogFiles(access=True)]
    assert ours.take_files(1) == []
    assert os.listdir("/dev/fd") == before


def test_descriptors_that_were_not_taken_are_closed_with_the_channel(pair: Pair) -> None:
    ours, theirs = pair
    before = set(os.listdir("/dev/fd"))
    ours.send(LogFiles(access=True), [0])
    theirs.receive()
    (taken,) = set(os.listdir("/dev/fd")) - before

    theirs.close()

    assert taken not in os.listdir("/dev/fd")

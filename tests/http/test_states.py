"""Every state that a connection can be in, and that it is never in another."""

import random

from appserve.errors import AppMistake, Rejected
from appserve.http.messages import Event, Reading, RequestHead, Writing
from tests.http.plain import GET, GET_1_0, HEAD, POST_5, POST_CHUNKED, PlainConnection, connect, head_bytes

ANY = {Writing.HEAD, Writing.BODY, Writing.DONE}

LEGAL = {
    Reading.HEAD: {Writing.HEAD},  # nothing is answered before it was asked
    Reading.BODY: ANY,  # an application may answer before it has heard all
    Reading.END: ANY,
    Reading.DONE: ANY,
    Reading.CLOSED: {Writing.HEAD},  # between two requests
    Reading.FAULT: ANY,
}

NEXT_READING = {
    Reading.HEAD: {Reading.BODY, Reading.END, Reading.CLOSED, Reading.FAULT},
    Reading.BODY: {Reading.END, Reading.DONE, Reading.FAULT},
    Reading.END: {Reading.DONE, Reading.HEAD},
    Reading.DONE: {Reading.HEAD},
    Reading.CLOSED: set(),
    Reading.FAULT: set(),
}

PARTS = (
    *(GET, GET_1_0, HEAD, POST_5 + b"hello", POST_CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"),
    POST_CHUNKED + b"0\r\nX: y\r\n\r\n",
    head_bytes("GET / HTTP/1.0", "Connection: keep-alive"),
    head_bytes("PUT / HTTP/1.1", "Host: a", "Content-Length: 3", "Expect: 100-continue") + b"abc",
    head_bytes("GET / HTTP/1.1", "Host: a", "Connection: close"),
    b"\r\n",
    b"nonsense\r\n\r\n",
    POST_CHUNKED + b"x\r\n",
)


class Walk:
    """A connection that is driven at random, as a shell could drive it, and checked after every step."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.connection: PlainConnection = connect()
        self.incoming = b"".join(self.random.choices(PARTS, k=self.random.randint(1, 5)))
        self.incoming = self.incoming[: self.random.randint(0, 2 * len(self.incoming))]
        self.visited: set[tuple[Reading, Writing]] = set()
        self.has_request = False

    def run(self) -> None:
        steps = [self.receive, self.pull, self.pull, self.write, self.write, self.cycle, self.end]
        for _ in range(60):
            before = self.connection.reading
            self.random.choice(steps)()
            self.check(before)

    def check(self, before: Reading) -> None:
        connection = self.connection
        state = (connection.reading, connection.response.writing)
        assert connection.response.writing in LEGAL[connection.reading], state
        assert connection.reading is before or connection.reading in NEXT_READING[before], (before, state)
        assert connection.keeps_alive <= (connection.is_read and connection.response.writing is Writing.DONE)
        assert connection.is_idle <= (connection.reading is Reading.HEAD)
        assert not (connection.keeps_alive and connection.response.closes)
        self.visited.add(state)

    def receive(self) -> None:
        size = self.random.randint(1, 40)
        self.connection.receive_data(self.incoming[:size])
        self.incoming = self.incoming[size:]

    def end(self) -> None:
        if not self.incoming and self.random.random() < 0.3:
            self.connection.receive_eof()

    def pull(self) -> None:
        reading = self.connection.reading
        try:
            event = self.connection.next_event()
        except Rejected:
            assert self.connection.reading is Reading.FAULT
            self.connection.refuse(Rejected(400, "again"))
            return
        if isinstance(event, RequestHead):
            assert reading is Reading.HEAD
            self.has_request = True
        elif isinstance(event, bytes):
            assert reading is Reading.BODY
        elif event is Event.END:
            assert reading in {Reading.BODY, Reading.END}
        elif event is Event.NEED_DATA:
            assert reading in {Reading.HEAD, Reading.BODY}
        elif event is Event.PAUSED:
            assert reading is Reading.DONE
        else:
            assert self.connection.reading is Reading.CLOSED

    def write(self) -> None:
        connection = self.connection
        choose = self.random.randint
        if connection.reading is Reading.FAULT and choose(0, 3) == 0:
            connection.response.reject(400, "no")
        elif not self.has_request or connection.response.writing is Writing.DONE:
            return
        elif choose(0, 9) == 0 and not connection.is_read:
            connection.refuse(Rejected(408, "late"))
            connection.response.abandon_response()
        else:
            try:
                self.answer(choose(0, 5))
            except AppMistake:
                connection.response.abandon_response()

    def answer(self, how: int) -> None:
        connection = self.connection
        fields = self.random.choice(([], [(b"Content-Length", b"5")], [(b"Connection", b"close")]))
        if connection.response.writing is Writing.BODY and how == 0:
            connection.response.frame_file(5, more=self.random.random() < 0.5)
        elif connection.response.writing is Writing.BODY:
            connection.response.send_body(b"hello"[how:], more=how > 2)
        elif how == 0:
            connection.response.send_informational(100)
        elif how < 3:
            connection.response.respond(self.random.choice((200, 204)), fields, b"hello")
        else:
            connection.response.start_response(200, fields)

    def cycle(self) -> None:
        keeps_alive = self.connection.keeps_alive
        before = self.connection.cycle
        assert self.connection.start_next_cycle() == keeps_alive
        assert self.connection.cycle == before + keeps_alive
        if keeps_alive:
            self.has_request = False


def test_a_connection_reaches_every_legal_state_and_no_other():
    visited: set[tuple[Reading, Writing]] = set()
    for seed in range(600):
        walk = Walk(seed)
        walk.run()
        visited |= walk.visited

    assert visited == {(reading, writing) for reading, several in LEGAL.items() for writing in several}

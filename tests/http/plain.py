"""The simplest dialect of fields, pairs of bytes both ways, and connections that speak it."""

from collections.abc import Iterator

from appserve.asgi.scope import AsgiFields, Headers
from appserve.errors import Rejected
from appserve.http.date import DateFields
from appserve.http.fields import Fields
from appserve.http.http1 import Http1Connection
from appserve.http.messages import Event, Limits, RequestHead

Pair = tuple[bytes, bytes]
Plain = Fields[Headers, Pair]
PlainConnection = Http1Connection[Headers, Pair]
PlainHead = RequestHead[Headers]

DATE_FIELDS = DateFields(784111777)  # Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110
DATE = b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
SERVER = b"Server: appserve\r\n"
LIMITS = Limits()


def plain_fields() -> Plain:
    """A new memory; nothing is remembered yet."""
    return AsgiFields()


def connect(fields: Plain | None = None, limits: Limits = LIMITS) -> PlainConnection:
    return Http1Connection(limits, fields or plain_fields(), DATE_FIELDS)


def head_bytes(*lines: str) -> bytes:
    return "".join(line + "\r\n" for line in (*lines, "")).encode("latin-1")


GET = head_bytes("GET / HTTP/1.1", "Host: a.example")
GET_1_0 = head_bytes("GET / HTTP/1.0")
HEAD = head_bytes("HEAD / HTTP/1.1", "Host: a.example")
POST_5 = head_bytes("POST / HTTP/1.1", "Host: a.example", "Content-Length: 5")
POST_CHUNKED = head_bytes("POST / HTTP/1.1", "Host: a.example", "Transfer-Encoding: chunked")


def events(connection: PlainConnection) -> Iterator[PlainHead | bytes | Event | int]:
    """What the connection says until it waits; a refusal is its status."""
    while True:
        try:
            event = connection.next_event()
        except Rejected as rejected:
            yield rejected.status
            return
        yield event
        if isinstance(event, Event) and event is not Event.END:
            return


def after(sent: bytes, fields: Plain | None = None, limits: Limits = LIMITS) -> PlainConnection:
    """A connection that has read these bytes as far as it can without an answer."""
    connection = connect(fields, limits)
    connection.receive_data(sent)
    list(events(connection))
    return connection


def only_head(connection: PlainConnection) -> PlainHead:
    """The head that comes next."""
    head = connection.next_event()
    assert isinstance(head, RequestHead)
    return head

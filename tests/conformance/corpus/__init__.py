"""The corpus: what clients may send and applications answer, and what must come of it, by subject."""

from tests.conformance.answer import Answer
from tests.conformance.case import Case
from tests.conformance.corpus import (
    bodiless,
    chunked,
    connection_options,
    content_length,
    eof,
    expect,
    fields,
    host,
    limits,
    pipeline_ends,
    pipelining,
    request_line,
    response_fields,
    responses,
    targets,
    trailers,
    transfer_encoding,
    upgrade,
    versions,
)

SUBJECTS: dict[str, tuple[Case, ...]] = {
    "request line": request_line.CASES,
    "versions": versions.CASES,
    "targets": targets.CASES,
    "host": host.CASES,
    "fields": fields.CASES,
    "Content-Length": content_length.CASES,
    "Transfer-Encoding": transfer_encoding.CASES,
    "chunked": chunked.CASES,
    "trailers": trailers.CASES,
    "expect": expect.CASES,
    "upgrade": upgrade.CASES,
    "connection options": connection_options.CASES,
    "pipelining": (*pipelining.CASES, *pipeline_ends.CASES),
    "limits": limits.CASES,
    "eof": eof.CASES,
}
"""The request side, in the order of a document about it."""

REQUESTS: tuple[Case, ...] = tuple(case for cases in SUBJECTS.values() for case in cases)

ANSWERS: tuple[Answer, ...] = (*responses.CASES, *bodiless.CASES, *response_fields.CASES)
"""The response side."""

import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appserve.asgi.scope import AsgiFields, Field
from appserve.errors import AppMistake
from appserve.http.date import DateFields
from appserve.tracebacks import application_stack, application_traceback, has_application_frames
from appserve.wsgi.response import read_status


def raised_by(call: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        call()
    return caught.value


def without_frames_of_this_file(error: BaseException) -> BaseException:
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


def application() -> None:
    {}["missing"]


def test_it_begins_with_the_application_and_ends_with_the_error():
    text = application_traceback(raised_by(application))

    assert text.startswith("Traceback (most recent call last):")
    assert "in application" in text
    assert text.endswith("KeyError: 'missing'")


def test_what_the_application_did_wrong_without_a_frame_of_its_own_is_one_line():
    error = without_frames_of_this_file(raised_by(lambda: read_status("no status")))

    text = application_traceback(error)

    assert isinstance(error, AppMistake)
    assert text.startswith("appserve.errors.AppMistake: the status 'no status'")
    assert "Traceback" not in text


def test_a_fault_of_ours_is_shown_whole():
    error = without_frames_of_this_file(raised_by(lambda: DateFields("never")))  # type: ignore[arg-type]

    text = application_traceback(error)

    assert "date.py" in text
    assert "in __init__" in text


def test_the_import_machinery_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_one.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    error = raised_by(lambda: importlib.import_module("broken_one"))

    assert has_application_frames(error)
    assert "frozen importlib" not in application_traceback(error)
    assert "importlib/__init__.py" not in application_traceback(error)
    assert "broken_one.py" in application_traceback(error)


def test_causes_are_shown():
    def fails() -> None:
        try:
            application()
        except KeyError as cause:
            raise RuntimeError("for a reason") from cause

    text = application_traceback(raised_by(fails))

    assert "KeyError: 'missing'" in text
    assert "The above exception was the direct cause" in text
    assert text.endswith("RuntimeError: for a reason")


def test_the_stack_of_a_thread_begins_with_the_application():
    found: list[str] = []

    def application(fields: AsgiFields, field: Field) -> Field:
        found.append(application_stack(sys._getframe()))
        return field

    calling(application).write_field((b"name", b"value"))

    first, line = found[0].splitlines()[:2]
    assert first.endswith("in application")
    assert "found.append" in line
    assert "appserve/http/fields.py" not in found[0]


def test_what_the_application_calls_of_ours_is_part_of_its_stack():
    found: list[str] = []

    def inner(fields: AsgiFields, field: Field) -> Field:
        found.append(application_stack(sys._getframe()))
        return field

    def application(fields: AsgiFields, field: Field) -> Field:
        calling(inner).write_field(field)
        return field

    calling(application).write_field((b"name", b"value"))

    assert [line.rpartition(" in ")[2] for line in found[0].splitlines() if ", in " in line] == [
        "application",
        "write_field",
        "inner",
    ]


def calling(application: Callable[[AsgiFields, Field], Field]) -> AsgiFields:
    """A place where our code calls another's."""
    return type("Calling", (AsgiFields,), {"spell": application})()


def test_the_stack_of_a_thread_that_is_not_in_the_application_is_whole():
    def bootstrap() -> str:
        return application_stack(sys._getframe())

    text = bootstrap()
    assert "in bootstrap" in text
    assert "in test_the_stack_of_a_thread_that_is_not_in_the_application_is_whole" in text


def test_a_thread_whose_frames_of_ours_are_compiled_shows_the_application_first():
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(application_stack(sys._getframe())))
    thread.start()
    thread.join()

    assert "threading.py" not in found[0]
    assert found[0].splitlines()[0].endswith("in <lambda>")

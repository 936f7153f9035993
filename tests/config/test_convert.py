"""Reading and showing values: what is taken, what is refused, and that showing is the way back."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.config.convert import (
    YEAR,
    Boolean,
    Choice,
    Mode,
    Seconds,
    Several,
    Size,
    Text,
    ValueType,
    Whole,
    quote_toml,
    suggest,
)

COLOURS = Choice(("red", "green", "blue"))


def no_vowels(text: str) -> str:
    if set(text) & set("aeiou"):
        raise ValueError("expected no vowels")
    return text.upper()


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Whole(), "0", 0),
        (Whole(), "+5", 5),
        (Whole(-5), "-5", -5),
        (Seconds(), "30", 30.0),
        (Seconds(), "2.5", 2.5),
        (Seconds(), ".5", 0.5),
        (Seconds(), "500ms", 0.5),
        (Seconds(), "30s", 30.0),
        (Seconds(), "5m", 300.0),
        (Seconds(), "1h", 3600.0),
        (Seconds(), "0", 0.0),
        (Size(), "8190", 8190),
        (Size(), "64K", 65536),
        (Size(), "64k", 65536),
        (Size(), "10M", 10 * 2**20),
        (Size(), "1G", 2**30),
        (Boolean(), "true", True),
        (Boolean(), "YES", True),
        (Boolean(), "on", True),
        (Boolean(), "1", True),
        (Boolean(), "false", False),
        (Boolean(), "no", False),
        (Boolean(), "off", False),
        (Boolean(), "0", False),
        (COLOURS, "Green", "green"),
        (Text(), "a b", "a b"),
        (Text(refine=no_vowels), "xyz", "XYZ"),
        (Several(Whole()), "1, 2,3", (1, 2, 3)),
    ],
)
def test_a_text_is_read(kind: ValueType[object], text: str, expected: object):
    value = kind.read(text)

    assert (expected, type(expected)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (Whole(), "", "expected a whole number"),
        (Whole(), "1.0", "expected a whole number"),
        (Whole(), "1_000", "expected a whole number"),
        (Whole(), " 1", "expected a whole number"),
        (Whole(), "\u0661", "expected a whole number"),
        (Whole(), "9" * 5000, "expected a whole number"),
        (Whole(1), "0", "at least 1"),
        (Whole(0, 10), "11", "at most 10"),
        (Seconds(), "-1", "expected a number of seconds"),
        (Seconds(), "soon", "expected a number of seconds"),
        (Seconds(), "inf", "expected a number of seconds"),
        (Seconds(), "nan", "expected a number of seconds"),
        (Seconds(), "1e3", "expected a number of seconds"),
        (Seconds(), "9" * 400, "31536000"),
        (Seconds(), "2d", "expected a number of seconds"),
        (Seconds(), "", "expected a number of seconds"),
        (Size(), "-1", "expected a number of bytes"),
        (Size(), "1.5M", "expected a number of bytes"),
        (Size(), "10MB", "expected a number of bytes"),
        (Size(1), "0", "at least 1"),
        (Size(), "999999999999G", f"at most {2**62}"),
        (Boolean(), "maybe", "expected true or false"),
        (Boolean(), "", "expected true or false"),
        (COLOURS, "gren", 'expected red, green or blue (did you mean "green"?)'),
        (COLOURS, "x", "expected red, green or blue"),
        (Text(), "", "not an empty value"),
        (Text(), "a\nb", "without control characters"),
        (Text(refine=no_vowels), "aha", "expected no vowels"),
        (Several(Whole()), "1,x", "expected a whole number"),
        (Several(Text()), "a,,b", "not an empty value"),
    ],
)
def test_a_text_that_does_not_fit_says_what_was_expected(kind: ValueType[object], text: str, message: str):
    with pytest.raises(ValueError, match="expected") as caught:
        kind.read(text)

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Whole(), 5, 5),
        (Seconds(), 30, 30.0),
        (Seconds(), 2.5, 2.5),
        (Seconds(), "5m", 300.0),
        (Size(), 8190, 8190),
        (Size(), "10M", 10 * 2**20),
        (Boolean(), True, True),
        (COLOURS, "red", "red"),
        (Text(), "x", "x"),
        (Several(Text()), ["a", "b"], ("a", "b")),
        (Several(Text()), "a,b", ("a,b",)),
        (Several(Text()), [], ()),
    ],
)
def test_toml_is_read_by_its_types(kind: ValueType[object], value: object, expected: object):
    assert expected == kind.read_toml(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Whole(), True),
        (Whole(), 1.0),
        (Whole(), "1"),
        (Whole(), [1]),
        (Seconds(), True),
        (Seconds(), "30"),
        (Seconds(), float("inf")),
        (Seconds(), float("nan")),
        (Seconds(), 10**400),
        (Seconds(), -1),
        (Size(), False),
        (Size(), "10"),
        (Size(), 1.0),
        (Boolean(), 1),
        (Boolean(), "true"),
        (COLOURS, 1),
        (Text(), 8000),
        (Text(), ["a"]),
        (Several(Text()), [1]),
        (Several(Text()), {"a": "b"}),
    ],
)
def test_toml_of_another_type_is_refused(kind: ValueType[object], value: object):
    with pytest.raises(ValueError, match="expected"):
        kind.read_toml(value)


@given(st.integers(0, 2**40))
def test_a_size_that_is_shown_reads_back(size: int):
    assert size == Size().read(Size().show(size))
    assert size == Size().read_toml(tomllib.loads(f"x = {Size().show_toml(size)}")["x"])


@given(st.floats(0, YEAR))
def test_seconds_that_are_shown_read_back(seconds: float):
    shown = Seconds().show_toml(seconds)

    assert seconds == pytest.approx(Seconds().read_toml(tomllib.loads(f"x = {shown}")["x"]), rel=1e-12)


@given(st.text())
def test_a_quoted_text_is_toml_on_one_line(text: str):
    quoted = quote_toml(text)

    assert quoted.isprintable()
    assert text == tomllib.loads(f"x = {quoted}")["x"]


@given(st.sampled_from([Whole(), Seconds(), Size(), Boolean(), COLOURS, Text(), Several(Text())]), st.text())
def test_no_text_makes_a_kind_fail_otherwise_than_by_saying_so(kind: ValueType[object], text: str):
    try:
        kind.read(text)
    except ValueError as error:
        assert str(error).startswith("expected")


def test_a_suggestion_is_made_only_for_what_is_near():
    assert suggest("wrokers", ["workers", "timeout"]) == ' (did you mean "workers"?)'
    assert suggest("zebra", ["workers", "timeout"]) == ""


@pytest.mark.parametrize(
    ("text", "mode"), [("007", 7), ("0660", 0o660), ("660", 0o660), ("0o22", 0o22), ("0", 0)]
)
def test_a_mode_is_in_octal_digits(text: str, mode: int):
    assert Mode().read(text) == Mode().read_toml(text) == Mode().read(Mode().show(mode)) == mode
    assert Mode().read_toml(mode) == mode


@pytest.mark.parametrize("text", ["8", "rw", "-1", "01000", "0x7"])
def test_what_is_no_mode_is_refused(text: str):
    with pytest.raises(ValueError, match="octal digits"):
        Mode().read(text)

"""The kinds of values: how each is read from a text, read from TOML, checked and shown.

A kind knows one sort of value: `read` takes what a flag or an environment variable holds (always a text),
`read_toml` what a TOML file holds (already typed, and checked strictly: true is not a number). Both raise
ValueError with a message that says what was expected; the caller adds where the value came from.
`show` is the way back, a text that `read` takes; `show_toml` the same for TOML.

Adding a kind? `explain` says on the settings page how a value is written. The kinds are plain classes and
not dataclasses because every start of the server makes them, and a dataclass costs half a millisecond.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")

YEAR = 365 * 86400.0

_UNITS_OF_TIME = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_UNITS_OF_SIZE = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class ValueType(Generic[T]):
    """One sort of value.

    metavar   what stands for the value in --help; empty when the flag takes none
    explain   how the value is written, in a few words for the settings page
    expected  what an error says of a value of another sort
    typed     the types that a value has in TOML when it is no text
    """

    metavar = ""
    explain = ""
    expected = "expected a text (in quotes)"
    typed: tuple[type, ...] = ()

    def read(self, text: str) -> T:
        raise NotImplementedError

    def read_toml(self, value: object) -> T:
        if isinstance(value, str) and self.is_text(value):
            return self.read(value)
        if type(value) in self.typed:  # bool is no int here
            return self.check(value)
        raise ValueError(self.expected)

    def is_text(self, text: str) -> bool:
        """Whether a value may be this text in TOML: a number in quotes is a mistake."""
        return not self.typed

    def check(self, value: Any) -> T:
        """The value of TOML, within bounds."""
        checked: T = value
        return checked

    def show(self, value: T) -> str:
        return str(value)

    def show_toml(self, value: T) -> str:
        return self.show(value) if self.typed else quote_toml(self.show(value))


def suggest(name: str, known: list[str], *, cutoff: float = 0.6) -> str:
    """` (did you mean "workers"?)`, or an empty text when nothing is near."""
    from difflib import get_close_matches  # imported only for an error

    near = get_close_matches(name, known, 1, cutoff)
    return f' (did you mean "{near[0]}"?)' if near else ""


def quote_toml(text: str) -> str:
    """A basic string of TOML (also a good way to show any text of unknown origin on one line)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape_toml(c) for c in escaped) + '"'


def _escape_toml(character: str) -> str:
    short = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}
    return short.get(character) or (
        f"\\u{ord(character):04X}" if ord(character) < 0x10000 else f"\\U{ord(character):08X}"
    )


class Whole(ValueType[int]):
    """A whole number within bounds."""

    metavar = "NUMBER"
    what = "a whole number"
    expected = "expected a whole number"
    typed = (int,)

    def __init__(self, at_least: int = 0, at_most: int = 2**31 - 1) -> None:
        self.at_least = at_least
        self.at_most = at_most
        upper = f" from {at_least} to {at_most}" if at_most < 2**31 - 1 else f", at least {at_least}"
        self.explain = self.what + upper

    def read(self, text: str) -> int:
        # int() alone would take "1_000", " 1" and the digits of every script.
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
            raise ValueError(self.expected)
        return self.check(int(text))

    def check(self, number: int) -> int:
        if number < self.at_least:
            raise ValueError(f"expected {self.what} that is at least {self.at_least}")
        if number > self.at_most:
            raise ValueError(f"expected {self.what} that is at most {self.at_most}")
        return number


class Mode(ValueType[int]):
    """Permission bits, in octal digits; -1 for none given."""

    metavar = "MODE"
    explain = "octal digits (`007`, `0660`)"
    expected = "expected octal digits, such as 007 or 0660"
    typed = (int,)

    def read(self, text: str) -> int:
        if not text:
            return -1
        if not re.fullmatch(r"(0o)?[0-7]{1,4}", text, re.ASCII):
            raise ValueError(self.expected)
        return self.check(int(text.removeprefix("0o"), 8))

    def is_text(self, text: str) -> bool:
        return True

    def check(self, number: int) -> int:
        if not 0 <= number <= 0o777:
            raise ValueError(self.expected)
        return number

    def show(self, value: int) -> str:
        return f"{value:04o}" if value >= 0 else ""

    def show_toml(self, value: int) -> str:
        return quote_toml(self.show(value))


class Size(Whole):
    """A number of bytes."""

    metavar = "BYTES"
    what = "a number of bytes"
    expected = 'expected a number of bytes, such as 8190, "64K", "10M" or "1G"'

    def __init__(self, at_least: int = 0) -> None:
        super().__init__(at_least, 2**62)
        self.explain = (
            f'bytes (`8190`), at least {at_least}, or with a unit of 1024 (`"64K"`, `"10M"`, `"1G"`)'
        )

    def read(self, text: str) -> int:
        found = re.fullmatch(r"([0-9]{1,18})([KMG]?)", text.upper(), re.ASCII)
        if not found:
            raise ValueError(self.expected)
        return self.check(int(found[1]) * _UNITS_OF_SIZE[found[2]])

    def is_text(self, text: str) -> bool:
        return text[-1:].isalpha()

    def show(self, value: int) -> str:
        for unit in "GMK":
            count, rest = divmod(value, _UNITS_OF_SIZE[unit])
            if count and not rest:
                return f"{count}{unit}"
        return str(value)

    def show_toml(self, value: int) -> str:
        shown = self.show(value)
        return shown if shown.isdigit() else quote_toml(shown)


class Seconds(ValueType[float]):
    """A duration: seconds as a float, zero or more, and finite."""

    metavar = "SECONDS"
    explain = 'seconds (`30`, `2.5`), or a number with a unit (`"500ms"`, `"30s"`, `"5m"`, `"1h"`)'
    expected = 'expected a number of seconds, such as 30, 2.5 or "5m"'
    typed = (int, float)

    def read(self, text: str) -> float:
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|)", text, re.ASCII)
        if not found:
            raise ValueError(self.expected)
        return self.check(float(found[1]) * _UNITS_OF_TIME[found[2]])

    def is_text(self, text: str) -> bool:
        return text[-1:].isalpha()

    def check(self, seconds: float) -> float:
        if 0 <= seconds <= YEAR:  # neither infinity nor nan is
            return float(seconds)
        raise ValueError("expected a number of seconds from 0 to 31536000 (a year)")

    def show(self, value: float) -> str:
        return f"{value:.15g}"


class Boolean(ValueType[bool]):
    """True or false; on the command line a flag without a value, and its --no- twin."""

    explain = "`true` or `false`"
    expected = "expected true or false (without quotes)"
    typed = (bool,)

    def read(self, text: str) -> bool:
        lowered = text.lower()
        if lowered in _TRUE or lowered in _FALSE:
            return lowered in _TRUE
        raise ValueError("expected true or false")

    def show(self, value: bool) -> str:
        return "true" if value else "false"


class Choice(ValueType[str]):
    """One of a few words; upper and lower case are the same. `also` holds other spellings, `metavar` what
    stands for words that are too many to be listed."""

    def __init__(
        self, options: tuple[str, ...], also: Mapping[str, str] | None = None, metavar: str = ""
    ) -> None:
        self.options = options
        self.also = also or {}
        self.metavar = metavar or "|".join(options)
        self.explain = "one of " + ", ".join(f"`{option}`" for option in options)
        self.expected = f"expected {', '.join(options[:-1])} or {options[-1]}"

    def read(self, text: str) -> str:
        lowered = self.also.get(text, text.lower())
        if lowered in self.options:
            return lowered
        raise ValueError(self.expected + suggest(lowered, list(self.options)))


class Text(ValueType[str]):
    """A text on one line. `refine` gives it in its usual form, or raises ValueError. A secret is
    not printed with the other settings; a path starts from where the server was started, wherever it goes."""

    def __init__(
        self,
        metavar: str = "TEXT",
        explain: str = "a text",
        refine: Callable[[str], str] = str,
        *,
        secret: bool = False,
        is_path: bool = False,
    ) -> None:
        self.secret = secret
        self.is_path = is_path
        self.metavar = metavar
        self.explain = explain
        self.refine = refine

    def read(self, text: str) -> str:
        if not text:
            raise ValueError("expected a text, not an empty value")
        if not text.isprintable():
            raise ValueError("expected a text without control characters")
        return self.refine(text)

    def hide(self, value: str) -> str:
        """The value as it may be printed and logged."""
        return "********" if self.secret else value


class Several(ValueType[tuple[T, ...]]):
    """A list: a flag given again and again, commas in an environment variable, `[...]` in TOML.

    With `commas` they separate on the command line as well, and the word none stands for an empty list.
    """

    def __init__(self, item: ValueType[T], *, commas: bool = False) -> None:
        self.item = item
        self.commas = commas
        self.metavar = item.metavar
        separated = (
            "commas separate, `none` is nothing, a flag can be given again"
            if commas
            else "a flag can be given again, an environment variable separates with commas"
        )
        self.explain = f"{item.explain}; {separated}, TOML takes a list"

    def read(self, text: str) -> tuple[T, ...]:
        if self.commas and text.strip().lower() == "none":
            return ()
        return tuple(self.item.read(one.strip()) for one in text.split(","))

    def read_flag(self, text: str) -> tuple[T, ...]:
        """What one of several flags holds."""
        return self.read(text) if self.commas else (self.item.read(text),)

    def read_toml(self, value: object) -> tuple[T, ...]:
        values = value if isinstance(value, list) else [value]
        return tuple(self.item.read_toml(one) for one in values)

    def show(self, value: tuple[T, ...]) -> str:
        return ",".join(self.item.show(one) for one in value)

    def show_toml(self, value: tuple[T, ...]) -> str:
        return "[" + ", ".join(self.item.show_toml(one) for one in value) + "]"

"""What users read and what tests are named for uses the terms of the field."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.cli.command import help_text
from appserve.config.settings import ROWS

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "appserve"

# Pronouns for code and peers, metaphors, and verbs that have a word of the field.
BANNED = re.compile(
    r"\b(who|whom|whoever|somebody|someone|nobody|anybody|everybody|"
    r"tells?|told|believe[sd]?|vouch(?:es)?|asks?|asked|asking|heed(?:s|ed)?|mourn(?:s|ed)?|"
    r"doors?|knock(?:s|ed)?|newcomers?|family|families|patience|spoken|for ever|so long|no one)\b",
    re.IGNORECASE,
)

PAGES = [
    *(ROOT / "docs").glob("*.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *(ROOT / "conf").iterdir(),
    ROOT / "Dockerfile",
]

# Terms of socket(7) and of the PROXY protocol.
ALLOWED = ("address family", "family or transport")


def found(text: str) -> list[str]:
    for term in ALLOWED:
        text = text.replace(term, "")
    return [match[0] for match in BANNED.finditer(text)]


def prose(page: str) -> str:
    """A page without its code, and without the table that is written from the corpus."""
    page = page.partition("\n## Rule by rule\n")[0]
    lines = (line for line in page.split("\n") if not line.startswith("    "))
    return re.sub(r"`[^`]*`", "", "\n".join(lines))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The texts that a module can send, log or print: string literals with a blank, without docstrings."""
    tree = ast.parse(path.read_text())
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documentation and " " in node.value.strip():
            yield node.lineno, node.value


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_use_the_terms_of_the_field(path: Path) -> None:
    assert found(prose(path.read_text())) == []


def test_help_and_settings_use_the_terms_of_the_field() -> None:
    assert found(help_text(100)) == []
    for row in ROWS:
        assert found(f"{row.help} {row.more} {row.empty}") == [], row.name


def test_a_settings_help_is_a_sentence_that_begins_with_a_verb_or_a_noun() -> None:
    for row in ROWS:
        assert row.help[0].isupper() and row.help.endswith("."), row.name
        assert row.help.split()[0] not in {"How", "What", "Which", "Where", "Whether", "The"}, row.name


def test_what_is_logged_sent_and_printed_uses_the_terms_of_the_field() -> None:
    seen = {
        f"{path.relative_to(SOURCE)}:{line}": found(text)
        for path in SOURCE.rglob("*.py")
        for line, text in texts(path)
    }
    assert {place: words for place, words in seen.items() if words} == {}


def test_tests_are_named_in_the_terms_of_the_field() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    named = {
        f"{path.name}: {name}": found(name.replace("_", " "))
        for path in files
        for name in (path.stem, *re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE))
    }
    assert {name: words for name, words in named.items() if words} == {}

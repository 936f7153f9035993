"""What the documents say exists: their links, the options they name, the commands of the Dockerfile."""

import json
import re
import shlex
from pathlib import Path

import pytest

from appserve.cli.command import run
from appserve.config.foreign import FOREIGN
from appserve.config.settings import ROWS
from appserve.errors import ExitCode

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EXAMPLES = [ROOT / "Dockerfile", ROOT / "Makefile", *sorted(ROOT.glob("conf/*"))]

LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]+")

OTHERS = set(
    # docker, systemctl, useradd, pip, make bench, pytest, mypy, ruff
    "--from --publish --rm --tag --time --no-create-home --shell --system --uid --no-cache-dir --no-index"
    " --wheel-dir --disable-pip-version-check --editable --group --quiet --upgrade --cases --quick"
    " --results --rounds --seconds --servers --numprocesses --dist --randomly-seed --strict --check"
    " --fix-only --outdir --reruns --hypothesis-profile --kill-whom --signal --clear --compiled --no-deps"
    " --no-print-directory".split()
)


def known_flags() -> set[str]:
    rows = {flag for row in ROWS for flag in (*row.flags, row.off_flag)}
    rows |= {flag for row in FOREIGN for flag in row.flags}
    return rows | {"--help", "--version", "--check-config", "--print-config"}


def _name(path: object) -> str:
    return path.relative_to(ROOT).as_posix() if isinstance(path, Path) else str(path)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=_name)
def test_every_option_that_is_named_exists(page: Path) -> None:
    unknown = set(FLAG.findall(page.read_text())) - known_flags() - OTHERS
    assert not unknown


def test_every_page_is_reached_from_the_readme() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert not {page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/*.md")} - linked


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "observe.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)} == set(ExitCode)


# ── the Dockerfile, as far as it can be tried without an engine ───────────────────────────────────────


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_copies_files_that_exist_and_are_sent_to_the_builder() -> None:
    sent = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in shlex.split(rest)[:-1]
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)


def test_the_image_does_not_run_as_root() -> None:
    last = [rest for word, rest in instructions() if word in {"FROM", "USER"}][-1]
    assert last.isdigit() and last != "0"


def test_the_command_of_the_image_is_one_that_appserve_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the form without a shell, so that appserve gets the signals itself."""
    (command,) = [json.loads(rest) for word, rest in instructions() if word == "CMD"]
    for name, value in (rest.split("=") for word, rest in instructions() if word == "ENV"):
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert command[0] == "appserve"
    assert run([*command[1:], "--check-config"]) == ExitCode.CLEAN

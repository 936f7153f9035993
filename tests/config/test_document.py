"""What is generated from the table is complete, valid and up to date in the repository."""

import tomllib
from pathlib import Path

import pytest

from appserve.config.settings import ROWS, Settings
from appserve.config.sources import resolve
from tests.config.document import example_file, files, settings_page

PROJECT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("path", sorted(files()))
def test_generated_files_are_fresh(path):
    assert files()[path] == (PROJECT / path).read_text(encoding="utf-8"), (
        "run `python -m tests.config.document`"
    )


def test_the_settings_page_has_every_flag_variable_and_default():
    page = settings_page()
    missing = [
        text
        for row in ROWS
        for text in (f"### `{row.name}`", f"`{row.variable}`", *row.flags, row.off_flag, row.help)
        if text not in page
    ]

    assert missing == []


def test_the_example_file_changes_nothing_as_it_is(tmp_path):
    (tmp_path / "appserve.toml").write_text(example_file(), encoding="utf-8")

    usual = Settings(application="x:y", chdir=str(tmp_path))
    assert resolve({"application": ["x:y"]}, {}, str(tmp_path)).settings == usual


def test_every_line_of_the_example_file_is_valid_when_it_is_switched_on(tmp_path):
    lines = [line for line in example_file().splitlines() if not line.startswith("# ") and line != "#"]
    text = "\n".join(line.removeprefix("#") for line in lines)
    table = tomllib.loads(text)
    (tmp_path / "src").mkdir()
    (tmp_path / "shop.env").write_text("")
    text = text.replace(table["chdir"], str(tmp_path)).replace("/etc/shop.env", str(tmp_path / "shop.env"))
    (tmp_path / "appserve.toml").write_text(text, encoding="utf-8")
    settings = resolve({}, {}, str(tmp_path)).settings

    assert {row.name for row in ROWS if row.in_file} == set(table)
    elsewhere = ("chdir", "config", "env_file", "reload_dir", "reload_extra_file")
    assert {row.name: row.example for row in ROWS if row.name not in elsewhere} == {
        row.name: getattr(settings, row.name) for row in ROWS if row.name not in elsewhere
    }

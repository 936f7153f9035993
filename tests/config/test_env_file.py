"""Variables for the application: of a file, and of a flag."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appserve.config.env_file import read_env_file
from appserve.config.settings import BY_NAME, Resolved
from appserve.config.sources import resolve
from appserve.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        (" A = b c ", "b c"),
        ("export A=b", "b"),
        ("A=b#c", "b#c"),
        ("A=b # comment", "b"),
        ("A=# comment", ""),
        ("A='b # c'", "b # c"),
        ('A="b \\"c\\" \\n $D" # comment', 'b "c" \n $D'),
        ("A='b \\n $D'", "b \\n $D"),
        ("A=b=c", "b=c"),
        ("\ufeffA=b", "b"),
        ("A=x\r\n", "x"),
        ("# A=x\n\nA=y\n", "y"),
        ("A=x\nA=y", "y"),
    ],
)
def test_a_line_is_a_variable(line: str, value: str):
    assert read_env_file(line) == {"A": value}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("A=1\nno variable", "line 2 is not NAME=VALUE"),
        ("1A=1", "line 1 is not NAME=VALUE"),
        ("=1", "line 1 is not NAME=VALUE"),
        ("A='b", "line 1: the quotes do not end, or something follows them"),
        ('A="b"c', "line 1: the quotes do not end, or something follows them"),
    ],
)
def test_a_mistake_names_its_line(text: str, problem: str):
    with pytest.raises(ValueError, match="^" + problem):
        read_env_file(text)


@given(st.dictionaries(st.from_regex(r"[A-Z_]+", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_every_value_of_one_line_can_be_written_in_double_quotes(values: dict[str, str]):
    def quoted(value: str) -> str:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
        return value.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")

    ordinary = {name: value for name, value in values.items() if len(f"{value}x".splitlines()) == 1}
    assert (
        read_env_file("\n".join(f'{name}="{quoted(value)}"' for name, value in ordinary.items())) == ordinary
    )


def read(folder: Path, environ: dict[str, str] | None = None, **arguments: str) -> Resolved:
    texts = {name: (text,) for name, text in ({"application": "a:b"} | arguments).items()}
    return resolve(texts, environ or {}, str(folder))


def test_the_servers_own_environment_and_the_flag_win_over_the_file(tmp_path: Path):
    (tmp_path / "shop.env").write_text("A=file\nB=file\nC=file\n")

    settings = read(tmp_path, {"A": "own"}, env_file="shop.env", env="B=flag").settings
    assert settings.env == ("C=file", "B=flag")


def test_values_are_not_shown():
    assert BY_NAME["env"].show(("SECRET=x",)) == "SECRET=********"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("env_file", "none.env", "--env-file none.env: cannot be read: no such file or directory"),
        ("env_file", "bad.env", "--env-file bad.env: line 1 is not NAME=VALUE"),
        ("env_file", "raw.env", "--env-file raw.env: not UTF-8"),
        ("env", "NAME", "--env NAME: expected NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, name: str, value: str, problem: str):
    (tmp_path / "bad.env").write_text("what")
    (tmp_path / "raw.env").write_bytes(b"A=\xff")

    with pytest.raises(ConfigError) as caught:
        read(tmp_path, **{name: value})
    assert list(caught.value.problems) == [problem]

"""The table of settings: what follows from a row, and that the rows agree with one another."""

import pytest

from appserve.config.rows import Applies
from appserve.config.settings import BY_NAME, GROUPS, ROWS, Settings, changes


def test_every_default_is_a_value_that_its_own_kind_reads():
    for row in ROWS:
        if row.default not in ("", ()):
            assert row.default == row.kind.read(row.kind.show(row.default)), row.name


def test_every_example_is_a_value_that_its_own_kind_reads():
    for row in ROWS:
        if row.in_file:
            assert row.example == row.kind.read(row.kind.show(row.example)), row.name


def test_no_two_rows_share_a_flag():
    flags = [flag for row in ROWS for flag in (*row.flags, row.off_flag) if flag]

    assert len(flags) == len(set(flags))


def test_rows_of_a_group_stand_together():
    assert [row.group for row in ROWS] == [
        row.group for group in GROUPS for row in ROWS if row.group == group
    ]


@pytest.mark.parametrize(
    ("name", "flags", "variable"),
    [
        ("keep_alive", ("--keep-alive",), "APPSERVE_KEEP_ALIVE"),
        ("bind", ("--bind", "-b"), "APPSERVE_BIND"),
        ("workers", ("--workers", "-w"), "APPSERVE_WORKERS"),
        ("worker_class", ("--worker-class", "-k"), "APPSERVE_WORKER_CLASS"),
        ("timeout", ("--timeout", "-t"), "APPSERVE_TIMEOUT"),
        ("config", ("--config", "-c"), "APPSERVE_CONFIG"),
        ("name", ("--name", "-n"), "APPSERVE_NAME"),
        (
            "limit_request_field_size",
            ("--limit-request-field-size", "--limit-request-field_size"),
            "APPSERVE_LIMIT_REQUEST_FIELD_SIZE",
        ),
        ("application", (), "APPSERVE_APPLICATION"),
    ],
)
def test_flags_and_variables_follow_from_the_name(name, flags, variable):
    assert (flags, variable) == (BY_NAME[name].flags, BY_NAME[name].variable)


@pytest.mark.parametrize(
    ("text", "path"), [("/shop", "/shop"), ("shop/", "/shop"), ("/a/b/", "/a/b"), ("/", ""), ("//", "")]
)
def test_a_root_path_begins_with_a_slash_and_ends_without(text: str, path: str):
    assert BY_NAME["root_path"].kind.read(text) == path


@pytest.mark.parametrize("text", ["/a//b", "/a?b", "/a#b"])
def test_what_no_path_of_a_request_can_begin_with_is_no_root_path(text: str):
    with pytest.raises(ValueError, match="expected a path such as /shop"):
        BY_NAME["root_path"].kind.read(text)


def test_settings_cannot_be_changed():
    with pytest.raises(AttributeError, match="never changes"):
        Settings().workers = 2  # type: ignore[misc]  # the point of the test


def test_a_change_is_named_by_what_it_needs():
    old = Settings(application="a")
    new = Settings(application="b", workers=3, bind=("127.0.0.1:9",), backlog=1, name="x")

    assert changes(old, new) == (("application", "workers"), ("bind", "backlog", "name"))


def test_equal_settings_have_no_changes():
    assert changes(Settings(workers=3), Settings(workers=3)) == ((), ())


def test_every_row_says_what_a_reload_must_renew():
    assert set(Applies) == {row.applies for row in ROWS}


def test_a_secret_is_never_shown():
    secrets = [row for row in ROWS if row.is_secret]

    assert [row.name for row in secrets] == ["keyfile_password"]
    assert all(row.show("hunter2") == "********" for row in secrets)
    assert all("none" in row.show("") for row in secrets)

"""Where values come from: which wins, what is ignored, and what a mistake in each source looks like."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from appserve.config.settings import ROWS, Resolved, Settings
from appserve.config.sources import NO_APPLICATION, resolve
from appserve.errors import ConfigError
from appserve.system.cpus import count_cpus

APP = {"application": ("main:app",)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def resolved(
    folder: Path,
    arguments: Mapping[str, Sequence[str]] | None = None,
    environ: Mapping[str, str] | None = None,
    file: str | None = None,
) -> Resolved:
    if file is not None:
        (folder / "appserve.toml").write_text(file, encoding="utf-8")
    return resolve({**APP, **(arguments or {})}, environ or {}, str(folder))


def problems(
    folder: Path,
    arguments: Mapping[str, Sequence[str]] | None = None,
    environ: Mapping[str, str] | None = None,
    file: str | None = None,
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolved(folder, arguments, environ, file)
    return list(caught.value.problems)


def test_nothing_given_is_all_defaults(folder):
    found = resolved(folder)

    assert Settings(application="main:app", chdir=str(folder)) == found.settings
    assert {"default"} == {source for name, source in found.sources.items() if name != "application"}
    assert {row.name for row in ROWS} == set(found.sources)


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(folder):
    file = "workers = 2\ntimeout = 2\nkeep_alive = 2"
    environ = {"APPSERVE_TIMEOUT": "3", "APPSERVE_KEEP_ALIVE": "3"}
    found = resolved(folder, {"keep_alive": ("4",)}, environ, file)

    assert (found.settings.workers, found.settings.timeout, found.settings.keep_alive) == (2, 3.0, 4.0)
    assert tuple(found.sources[name] for name in ("workers", "timeout", "keep_alive")) == (
        "appserve.toml",
        "APPSERVE_TIMEOUT",
        "--keep-alive",
    )


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "source"),
    [
        ({"application": ("x:y",)}, {}, "", "command line"),
        ({}, {"APPSERVE_APPLICATION": "x:y"}, "", "APPSERVE_APPLICATION"),
        ({}, {}, 'application = "x:y"', "appserve.toml"),
    ],
)
def test_the_application_can_be_named_in_each_source(folder, arguments, environ, file, source):
    (folder / "appserve.toml").write_text(file)
    found = resolve(arguments, environ, str(folder))

    assert ("x:y", source) == (found.settings.application, found.sources["application"])


def test_no_application_is_an_error_that_says_how_to_name_one(folder):
    with pytest.raises(ConfigError) as caught:
        resolve({}, {}, str(folder))

    assert caught.value.problems == (NO_APPLICATION,)
    assert all(
        word in NO_APPLICATION for word in ("appserve main:app", "APPSERVE_APPLICATION", "appserve.toml")
    )


@pytest.mark.parametrize(
    "file",
    [
        'application = "main:app"\nworkers =',
        "application = 5",
        'aplication = "main:app"',
        '[appserve]\napplication = "a"',
    ],
)
def test_an_application_is_not_missed_when_a_file_that_may_name_it_was_not_understood(folder, file):
    (folder / "appserve.toml").write_text(file)
    with pytest.raises(ConfigError) as caught:
        resolve({}, {}, str(folder))

    (problem,) = caught.value.problems
    assert problem.startswith("appserve.toml: ")


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ({"application": ("a\x1b",)}, {}),
        ({"application": ("",)}, {}),
        ({}, {"APPSERVE_APPLICATION": "a\x1b"}),
    ],
)
def test_an_application_is_not_missed_when_one_was_named_that_cannot_be_used(folder, arguments, environ):
    with pytest.raises(ConfigError) as caught:
        resolve(arguments, environ, str(folder))

    (problem,) = caught.value.problems
    assert problem.startswith(("APPLICATION ", "APPSERVE_APPLICATION="))


def test_printing_the_settings_needs_no_application(folder):
    assert resolve({}, {}, str(folder), application_needed=False).settings.application == ""


def test_a_flag_given_again_adds_to_a_list_and_replaces_a_value(folder):
    found = resolved(folder, {"bind": ("127.0.0.1:1", "unix:x"), "workers": ("2", "3")})

    assert (found.settings.bind, found.settings.workers) == (("127.0.0.1:1", "unix:x"), 3)


def test_a_list_replaces_the_list_of_a_weaker_source(folder):
    found = resolved(folder, {"bind": (":1",)}, {}, 'bind = [":2", ":3"]')

    assert found.settings.bind == (":1",)


def test_a_list_is_separated_by_commas_in_the_environment_and_a_list_in_the_file(folder):
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    found = resolved(folder, {}, {"APPSERVE_BIND": "127.0.0.1:1, unix:x"}, 'app_dir = ["a", "b"]')

    assert found.settings.bind == ("127.0.0.1:1", "unix:x")
    assert found.settings.app_dir == ("a", "b")


def test_one_value_stands_for_a_list_of_one_in_the_file(folder):
    assert resolved(folder, file='bind = ":9"').settings.bind == (":9",)


def test_an_empty_variable_is_as_good_as_unset(folder):
    environ = {
        "APPSERVE_WORKERS": "",
        "WEB_CONCURRENCY": "",
        "PORT": "",
        "APPSERVE_CONFIG": "",
        "APPSERVE_X": "",
    }

    assert (Settings(application="main:app", chdir=str(folder)), ()) == (
        resolved(folder, environ=environ).settings,
        resolved(folder, environ=environ).warnings,
    )


# The settings file


def test_a_named_file_is_read_instead_of_the_usual_one(folder):
    (folder / "other.toml").write_text("workers = 5")
    found = resolved(folder, {"config": ("other.toml",)}, {}, "workers = 2")

    assert (found.settings.workers, found.sources["workers"]) == (5, "other.toml")


def test_the_environment_can_name_the_file(folder):
    (folder / "other.toml").write_text("workers = 5")

    assert resolved(folder, environ={"APPSERVE_CONFIG": str(folder / "other.toml")}).settings.workers == 5


@pytest.mark.parametrize(
    ("arguments", "environ", "where"),
    [
        ({"config": ("gone.toml",)}, {}, "--config gone.toml"),
        ({}, {"APPSERVE_CONFIG": "gone.toml"}, "APPSERVE_CONFIG=gone.toml"),
    ],
)
def test_a_named_file_that_is_missing_is_an_error(folder, arguments, environ, where):
    assert [f"{where}: cannot be read: no such file or directory"] == problems(folder, arguments, environ)


def test_a_file_that_cannot_be_read_is_an_error_even_unnamed(folder):
    (folder / "appserve.toml").mkdir()

    assert problems(folder) == ["appserve.toml: cannot be read: is a directory"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"workers = \n", ["appserve.toml: invalid value", "line 1"]),
        (b"workers = 1\nworkers = 2\n", ["appserve.toml: cannot overwrite a value", "line 2"]),
        (b"name = '\xff'", ["appserve.toml: not UTF-8 (byte 8)"]),
        (b"x = " + b"[" * 20000, ["appserve.toml: "]),
    ],
)
def test_a_file_that_is_not_toml_says_where(folder, content, words):
    (folder / "appserve.toml").write_bytes(content)
    (problem,) = problems(folder)

    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ('workers = "many"', 'appserve.toml: workers = "many": expected a whole number'),
        ("workers = true", "appserve.toml: workers = true: expected a whole number"),
        ("workers = 0", "appserve.toml: workers = 0: expected a whole number that is at least 1"),
        ("timeout = inf", "appserve.toml: timeout = Infinity: expected a number of seconds from 0 to"),
        ("wrokers = 1", 'appserve.toml: wrokers = 1: unknown setting (did you mean "workers"?)'),
        ("keep-alive = 1", 'appserve.toml: keep-alive = 1: unknown setting (did you mean "keep_alive"?)'),
        ("zzz = 1979-05-27", 'appserve.toml: zzz = "1979-05-27": unknown setting'),
        ("[server]\nx = 1", 'appserve.toml: server = {"x": 1}: unknown setting (settings are not in tables)'),
        ('config = "x"', 'appserve.toml: config = "x": cannot be set in a file, only with --config or'),
        ('"a\\nb" = 1', "appserve.toml: a\\nb = 1: unknown setting"),
        ('bind = ["x:y"]', 'appserve.toml: bind = ["x:y"]: "x:y": expected a port'),
        (f'name = "{"x" * 5000}\\u0007"', f'appserve.toml: name = "{"x" * 99}…: expected a text without'),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_reported_as_it_is_written(folder, file, problem):
    (found,) = problems(folder, file=file)

    assert found.startswith(problem)


# The environment


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"APPSERVE_WORKERS": "x"}, "APPSERVE_WORKERS=x: expected a whole number"),
        (
            {"APPSERVE_BIND": ":1,x:y"},
            'APPSERVE_BIND=:1,x:y: "x:y": expected a port from 0 to 65535, not "y"',
        ),
        ({"APPSERVE_BIND": "tcp://10.0.0.1:80"}, "APPSERVE_BIND=tcp://10.0.0.1:80: expected host:port"),
        ({"APPSERVE_WORKERS": "a\nb"}, "APPSERVE_WORKERS=a\\nb: expected a whole number"),
        ({"PORT": "http"}, "PORT=http: expected a port, a whole number from 0 to 65535"),
        ({"PORT": "65536"}, "PORT=65536: expected a port, a whole number from 0 to 65535"),
        ({"WEB_CONCURRENCY": "two"}, "WEB_CONCURRENCY=two: expected a whole number"),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY=0: expected a whole number that is at least 1"),
    ],
)
def test_a_mistake_in_the_environment_is_reported_with_the_variable(folder, environ, problem):
    (found,) = problems(folder, environ=environ)

    assert found.startswith(problem)


def test_an_unknown_variable_warns_with_a_guess(folder):
    found = resolved(folder, environ={"APPSERVE_WROKERS": "2", "APPSERVE_ZZZ": "1", "OTHER": "x"})

    assert found.warnings == (
        'environment variable APPSERVE_WROKERS is not a setting (did you mean "APPSERVE_WORKERS"?)',
        "environment variable APPSERVE_ZZZ is not a setting",
    )


def test_what_kubernetes_injects_for_a_service_of_our_name_is_ignored(folder):
    environ = {
        "APPSERVE_SERVICE_HOST": "10.0.0.1",
        "APPSERVE_SERVICE_PORT": "80",
        "APPSERVE_SERVICE_PORT_HTTP": "80",
        "APPSERVE_PORT": "tcp://10.0.0.1:80",
        "APPSERVE_PORT_80_TCP": "tcp://10.0.0.1:80",
        "APPSERVE_PORT_80_TCP_PROTO": "tcp",
        "APPSERVE_PORT_80_TCP_PORT": "80",
        "APPSERVE_PORT_80_TCP_ADDR": "10.0.0.1",
        "APPSERVE_WEB_SERVICE_HOST": "10.0.0.1",
        "APPSERVE_WEB_PORT": "udp://10.0.0.1:53",
        "APPSERVE_WEB_PORT_53_UDP_ADDR": "10.0.0.1",
    }

    assert resolved(folder, environ=environ).warnings == ()


def test_a_port_that_kubernetes_did_not_write_warns(folder):
    assert len(resolved(folder, environ={"APPSERVE_PORT": "8000"}).warnings) == 1


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "expected"),
    [
        ({}, {"PORT": "5000"}, "", (("0.0.0.0:5000",), "PORT")),
        ({"bind": (":1",)}, {"PORT": "5000"}, "", ((":1",), "--bind")),
        ({}, {"PORT": "5000", "APPSERVE_BIND": ":2"}, "", ((":2",), "APPSERVE_BIND")),
        ({}, {"PORT": "5000"}, 'bind = ":3"', ((":3",), "appserve.toml")),
        ({"bind": (":1",)}, {"PORT": "not for us"}, "", ((":1",), "--bind")),
    ],
)
def test_port_stands_for_the_default_of_bind(folder, arguments, environ, file, expected):
    found = resolved(folder, arguments, environ, file)

    assert expected == (found.settings.bind, found.sources["bind"])


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "expected"),
    [
        ({}, {"WEB_CONCURRENCY": "3"}, "", (3, "WEB_CONCURRENCY")),
        ({"workers": ("4",)}, {"WEB_CONCURRENCY": "3"}, "", (4, "--workers")),
        ({}, {"WEB_CONCURRENCY": "3"}, "workers = 5", (5, "appserve.toml")),
    ],
)
def test_web_concurrency_stands_for_the_default_of_workers(folder, arguments, environ, file, expected):
    found = resolved(folder, arguments, environ, file)

    assert expected == (found.settings.workers, found.sources["workers"])


# The command line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"keep_alive": ("soon",)}, "--keep-alive soon: expected a number of seconds, such as 30, 2.5"),
        ({"bind": (":1", "x:y")}, '--bind x:y: expected a port from 0 to 65535, not "y"'),
        ({"worker_class": ("treads",)}, "--worker-class treads: expected auto, sync, threads or asgi"),
        ({"worker_class": ("gevent",)}, "--worker-class gevent: it is not supported: use --worker-class thr"),
        ({"loop": ("uvlop",)}, '--loop uvlop: expected auto, uvloop or asyncio (did you mean "uvloop"?)'),
        ({"application": ("",)}, 'APPLICATION "": expected a text, not an empty value'),
        ({"backlog": ("\udcff\x1b[31m",)}, "--backlog \\udcff\\x1b[31m: expected a whole number"),
        ({"access_logfile": ("",)}, '--access-logfile "": expected a text, not an empty value'),
    ],
)
def test_a_mistake_on_the_command_line_is_reported_with_its_flag(folder, arguments, problem):
    found = problems(folder, arguments)

    assert found[0].startswith(problem)


def test_every_mistake_of_every_source_is_reported_at_once(folder):
    found = problems(
        folder,
        {"workers": ("x",), "bind": ("a:b", "c:d")},
        {"APPSERVE_TIMEOUT": "x"},
        'loop = "x"\ntypo = 1',
    )

    assert len(found) == 6


def test_a_mistake_in_an_overridden_value_is_reported_too(folder):
    assert problems(folder, {"workers": ("2",)}, {"APPSERVE_WORKERS": "x"}) == [
        "APPSERVE_WORKERS=x: expected a whole number"
    ]


def test_earlier_problems_are_reported_first_and_no_application_is_not_one_of_them(folder):
    with pytest.raises(ConfigError) as caught:
        resolve({"workers": ("x",)}, {}, str(folder), problems=("--typo: no such option",))

    assert caught.value.problems == ("--typo: no such option", "--workers x: expected a whole number")


# What the whole says


@pytest.mark.parametrize("text", ["none", "None", "NONE"])
def test_the_access_log_is_turned_off_by_none_in_any_case(folder, text):
    assert resolved(folder, {"access_logfile": (text,)}).settings.access_logfile == "none"


def test_a_missing_folder_is_reported_with_its_source(folder):
    assert problems(folder, {"chdir": ("gone",)}) == ["--chdir gone: no such folder"]
    assert problems(folder, {}, {"APPSERVE_CHDIR": "gone"}) == ["APPSERVE_CHDIR=gone: no such folder"]
    assert [f'appserve.toml: app_dir = "gone": no such folder in {folder}'] == problems(
        folder, file='app_dir = ["gone"]'
    )


def test_a_folder_that_is_missing_at_a_reload_is_reported(folder):
    gone = folder / "gone"

    assert problems(gone) == [f"{gone} (where the server was started): no such folder"]


def test_workers_go_to_their_folder_by_its_whole_path(folder):
    (folder / "site").mkdir()

    assert resolved(folder).settings.chdir == str(folder)
    assert resolved(folder, {"chdir": ("site",)}).settings.chdir == f"{folder}/site"
    assert resolved(folder, {"chdir": ("/",)}).settings.chdir == "/"


def test_app_dir_is_looked_for_from_chdir(folder):
    os.makedirs(folder / "site" / "src")

    assert resolved(folder, {"chdir": ("site",), "app_dir": ("src",)}).settings.app_dir == ("src",)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("10.0.0.1, ::1",), ("10.0.0.1", "::1")),
        (("10.0.0.1", "10.1.0.0/16"), ("10.0.0.1", "10.1.0.0/16")),
        (("none",), ()),
    ],
)
def test_peers_are_separated_by_commas_on_the_command_line_too(folder, texts, expected):
    given = resolve({"application": ("a:b",), "forwarded_allow_ips": texts}, {}, str(folder))

    assert expected == given.settings.forwarded_allow_ips


def test_a_path_with_a_comma_is_one_path_on_the_command_line(folder):
    given = resolve({"application": ("a:b",), "certfile": ("/etc/a,b.pem",)}, {}, str(folder))

    assert given.settings.certfile == ("/etc/a,b.pem",)


def test_files_are_meant_from_where_the_server_was_started(folder):
    (folder / "site").mkdir()
    given = resolved(folder, {"chdir": ("site",), "certfile": ("a.pem", "/b.pem"), "ca_certs": ("c.pem",)})

    assert given.settings.certfile == (f"{folder}/a.pem", "/b.pem")
    assert given.settings.ca_certs == f"{folder}/c.pem"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("-", "-"), ("none", "none"), ("/var/log/a", "/var/log/a"), ("log/a", "{folder}/log/a")],
)
def test_a_log_is_a_file_from_where_the_server_was_started_or_none(folder, text, expected):
    given = resolved(folder, {"access_logfile": (text,)})

    assert given.settings.access_logfile == expected.format(folder=folder)


def test_the_platform_names_the_trusted_proxies(folder):
    given = resolve({"application": ("a:b",)}, {"FORWARDED_ALLOW_IPS": "10.0.0.1,10.0.0.2"}, str(folder))

    assert given.settings.forwarded_allow_ips == ("10.0.0.1", "10.0.0.2")


def test_a_reported_mistake_does_not_show_a_secret(folder):
    found = problems(folder, {}, {}, "keyfile_password = 4711")

    assert "4711" not in found[0]
    assert "keyfile_password" in found[0]


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "place"),
    [
        (
            {"forwarded_headers": ("forwarded", "x-forwarded-for")},
            {},
            None,
            "--forwarded-headers forwarded,x-forwarded-for",
        ),
        (
            {},
            {"APPSERVE_FORWARDED_HEADERS": "x-forwarded-prefix,forwarded"},
            None,
            "APPSERVE_FORWARDED_HEADERS=x-forwarded-prefix,forwarded",
        ),
        (
            {},
            {},
            'forwarded_headers = ["forwarded", "x-forwarded-for"]',
            'appserve.toml: forwarded_headers = "forwarded,x-forwarded-for"',
        ),
    ],
)
def test_two_kinds_of_proxy_fields_are_an_error(folder, arguments, environ, file, place):
    (problem,) = problems(folder, arguments, environ, file)

    assert problem.startswith(f"{place}: expected either forwarded or x-forwarded-* fields: ")


@pytest.mark.parametrize("headers", ['["forwarded"]', '["x-forwarded-host", "x-forwarded-port"]', "[]"])
def test_proxy_fields_of_one_kind_are_accepted(folder, headers):
    assert resolved(folder, file=f"forwarded_headers = {headers}").warnings == ()


@pytest.mark.parametrize(
    ("arguments", "environ", "file", "place"),
    [
        ({"forwarded_allow_ips": ("*",)}, {}, None, "--forwarded-allow-ips *"),
        ({"forwarded_allow_ips": ("10.0.0.1", "*")}, {}, None, "--forwarded-allow-ips 10.0.0.1,*"),
        ({}, {"FORWARDED_ALLOW_IPS": "*"}, None, "FORWARDED_ALLOW_IPS=*"),
        ({}, {}, 'forwarded_allow_ips = ["0.0.0.0/0"]', 'appserve.toml: forwarded_allow_ips = "0.0.0.0/0"'),
        ({}, {}, 'forwarded_allow_ips = "::/0"', 'appserve.toml: forwarded_allow_ips = "::/0"'),
        ({"proxy_protocol": ("v2",), "proxy_allow_from": ("*",)}, {}, None, "--proxy-allow-from *"),
    ],
)
def test_trust_in_every_peer_is_a_warning(folder, arguments, environ, file, place):
    (warning,) = resolved(folder, arguments, environ, file).warnings

    assert warning.startswith(f"{place}: any client can choose the address ")


@pytest.mark.parametrize(
    "arguments",
    [{"forwarded_allow_ips": ("10.0.0.0/8", "::1", "unix")}, {"proxy_allow_from": ("*",)}],
)
def test_trust_in_proxies_is_not_a_warning(folder, arguments):
    assert resolved(folder, arguments).warnings == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, ""),
        ({"limit_spool": ("8G",), "limit_request_body": ("2G",)}, ""),
        ({"limit_spool": ("1G",), "worker_class": ("asgi",)}, ""),
        (
            {"limit_spool": ("1G",)},
            "limit_request_body (1073741824) is more than a quarter of limit_spool (1073741824): sync and "
            "threads workers store a body until it is complete, and answer 413 to a body longer than "
            "268435456 bytes",
        ),
        ({"limit_request_body": ("1025M",)}, "limit_request_body (1074790400) is more than a quarter of "),
        ({"limit_request_body": ("0",)}, "limit_request_body (0, no limit) is more than a quarter of "),
    ],
)
def test_a_body_that_is_allowed_and_cannot_be_kept_is_warned_of(
    folder: Path, arguments: dict[str, tuple[str, ...]], says: str
):
    warnings = resolved(folder, arguments).warnings

    assert len(warnings) == bool(says)
    assert all(warning.startswith(says) for warning in warnings)


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("PORT", " 8080\r", "bind", ("0.0.0.0:8080",)),
        ("WEB_CONCURRENCY", "3 ", "workers", 3),
        ("WEB_CONCURRENCY", " \r\n", "workers", 1),
        ("FORWARDED_ALLOW_IPS", " *\r\n", "forwarded_allow_ips", ("*",)),
        ("APPSERVE_WORKERS", "\t4\r\n", "workers", 4),
        ("APPSERVE_KEEP_ALIVE", "", "keep_alive", 75.0),
        ("APPSERVE_KEEP_ALIVE", "  ", "keep_alive", 75.0),
        ("APPSERVE_NAME", " shop\r", "name", "shop"),
        ("APPSERVE_KEYFILE_PASSWORD", " with blanks \r\n", "keyfile_password", " with blanks "),
    ],
)
def test_blanks_around_a_variable_are_dropped(
    folder: Path, variable: str, text: str, name: str, value: object
) -> None:
    assert getattr(resolved(folder, environ={variable: text}).settings, name) == value


def test_a_file_may_begin_with_a_byte_order_mark(folder: Path) -> None:
    assert resolved(folder, file="\ufeffworkers = 3\n").settings.workers == 3


@pytest.mark.parametrize(
    ("arguments", "environ", "source"),
    [
        ({"workers": ("auto",)}, {}, "--workers auto, "),
        ({}, {"APPSERVE_WORKERS": "AUTO"}, "APPSERVE_WORKERS auto, "),
        ({}, {"WEB_CONCURRENCY": "auto"}, "WEB_CONCURRENCY auto, "),
    ],
)
def test_auto_is_a_worker_for_each_cpu_and_its_source_says_how_many(
    folder: Path, arguments: dict[str, tuple[str, ...]], environ: dict[str, str], source: str
):
    found = resolve({"application": ("a:b",), **arguments}, environ, str(folder))

    assert found.settings.workers == count_cpus()[0] >= 1
    assert found.sources["workers"] == source + count_cpus()[1]


def test_without_an_application_the_one_in_the_folder_is_named(folder: Path):
    (folder / "main.py").write_text("app = FastAPI()\n")

    with pytest.raises(ConfigError) as caught:
        resolve({}, {}, str(folder))
    assert list(caught.value.problems) == [
        "no application: type `appserve main:app` for the one in this folder"
    ]

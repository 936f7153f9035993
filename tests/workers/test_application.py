"""Loading: every way to name an application, and the errors when it cannot be had."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appserve.errors import AppImportError, AppStartError, ExitCode, StartupError, UnfitSettings
from appserve.workers.application import Application, choose_worker_class, load, prepare_import

LOADING = Path(__file__).parent.parent / "apps" / "loading"


@pytest.fixture(autouse=True)
def _a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The current folder, sys.path and the modules are as they were before, afterwards."""
    monkeypatch.chdir(LOADING)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    prepare_import("", ())
    yield
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if not file or ("site-packages" not in file and not file.startswith(sys.base_prefix)):
            del sys.modules[name]


def found(target: str, *, factory: bool = False, interface: str = "auto") -> Application:
    return load(target, factory=factory, interface=interface)


def refusal(target: str, *, factory: bool = False, interface: str = "auto") -> StartupError:
    with pytest.raises(StartupError) as caught:
        load(target, factory=factory, interface=interface)
    return caught.value


# Naming


def test_an_attribute_of_a_module_is_found():
    application = found("shop.wsgi:application")

    assert application.name == "shop.wsgi:application"
    assert application.call is sys.modules["shop.wsgi"].application


def test_dotted_attributes_are_followed():
    application = found("shop.inner.site:deployment.site.app")

    assert application.interface == "wsgi"
    assert sys.modules["shop.inner.site"].deployment.site == application.call.__self__


@pytest.mark.parametrize(("module", "attribute"), [("app", "application"), ("only_app", "app")])
def test_a_module_alone_means_its_application_or_else_its_app(module, attribute):
    application = found(module)

    assert f"{module}:{attribute}" == application.name
    assert application.call is getattr(sys.modules[module], attribute)


@pytest.mark.parametrize(
    ("target", "arguments", "keywords"),
    [
        ("factories:make_app()", (), {}),
        ('factories:make_app("prod", debug=True)', ("prod",), {"debug": True}),
        ("factories:make_app(-1, (1, 2), [3], {'a': None}, b'x')", (-1, (1, 2), [3], {"a": None}, b"x"), {}),
        ('factories:make_app("a:b")', ("a:b",), {}),
        ("factories:holder.make()", ("held",), {}),
    ],
)
def test_a_call_in_the_name_makes_the_application(target, arguments, keywords):
    application = found(target)

    assert (arguments, keywords) == (application.call.arguments, application.call.keywords)
    assert application.interface == "wsgi"


def test_factory_says_that_the_attribute_is_called():
    assert found("factories:make_app", factory=True).call.arguments == ()


def test_factory_and_a_call_in_the_name_call_once():
    assert found("factories:make_app(1)", factory=True).call.arguments == (1,)
    assert len(sys.modules["factories"].made) == 1


def test_factory_with_a_module_alone_means_its_create_app():
    assert found("factories", factory=True).call.arguments == ("from create_app",)


def test_the_arguments_of_a_factory_are_not_in_the_name():
    assert found('factories:make_app("secret")').name == "factories:make_app()"


@pytest.mark.parametrize(
    "target",
    [
        "app:",
        "app:a b",
        "app:1",
        "app:app.",
        "app:make(",
        "app:make()()",
        "app:make(name)",
        "app:make(*[1])",
        "app:make(**{'a': 1})",
        "app:make(a=print())",
        "app:[app][0]",
        "app:__import__('os').system('true')",
        "app:lambda: 1",
        "app:make(" + "(" * 500 + ")" * 500 + ")",
    ],
)
def test_only_attributes_and_calls_with_literals_are_a_name(target):
    error = refusal(target)

    assert error.exit_code == ExitCode.APP_IMPORT
    assert 'main:make_app("production", debug=True)' in error.message


@pytest.mark.parametrize("target", ["", ":app", ".app:app", "app..x:app", "app.:app"])
def test_a_name_without_a_module_says_how_to_write_one(target):
    error = refusal(target)

    assert error.exit_code == ExitCode.APP_IMPORT
    assert f'"{target}" names no module: write module:attribute, as in main:app' == error.message


# Folders


def test_the_current_folder_is_importable_and_comes_before_the_rest():
    assert str(LOADING) == sys.path[0]


def test_app_dir_comes_first_and_is_relative_to_chdir():
    prepare_import("shop", ["../lib", "inner"])

    assert str(LOADING / "shop") == os.getcwd()
    assert [str(LOADING / "lib"), str(LOADING / "shop" / "inner"), str(LOADING / "shop")] == sys.path[:3]
    assert found("in_lib").name == "in_lib:app"


def test_preparing_twice_leaves_every_folder_once():
    prepare_import("", ["lib"])
    prepare_import("", ["lib"])

    assert sys.path.count(str(LOADING / "lib")) == 1
    assert sys.path.count(str(LOADING)) == 1


def test_a_folder_that_has_gone_is_a_mistake_in_the_settings():
    with pytest.raises(UnfitSettings, match="cannot change to the folder /gone: No such file") as caught:
        prepare_import("/gone", ())

    assert caught.value.exit_code == ExitCode.CONFIG


# Interface


def test_interface_overrides_what_the_application_looks_like():
    application = found("asgi_apps:plain", interface="wsgi")

    assert (application.interface, application.reason) == ("wsgi", "set by --interface")
    assert found("neither:old_style", interface="asgi").interface == "asgi"


@pytest.mark.parametrize(
    ("target", "wanted", "expected"),
    [
        ("shop.wsgi", "auto", ("sync", "it is a WSGI application")),
        ("shop.asgi", "auto", ("asgi", "it is an ASGI application")),
        ("shop.wsgi", "sync", ("sync", "set by --worker-class")),
        ("shop.asgi", "asgi", ("asgi", "set by --worker-class")),
    ],
)
def test_the_worker_class_follows_from_the_application_unless_it_is_given(target, wanted, expected):
    assert expected == choose_worker_class(found(target), wanted)


@pytest.mark.parametrize(
    ("target", "wanted", "threads", "expected"),
    [
        ("shop.wsgi", "auto", 4, "threads"),
        ("shop.wsgi", "auto", 1, "sync"),
        ("shop.wsgi", "sync", 1, "sync"),
        ("shop.wsgi", "sync", 4, "threads"),  # gunicorn's habit; the reason says so
        ("shop.wsgi", "threads", 0, "threads"),
        ("shop.wsgi", "threads", 1, "threads"),
        ("shop.asgi", "auto", 4, "asgi"),
        ("shop.asgi", "asgi", 4, "asgi"),
    ],
)
def test_more_than_one_thread_makes_a_wsgi_worker_one_of_threads(target, wanted, threads, expected):
    worker_class, why = choose_worker_class(found(target), wanted, threads)

    assert worker_class == expected
    assert (f"--threads is {threads}" in why) == (expected == "threads" and wanted != "threads")


@pytest.mark.parametrize(
    ("target", "wanted", "words"),
    [
        ("shop.asgi", "sync", ["--worker-class sync cannot serve", "an ASGI", "write --worker-class asgi"]),
        ("shop.wsgi", "asgi", ["--worker-class asgi cannot serve", "a WSGI", "write --worker-class sync"]),
        ("shop.asgi", "threads", ["--worker-class threads cannot serve", "write --worker-class asgi"]),
    ],
)
def test_a_worker_class_that_cannot_serve_the_application_says_what_to_write(target, wanted, words):
    with pytest.raises(UnfitSettings) as caught:
        choose_worker_class(found(target), wanted)

    assert caught.value.exit_code == ExitCode.CONFIG
    assert [word for word in words if word not in caught.value.message] == []


# What cannot be served


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("number", ["type int", "cannot be called"]),
        ("nothing", ["it is None"]),
        ("submodule", ["it is a module", "write string:"]),
        ("OldStyle", ["ASGI 2", "not supported yet", "--interface"]),
        ("OldStyleWithAnotherName", ["ASGI 2"]),
        ("old_style", ["ASGI 2"]),
        ("Middleware", ["it is a class; name an instance of it"]),
        ("NeedsAnInstance", ["it is a class", "write 'neither:NeedsAnInstance()'"]),
        ("handler", ["neither two arguments (WSGI) nor three (ASGI)"]),
        ("create_app", ["write 'neither:create_app()'"]),
        ("coroutine_factory", ["coroutine function", "factory cannot be"]),
        ("coroutine_of_two", ["coroutine function that cannot take scope, receive, send"]),
        ("asynchronous_generator", ["asynchronous generator"]),
    ],
)
def test_the_error_of_what_is_no_application_says_what_to_do(attribute, words):
    error = refusal(f"neither:{attribute}")

    assert error.exit_code == ExitCode.APP_IMPORT
    assert error.message.startswith(f'cannot serve "neither:{attribute}": ')
    assert [word for word in words if word not in error.message] == []


def test_a_factory_that_returns_nothing_is_an_error():
    error = refusal("factories:forgets()")

    assert 'cannot serve "factories:forgets()": it is None; does the factory return' in error.message


def test_the_error_of_a_factory_that_needs_arguments_says_how_to_give_them():
    error = refusal("factories:needs", factory=True)

    assert error.exit_code == ExitCode.APP_IMPORT
    assert "missing a required argument: 'kind'" in error.message
    assert 'factories:needs("production")' in error.message


def test_a_factory_cannot_be_a_coroutine_function(recwarn):
    assert (
        "coroutine function, and a factory has to be a plain one" in refusal("factories:coroutine()").message
    )
    assert [str(one.message) for one in recwarn] == []


def test_a_factory_that_cannot_be_called_is_an_error():
    assert 'cannot call "neither:number()": it is of type int' in refusal("neither:number()").message


# Failing at start


def test_a_factory_that_raises_exits_3_with_its_own_traceback():
    error = refusal("factories:fails()")

    assert isinstance(error, AppStartError)
    assert error.message == 'the factory "factories:fails()" failed: RuntimeError: no database'
    assert error.detail.startswith(
        f'Traceback (most recent call last):\n  File "{LOADING}/factories.py", line'
    )
    assert error.detail.endswith("RuntimeError: no database")
    assert "appserve" not in error.detail.replace(str(LOADING), "")


def test_a_factory_that_exits_does_not_end_the_worker_unexplained():
    error = refusal("factories:exits()")

    assert isinstance(error, AppStartError)
    assert "it called sys.exit(2)" in error.message


# Failing to import


def test_a_module_that_is_not_there_says_where_it_was_looked_for():
    prepare_import("", ["lib"])
    error = refusal("nowhere_to_be_found:app")

    assert error.exit_code == ExitCode.APP_IMPORT
    assert error.detail == ""
    assert (
        f'cannot import "nowhere_to_be_found": there is no module "nowhere_to_be_found" in '
        f"{LOADING}/lib, {LOADING}" == error.message
    )


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("only_ap:app", 'did you mean "only_app"?'),
        ("shoq.wsgi", 'did you mean "shop"?'),
        ("shop.wgsi", 'no module "wgsi" in the package "shop" (did you mean "shop.wsgi"?)'),
        ("only_app.app", '"app" is not a module; did you mean "only_app:app"?'),
        ("only_app.other", '"only_app" is a module and not a package; an attribute follows a colon'),
    ],
)
def test_a_module_that_is_not_there_comes_with_a_guess(target, hint):
    error = refusal(target)

    assert hint in error.message
    assert error.detail == ""


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("only_app.py", "write only_app"),
        ("only_app.py:app", "write only_app:app"),
        ("./only_app.py:app", "write only_app:app"),
        ("lib/in_lib.py:app", "write --app-dir lib in_lib:app"),
        ("lib/in_lib:app", "write --app-dir lib in_lib:app"),
        ("shop/inner/site.py:app", "write shop.inner.site:app"),
        ("shop/__init__.py:app", "write shop:app"),
        ("./missing.py:app", 'there is no such file; write the module, as in "main:app"'),
    ],
)
def test_a_file_named_instead_of_a_module_says_what_to_write(target, hint):
    assert hint in refusal(target).message


def test_a_dependency_that_is_missing_is_not_taken_for_the_application():
    error = refusal("missing_dependency:app")

    assert isinstance(error, AppImportError)
    assert (
        'cannot import "missing_dependency": ModuleNotFoundError: '
        "No module named 'a_package_that_nobody_has' "
        f"(is it installed for {sys.executable}?)" == error.message
    )
    assert "missing_dependency.py" in error.detail


def test_a_package_that_fails_to_import_its_own_part_is_shown_with_its_traceback():
    error = refusal("selfish.part")

    assert "No module named 'selfish.part'" in error.message
    assert "selfish/__init__.py" in error.detail


def test_the_traceback_of_an_import_has_only_frames_of_the_application():
    error = refusal("imports_what_fails:app")
    frames = [line.strip() for line in error.detail.splitlines() if line.strip().startswith("File ")]

    assert error.message == 'cannot import "imports_what_fails": RuntimeError: no database'
    assert {"imports_what_fails.py", "fails_deep.py"} == {
        frame.split('"')[1].split("/")[-1] for frame in frames
    }
    assert "OSError: connection refused" in error.detail
    assert error.detail.endswith("RuntimeError: no database")


def test_a_syntax_error_shows_its_file_and_line(tmp_path):
    (tmp_path / "broken.py").write_text("import os\n\ndef app(:\n    pass\n")
    prepare_import(str(tmp_path), ())
    error = refusal("broken:app")

    assert (
        f'cannot import "broken": SyntaxError: invalid syntax ({tmp_path}/broken.py, line 3)' == error.message
    )
    assert error.detail.startswith(f'  File "{tmp_path}/broken.py", line 3\n    def app(:\n')


def test_a_module_that_calls_exit_says_so():
    error = refusal("exits:app")

    assert error.exit_code == ExitCode.APP_IMPORT
    assert error.message == "cannot import \"exits\": it called sys.exit('settings are missing')"
    assert "exits.py" in error.detail


def test_an_interrupt_raised_by_a_module_is_a_failed_import():
    assert refusal("interrupts:app").message == 'cannot import "interrupts": it raised KeyboardInterrupt'


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("only_app:ap", '"only_app" (only_app.py) has no attribute "ap" (did you mean "app"?)'),
        ("no_usual_name:zzz", '"no_usual_name" (no_usual_name.py) has no attribute "zzz"'),
        ("no_usual_name", '"no_usual_name" (no_usual_name.py) has neither "application" nor "app" '
         "(write no_usual_name:ATTRIBUTE)"),
        ("shop.inner", '"shop.inner" (shop/inner/__init__.py) has neither "application" nor "app" '
         "(write shop.inner:ATTRIBUTE)"),
        ("shop.inner.site:deployment.sites", '"shop.inner.site:deployment" (shop/inner/site.py) has no '
         'attribute "sites" (did you mean "site"?)'),
    ],
)  # fmt: skip
def test_a_missing_attribute_says_which_file_was_imported_and_what_is_there_instead(target, message):
    error = refusal(target)

    assert error.exit_code == ExitCode.APP_IMPORT
    assert message == error.message.replace(f"({LOADING}/", "(")


def test_a_package_without_a_file_is_shown_with_its_folder(tmp_path, monkeypatch):
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    assert (
        f'"only_a_folder" ({tmp_path}/only_a_folder) has no attribute' in refusal("only_a_folder:x").message
    )


def test_a_module_from_elsewhere_is_shown_with_its_file():
    import json

    assert f'"json" ({json.__file__}) has neither' in refusal("json").message


def test_an_attribute_that_raises_is_shown_with_its_traceback():
    error = refusal("shop.inner.site:deployment.site.broken.app")

    assert "RuntimeError: no database" in error.message
    assert "site.py" in error.detail

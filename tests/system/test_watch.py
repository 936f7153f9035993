"""Which files are watched, and that a change of one is reported."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appserve.system import watch as module
from appserve.system.watch import Watched, look, watch


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("1")


def names(folder: Path, watched: Watched) -> set[str]:
    return {os.path.relpath(path, folder) for path in look(watched)}


def test_files_of_the_application_are_watched_and_others_are_not(tmp_path: Path):
    make(tmp_path, "app.py", "shop/views.py", "shop/page.html", "notes.txt", ".hidden.py", "shop/.git/a.py")
    make(tmp_path, "shop/__pycache__/views.py", "env/pyvenv.cfg", "env/lib/site.py", "node_modules/x.py")
    root = (str(tmp_path),)

    assert names(tmp_path, Watched(root, ("*.py",))) == {"app.py", "shop/views.py"}
    assert names(tmp_path, Watched(root, ("*.py", "*.html"))) == {"app.py", "shop/views.py", "shop/page.html"}
    assert names(tmp_path, Watched(root, ("*.py",), exclude=("views*",))) == {"app.py"}
    assert names(tmp_path, Watched(root, ("*.py",), exclude=(f"{tmp_path}/shop",))) == {"app.py"}
    extra = Watched((f"{tmp_path}/shop",), ("*.py",), files=(f"{tmp_path}/notes.txt",))
    assert names(tmp_path, extra) == {"shop/views.py", "notes.txt"}


def test_what_is_missing_or_a_circle_of_links_is_no_error(tmp_path: Path):
    make(tmp_path, "shop/app.py")
    (tmp_path / "shop" / "again").symlink_to(tmp_path)
    (tmp_path / "shop" / "dead.py").symlink_to(tmp_path / "none")

    watched = Watched((str(tmp_path), f"{tmp_path}/none"), ("*.py",), files=(f"{tmp_path}/gone",))
    assert names(tmp_path, watched) == {"shop/app.py"}


@contextmanager
def watching(watched: Watched) -> Iterator[Callable[[], str]]:
    """Gives a function that waits for the next report; at the end the watcher has ended."""
    reading, writing = os.pipe()
    thread = threading.Thread(target=watch, args=(watched, writing))
    with open(reading, encoding="utf-8") as pipe:
        thread.start()
        yield lambda: pipe.readline().rstrip("\n")
    thread.join(60)
    os.close(writing)
    assert not thread.is_alive()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the watcher has looked for the first time; without watchfiles."""
    looked, original = threading.Event(), module.look

    def noted(watched: Watched) -> module.Snapshot:
        found = original(watched)
        looked.set()
        return found

    monkeypatch.setattr(module, "look", noted)
    monkeypatch.setattr(module, "import_module", lambda name: (_ for _ in ()).throw(ImportError(name)))
    return looked


def test_a_file_that_is_written_added_replaced_or_removed_is_reported(tmp_path: Path, looks: threading.Event):
    make(tmp_path, "app.py")
    app, other = tmp_path / "app.py", tmp_path / "other.py"

    with watching(Watched((str(tmp_path),), ("*.py",))) as reported:
        assert looks.wait(60)
        app.write_text("22")
        assert reported() == str(app)
        other.write_text("1")
        assert reported() == str(other)
        (tmp_path / "new").write_text("1")
        (tmp_path / "new").rename(other)
        assert reported() == str(other)
        app.unlink()
        assert reported() == str(app)


def test_watchfiles_is_used_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path, "app.py", "env/x.py")
    checked: list[tuple[str, bool]] = []

    class Installed:
        @staticmethod
        def watch(
            *roots: str, watch_filter: Callable[[int, str], bool], **more: object
        ) -> Iterator[set[object]]:
            assert roots == (str(tmp_path),)
            for name in ("app.py", "a.txt", ".git/a.py", "shop/a.py"):
                checked.append((name, watch_filter(1, f"{tmp_path}/{name}")))
            yield {(1, f"{tmp_path}/app.py")}
            while True:
                yield set()

    monkeypatch.setattr(module, "import_module", lambda name: Installed)
    with watching(Watched((str(tmp_path),), ("*.py",))) as reported:
        assert reported() == f"{tmp_path}/app.py"
    assert checked == [("app.py", True), ("a.txt", False), (".git/a.py", False), ("shop/a.py", True)]

"""The house holds: imports go down only, and what a part must not know stays out of it.

`FLOORS` is the architecture diagram. A module stands on the floor of its package; it may import what stands
on a lower floor and what stands in its own package, and nothing else of appserve. An import inside a
function, or under TYPE_CHECKING, counts like any other: a reader has to know both sides either way.

Each rule is a function from sources to complaints, so that the second half of this file can show that it
bites.
"""

import ast
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "appserve"

FLOORS: tuple[set[str], ...] = (
    {"version", "tracebacks", "values"},
    {"__init__", "errors", "demo"},
    {"forked"},
    {"http"},  # bytes
    {"net", "system", "observe"},  # machine
    {"config"},  # settings
    {"connection"},  # what every connection has
    {"wsgi", "asgi"},  # conversation
    {"workers"},  # process
    {"master"},  # family
    {"cli"},  # person
    {"embedded"},  # the server within another program
    {"testing", "__main__"},
)

FACADE = ("__init__.py", "appserve.embedded")  # appserve.run, which imports it when it is called

RUNTIME_DEPENDENCIES = {"click", "httptools", "setproctitle", "uvloop"}
OPTIONAL_DEPENDENCIES = {"watchfiles"}
LATER_STANDARD_MODULES = {"annotationlib"}  # Python 3.14
PURE_PACKAGES = {"http"}
MACHINE_MODULES = set(
    "asyncio fcntl logging mmap multiprocessing os pathlib select selectors signal socket ssl subprocess"
    " tempfile threading time uvloop".split()
)
PROCESS_CALLS = {
    "os": {
        *("fork", "forkpty", "kill", "killpg", "popen", "posix_spawn", "posix_spawnp", "system"),
        *("wait", "wait3", "wait4", "waitid", "waitpid"),
        *("execl", "execle", "execlp", "execlpe", "execv", "execve", "execvp", "execvpe"),
        *("spawnl", "spawnle", "spawnlp", "spawnlpe", "spawnv", "spawnve", "spawnvp", "spawnvpe"),
    },
    "signal": {"pidfd_send_signal"},
}
PROCESS_FILES = {"master/process.py"}
UNNAMEABLE = {"util", "utils", "common", "helper", "helpers", "misc"}
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter"}
LONGEST_FILE = 500
LONG_DATA = {"config/settings.py"}  # the table of settings is data

Sources = Mapping[str, str]  # path below src/appserve -> text


def read_sources() -> dict[str, str]:
    return {path.relative_to(SOURCE).as_posix(): path.read_text() for path in sorted(SOURCE.rglob("*.py"))}


# ── what a source imports ─────────────────────────────────────────────────────────────────────────────


def imported_names(path: str, source: str) -> Iterator[tuple[int, str]]:
    """Every (line, dotted name) that is imported, wherever the import stands; `from a import b` is a.b."""
    package = ["appserve", *path.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "__import__"}:
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def called_name(call: ast.Call) -> str:
    function = call.func.value if isinstance(call.func, ast.Subscript) else call.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def resident(name: str) -> str:
    """The part in FLOORS that has the dotted name `appserve.…`; a name of the root package is `__init__`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and any(parts[1] in floor for floor in FLOORS) else "__init__"


def floor_of(name: str) -> int:
    return next(level for level, floor in enumerate(FLOORS) if name in floor)


def owner(path: str) -> str:
    return path.partition("/")[0].removesuffix(".py")


# ── the rules ─────────────────────────────────────────────────────────────────────────────────────────


def homeless(sources: Sources) -> Iterable[str]:
    known = set().union(*FLOORS)
    return (f"{path}: {owner(path)} stands on no floor" for path in sources if owner(path) not in known)


def imports_up_or_sideways(sources: Sources) -> Iterable[str]:
    for path, source in sources.items():
        here = owner(path)
        for line, name in imported_names(path, source):
            if name.split(".")[0] != "appserve" or resident(name) == here:
                continue
            if (path, name) == FACADE:
                continue
            distance = floor_of(resident(name)) - floor_of(here)
            if distance >= 0:
                yield f"{path}:{line}: imports {name}, {'sideways' if distance == 0 else 'upward'}"


def strangers(sources: Sources) -> Iterable[str]:
    """Imports that are neither ours, nor the standard library's, nor a declared runtime dependency's."""
    optional = RUNTIME_DEPENDENCIES | OPTIONAL_DEPENDENCIES
    allowed = {"appserve", *optional, *sys.stdlib_module_names, *LATER_STANDARD_MODULES}
    for path, source in sources.items():
        for line, name in imported_names(path, source):
            if name.split(".")[0] not in allowed:
                yield f"{path}:{line}: imports {name}, which is no runtime dependency"


def machine_in_the_pure_floors(sources: Sources) -> Iterable[str]:
    for path, source in sources.items():
        if owner(path) in PURE_PACKAGES:
            for line, name in imported_names(path, source):
                if name.split(".")[0] in MACHINE_MODULES:
                    yield f"{path}:{line}: imports {name}, where there are only bytes"


def httptools_outside_http1(sources: Sources) -> Iterable[str]:
    return _imports_outside({"httptools"}, sources, lambda path: path == "http/http1.py")


def event_loops_outside_asgi(sources: Sources) -> Iterable[str]:
    return _imports_outside(
        {"asyncio", "uvloop"},
        sources,
        lambda path: path.startswith("asgi/") or path in {"workers/asgi_loop.py", "workers/loop_acceptor.py"},
    )


def _imports_outside(modules: set[str], sources: Sources, home: Callable[[str], bool]) -> Iterable[str]:
    for path, source in sources.items():
        for line, name in imported_names(path, source):
            if name.split(".")[0] in modules and not home(path):
                yield f"{path}:{line}: imports {name}"


def process_control_outside_process(sources: Sources) -> Iterable[str]:
    for path, source in sources.items():
        for line, name in imported_names(path, source):
            if name.split(".")[0] in {"subprocess", "multiprocessing"}:
                yield f"{path}:{line}: imports {name}"
        for line, module, name in _uses_of(set(PROCESS_CALLS), source):
            if name in PROCESS_CALLS[module] and path not in PROCESS_FILES:
                yield f"{path}:{line}: {module}.{name}"


def _uses_of(modules: set[str], source: str) -> Iterator[tuple[int, str, str]]:
    """Every (line, module, name) where `module.name` is used, also by another name or imported from it."""
    tree = ast.parse(source)
    local = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            local.update(
                {alias.asname or alias.name: alias.name for alias in node.names if alias.name in modules}
            )
        elif isinstance(node, ast.ImportFrom) and node.module in modules and node.level == 0:
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in local:
            yield node.lineno, local[node.value.id], node.attr


def mutable_class_state(sources: Sources) -> Iterable[str]:
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                for line, name in _mutable_in_body(node.body):
                    yield f"{path}:{line}: {node.name}.{name} is shared by every {node.name}"


def _mutable_in_body(body: Iterable[ast.stmt]) -> Iterator[tuple[int, str]]:
    for statement in body:
        if isinstance(statement, ast.Assign) and _is_mutable(statement.value):
            yield statement.lineno, ", ".join(ast.unparse(target) for target in statement.targets)
        elif (
            isinstance(statement, ast.AnnAssign)
            and statement.value is not None
            and _is_mutable(statement.value)
        ):
            yield statement.lineno, ast.unparse(statement.target)
        elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For):
            inner = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
            yield from _mutable_in_body(inner)


def _is_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        return called_name(value) in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def shapeless_names(sources: Sources) -> Iterable[str]:
    for path in sources:
        for part in path.removesuffix(".py").split("/"):
            if part.strip("_") in UNNAMEABLE:
                yield f"{path}: {part} says nothing about what is in it"


def types_of_one_name(sources: Sources) -> Iterable[str]:
    """One word, one meaning: a reader that knows one of them would take the other for it."""
    places: dict[str, list[str]] = {}
    for path, source in sources.items():
        for node in ast.parse(source).body:
            for name in _defined_types(node):
                places.setdefault(name, []).append(f"{path}:{node.lineno}")
    return (f"{', '.join(found)}: {name}" for name, found in places.items() if len(found) > 1)


def _defined_types(node: ast.stmt) -> Iterator[str]:
    """Classes and aliases of types: names in CamelCase, longer than those of type variables."""
    if isinstance(node, ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name) and target.id[0].isupper() and not target.id.isupper():
                yield target.id


def circles(sources: Sources) -> Iterable[str]:
    """Files that import each other, under TYPE_CHECKING or not: none of them can be read by itself."""
    modules = {_dotted(path): path for path in sources}
    below: dict[str, set[str]] = {path: set() for path in sources}
    for path, source in sources.items():
        for _, name in imported_names(path, source):
            found = modules.get(name) or modules.get(name.rpartition(".")[0])
            if found is not None and found != path and not found.endswith("__init__.py"):
                below[path].add(found)
    # What imports nothing that is left is in no circle, nor is what nothing that is left imports.
    while outside := {
        path for path in below if not below[path] or not any(path in imported for imported in below.values())
    }:
        below = {path: imported - outside for path, imported in below.items() if path not in outside}
    return (f"{path} imports {', '.join(sorted(imported))}: a circle" for path, imported in below.items())


def _dotted(path: str) -> str:
    return "appserve." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def long_files(sources: Sources) -> Iterable[str]:
    for path, source in sources.items():
        lines = len(source.splitlines())
        if lines > LONGEST_FILE and path not in LONG_DATA:
            yield f"{path}: {lines} lines (what is its second subject?)"


RULES: tuple[Callable[[Sources], Iterable[str]], ...] = (
    homeless,
    imports_up_or_sideways,
    strangers,
    machine_in_the_pure_floors,
    httptools_outside_http1,
    event_loops_outside_asgi,
    process_control_outside_process,
    mutable_class_state,
    shapeless_names,
    types_of_one_name,
    circles,
    long_files,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_holds(rule: Callable[[Sources], Iterable[str]]) -> None:
    sources = read_sources()
    assert len(sources) > 20, "the sources were not found"
    complaints = list(rule(sources))
    assert not complaints, "\n".join(["", *complaints])


def test_tests_mirror_the_source() -> None:
    own_subjects = {"apps", "benchmarks", "conformance", "integration"}
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    tests = {path.name for path in (ROOT / "tests").iterdir() if (path / "__init__.py").exists()}
    assert tests - own_subjects == packages


def test_no_test_module_has_a_shapeless_name() -> None:
    tests = {path.relative_to(ROOT).as_posix(): "" for path in (ROOT / "tests").rglob("*.py")}
    assert not list(shapeless_names(tests))


@pytest.mark.parametrize(
    ("settings", "absent"),
    [
        (
            "worker_class='sync'",
            {"asyncio", "uvloop", "ssl", "appserve.asgi.http1", "appserve.workers.pool"},
        ),
        ("worker_class='threads'", {"asyncio", "uvloop", "ssl", "appserve.asgi.http1"}),
        ("worker_class='asgi'", {"appserve.workers.sync_loop", "appserve.wsgi.environ"}),
        ("worker_class='asgi', loop='asyncio'", {"uvloop"}),
    ],
)
def test_a_chosen_worker_class_imports_only_its_own_modules(settings, absent) -> None:
    """Half of what is in memory would be an event loop that never runs."""
    program = f"""
import sys
from appserve.config.settings import Settings
from appserve.master import master
from appserve.workers.modules import import_modules
import_modules(Settings({settings}))
print(*sys.modules)"""
    loaded = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60
    ).stdout.split()
    assert not absent.intersection(loaded)


# ── each rule bites ───────────────────────────────────────────────────────────────────────────────────

BAD: tuple[tuple[Callable[[Sources], Iterable[str]], str, str], ...] = (
    (homeless, "plugins/loader.py", ""),
    (homeless, "extra.py", ""),
    (imports_up_or_sideways, "http/policy.py", "import appserve.net.address"),
    (imports_up_or_sideways, "http/policy.py", "from appserve import wsgi"),
    (imports_up_or_sideways, "http/policy.py", "from ..config.settings import Settings"),
    (imports_up_or_sideways, "http/policy.py", "from .. import cli"),
    (imports_up_or_sideways, "wsgi/environ.py", "from appserve.asgi.scope import AsgiFields"),
    (imports_up_or_sideways, "net/poller.py", "def wait():\n    from appserve.system import memory"),
    (
        imports_up_or_sideways,
        "workers/application.py",
        "if TYPE_CHECKING:\n    from appserve.master.roster import Roster",
    ),
    (imports_up_or_sideways, "observe/log.py", "importlib.import_module('appserve.workers.base')"),
    (imports_up_or_sideways, "version.py", "from appserve import errors"),
    (imports_up_or_sideways, "cli/main.py", "from appserve import __main__"),
    (strangers, "workers/application.py", "def load():\n    import werkzeug.wsgi"),
    (machine_in_the_pure_floors, "http/date.py", "import time"),
    (machine_in_the_pure_floors, "http/timeouts.py", "from asyncio import TimerHandle"),
    (machine_in_the_pure_floors, "http/http1.py", "def now():\n    import os.path"),
    (httptools_outside_http1, "http/policy.py", "from httptools import HttpRequestParser"),
    (httptools_outside_http1, "asgi/http1.py", "import httptools.parser"),
    (event_loops_outside_asgi, "workers/base.py", "def run():\n    import asyncio"),
    (event_loops_outside_asgi, "workers/sync_loop.py", "from uvloop import new_event_loop"),
    (process_control_outside_process, "workers/base.py", "import os\nos.kill(pid, 9)"),
    (process_control_outside_process, "workers/base.py", "import os as machine\nmachine.fork()"),
    (process_control_outside_process, "master/master.py", "from os import waitpid"),
    (process_control_outside_process, "master/upgrade.py", "import os\nreplace = os.execve"),
    (process_control_outside_process, "system/memory.py", "import os\nos.kill(pid, 0)"),
    (process_control_outside_process, "master/master.py", "import signal\nsignal.pidfd_send_signal(fd, 9)"),
    (process_control_outside_process, "config/sources.py", "import subprocess"),
    (mutable_class_state, "http/fields.py", "class Fields:\n    memo = {}"),
    (
        mutable_class_state,
        "http/fields.py",
        "class Fields:\n    memo: dict[bytes, bytes] = dict[bytes, bytes]()",
    ),
    (mutable_class_state, "http/fields.py", "class Fields:\n    if True:\n        a = b = [n for n in ()]"),
    (mutable_class_state, "http/fields.py", "def make():\n    class Fields:\n        seen = set()"),
    (mutable_class_state, "net/poller.py", "class Poller:\n    queue = collections.deque(maxlen=3)"),
    (shapeless_names, "http/util.py", ""),
    (shapeless_names, "wsgi/_helpers.py", ""),
    (shapeless_names, "common/text.py", ""),
    (types_of_one_name, "a.py", "class Aa: ...\nAa = dict[str, int]"),
    (types_of_one_name, "a.py", "class Note: ...\nclass Note: ..."),
    (long_files, "http/http1.py", "x = 1\n" * 501),
)

GOOD: tuple[tuple[Callable[[Sources], Iterable[str]], str, str], ...] = (
    (homeless, "http/new.py", ""),
    (
        imports_up_or_sideways,
        "wsgi/environ.py",
        "from appserve.http.fields import Fields\nfrom . import body",
    ),
    (imports_up_or_sideways, "cli/main.py", "from appserve import __version__\nimport appserve.errors"),
    (imports_up_or_sideways, "http/http1.py", "from .framing import body_framing\nimport httptools"),
    (strangers, "cli/main.py", "import click, json, appserve.errors"),
    (machine_in_the_pure_floors, "net/poller.py", "import os, select, time"),
    (httptools_outside_http1, "http/http1.py", "import httptools"),
    (event_loops_outside_asgi, "workers/asgi_loop.py", "import asyncio, uvloop"),
    (process_control_outside_process, "master/process.py", "import os\nos.fork()"),
    (process_control_outside_process, "master/process.py", "import signal\nsignal.pidfd_send_signal(fd, 9)"),
    (process_control_outside_process, "workers/base.py", "import os\nos.getpid()\nroster.kill(3)"),
    (
        mutable_class_state,
        "a.py",
        "@dataclass\nclass A:\n    b: list[int] = field(default_factory=list)\n    c = ()",
    ),
    (mutable_class_state, "a.py", "class A:\n    def make(self):\n        self.seen = []\n        return {}"),
    (long_files, "config/settings.py", "x = 1\n" * 900),
    (long_files, "http/http1.py", "x = 1\n" * 500),
)


def _sample_id(value: object) -> str:
    return value.__name__ if callable(value) else str(value).replace("\n", "; ")[:60]


@pytest.mark.parametrize(("rule", "path", "source"), BAD, ids=_sample_id)
def test_a_bad_sample_is_found(rule: Callable[[Sources], Iterable[str]], path: str, source: str) -> None:
    assert list(rule({path: source}))


@pytest.mark.parametrize(("rule", "path", "source"), GOOD, ids=_sample_id)
def test_a_good_sample_is_left_alone(
    rule: Callable[[Sources], Iterable[str]], path: str, source: str
) -> None:
    assert not list(rule({path: source}))


CIRCLE = {
    "asgi/__init__.py": "",
    "asgi/top.py": "from appserve.asgi.one import One",
    "asgi/one.py": "from appserve.asgi import two",
    "asgi/two.py": "if TYPE_CHECKING:\n    from appserve.asgi.three import Three",
    "asgi/three.py": "from .one import One\nfrom appserve.asgi.leaf import Leaf",
    "asgi/leaf.py": "from appserve import asgi",
}


def test_a_circle_of_several_files_is_found_and_what_is_beside_it_is_not() -> None:
    assert [complaint.partition(" ")[0] for complaint in circles(CIRCLE)] == [
        "asgi/one.py",
        "asgi/two.py",
        "asgi/three.py",
    ]
    assert not list(circles({**CIRCLE, "asgi/two.py": ""}))


def test_every_rule_is_shown_to_bite() -> None:
    assert {rule for rule, _, _ in BAD} | {circles} == set(RULES)

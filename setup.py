"""What pyproject.toml cannot say: APPSERVE_COMPILE=1 compiles the modules of the request path with mypyc.

Without it, where no C extension can be built, and in an editable installation the source stays pure Python.
"""

import os
import sys
import tempfile
from glob import glob

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

# Not those whose classes applications derive from (FileWrapper), those that derive from classes of asyncio
# (PreambleTransport), and what runs once (Lifespan).
COMPILED = (
    "http/*.py wsgi/*.py connection/*.py asgi/*.py observe/access.py observe/counters.py"
    " workers/sync_loop.py workers/executor.py workers/pool.py workers/acceptor.py"
    " workers/keepalive_policy.py net/poller.py net/kernel_queues.py"
    " -wsgi/file_wrapper.py -asgi/lifespan.py -asgi/preamble_transport.py -*/__init__.py"
)

SOURCE, GENERATED = "src", os.path.join("build", "compiled")
BUILDS = {"bdist_wheel", "build", "build_ext", "install"}  # the commands that need the C files


def main() -> None:
    wanted = os.environ.get("APPSERVE_COMPILE") == "1" and "editable_wheel" not in sys.argv
    extensions = make_extensions() if wanted and BUILDS.intersection(sys.argv) else []
    setup(ext_modules=extensions, setup_requires=["mypy>=1.15"] if wanted else [])


def make_extensions() -> list[Extension]:
    """None where they cannot be built."""
    if not can_compile():
        print(
            "APPSERVE_COMPILE: no C compiler or no headers of Python: pure Python is built", file=sys.stderr
        )
        return []
    from mypyc.build import mypycify

    # A compiled frame has the name that its file is called by here, and Python looks for it below sys.path.
    root = os.getcwd()
    os.chdir(SOURCE)
    try:
        target = os.path.join(root, GENERATED)
        found = mypycify(
            [f"--config-file={os.path.join(root, 'pyproject.toml')}", *compiled_modules()],
            opt_level="3",
            debug_level="0",
            target_dir=target,
        )
        for extension in found:
            extension.sources = [os.path.relpath(path, root) for path in extension.sources]
            extension.depends = [os.path.relpath(path, root) for path in extension.depends]
    finally:
        os.chdir(root)
    return found


def compiled_modules() -> list[str]:
    """The files of COMPILED, below SOURCE."""
    chosen: set[str] = set()
    for pattern in COMPILED.split():
        files = glob(os.path.join("appserve", pattern.removeprefix("-")))
        chosen = chosen.difference(files) if pattern.startswith("-") else chosen.union(files)
    return sorted(chosen)


def can_compile() -> bool:
    """Whether an extension of one line can be built."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "probe.c")
        with open(source, "w") as file:
            file.write("#include <Python.h>\nPyMODINIT_FUNC PyInit_probe(void) { return NULL; }\n")
        command = build_ext(Distribution({"ext_modules": [Extension("probe", [source])]}))
        command.build_lib = command.build_temp = folder
        try:
            command.ensure_finalized()
            command.run()
        except (CCompilerError, BaseError, OSError):
            return False
    return True


main()

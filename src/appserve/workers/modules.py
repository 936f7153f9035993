"""Which modules a worker needs, and their import ahead of time.

The master imports them before it forks, for three reasons. What is imported before the application's
folders are in sys.path cannot be replaced by a module of the application's with the same name (queue.py,
email/). What is in memory is not read from disk again, so an upgrade of the installed package cannot mix old
and new modules in one process. And the memory is shared by all workers, which need not spend the time.

That holds for what is imported late, too: modules that we import where they are used, for the sake of
`appserve --help`, and those that the standard library itself imports at the first use of a function.
"""

import gc
import importlib
from collections.abc import Iterator
from functools import cache

from appserve.config.settings import Settings

_OURS = "ctypes difflib ipaddress json tomllib appserve.workers.interface"
"""Imported in functions of ours."""

_OF_THE_STANDARD_LIBRARY = (
    "_colorize _strptime _suggestions annotationlib ast codeop concurrent.futures.thread email.utils"
    " encodings.ascii encodings.cp437 encodings.idna encodings.latin_1 encodings.utf_8 encodings.utf_8_sig"
    " linecache socket stringprep tempfile tokenize tracemalloc traceback unicodedata"
)
"""In its functions: tracebacks, codecs of host names and files, dates, threads. Not all of them exist in each
version of Python."""


def import_modules(settings: Settings) -> None:
    """Import everything that a worker with these settings will need. Cheap when it was done before.

    An application whose interface is not known yet (`worker_class` auto) may need either kind of worker. Both
    are imported then: which one it is turns out only when the application has been imported, too late.
    """
    for name in f"{_OURS} {_OF_THE_STANDARD_LIBRARY}".split():
        _import_if_there(name)
    for name in _of_class(settings):
        importlib.import_module(name)
    if settings.worker_class in ("auto", "asgi") and settings.loop != "asyncio":
        _import_if_there("uvloop")  # else workers/asgi_loop.py says what is missing


def share_modules(settings: Settings) -> None:
    """As import_modules(), in a process that is going to fork workers.

    What is there is frozen: a worker's garbage collector would write to each object that it looks at, and so
    copy all that is shared. At the start, when cli/main.py has switched the collector off,
    there is next to no garbage, and the search for it would delay the first answer.
    """
    import_modules(settings)
    if gc.isenabled():
        gc.collect()
    gc.freeze()
    gc.enable()


def _of_class(settings: Settings) -> Iterator[str]:
    if settings.worker_class != "asgi":
        yield "appserve.workers.sync_loop"
        if settings.threads > 1 or settings.worker_class == "threads":
            yield "appserve.workers.pool"
    if settings.worker_class in ("auto", "asgi"):
        yield "appserve.workers.asgi_loop"
    if settings.certfile:
        yield "appserve.net.tls_context"
        yield "appserve.net.tls_session"


@cache  # what is not there would be looked for again
def _import_if_there(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        pass

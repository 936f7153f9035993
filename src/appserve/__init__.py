"""appserve: a pre-fork application server for Python.

The house, from the ground up (imports go down only; tests/test_architecture.py holds the floors):

    http                              bytes: no sockets, files, clocks, signals
    net, system, observe              machine: one facility of the operating system a file
    config                            settings
    wsgi, asgi                        conversation: one connection speaking with one application
    workers                           process: one worker
    master                            family: the master and its workers
    cli                               person: the command
    embedded, testing                 the server within another program
"""

from appserve.version import __version__

# As in cli/main.py: nothing is imported here that is not in every Python process already.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["__version__", "run"]


def run(application: "str | Callable[..., Any]", **settings: "Any") -> int:
    """Serve `application` until a signal stops the server; gives the exit code.

        if __name__ == "__main__":
            sys.exit(appserve.run("main:app", host="0.0.0.0", port=8000, workers=4))

    `application` is what the command takes ("module:attribute"), or an object: workers have it as it is now,
    so a reload brings no new code. Each flag of the command is a keyword, with _ for -, also one of another
    server (docs/migrate.md): True or False for a switch, a list for a flag that is repeatable. Call it in the
    main thread. Raises TypeError for a keyword that is no setting; a wrong value is logged, and gives exit
    code 5.
    """
    from appserve import embedded  # only a program that serves pays for it

    return embedded.run(application, **settings)

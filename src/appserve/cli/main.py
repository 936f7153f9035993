"""The `appserve` command, as `python -m appserve` and the console script call it."""

# Until main() has put sys.path right, a file beside the script or in the current folder is found before the
# standard library's. So nothing is imported here that is not in every Python process already.
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

# What a shell reports for a command that Ctrl-C ended.
_INTERRUPTED = 130

# ExitCode.INTERNAL, which is not imported yet when it is needed most.
_INTERNAL = 71


def main(arguments: "Sequence[str] | None" = None) -> "NoReturn":
    """Run the command with these arguments (those of the process by default), and exit with its code."""
    gc.disable()  # until workers/modules.py switches it on: what is imported now stays
    try:
        _remove_launcher_folder()
        # Imported here, so that a Ctrl-C during the first moments is as quiet as later on.
        from appserve.cli.command import run

        code = run(sys.argv[1:] if arguments is None else arguments)
        if sys.stdout is not None:  # None: whoever started us has closed it
            sys.stdout.flush()
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except BrokenPipeError:
        # `appserve --help | head`: the reader has what it wanted. Nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception:
        import traceback  # only a fault of ours pays for it

        traceback.print_exc()
        code = _INTERNAL
    sys.exit(code)


def _remove_launcher_folder() -> None:
    """Take out of sys.path what Python puts in front of the standard library for the sake of a program's own
    modules, of which we have none there: the script's folder (venv/bin), or with -m the current one.

    Only workers search the application's folder (workers/application.py), and only after our modules were
    imported. Another program that calls main() keeps its folder, and PYTHONPATH is the operator's.
    """
    if sys.flags.safe_path or not sys.path or not sys.argv:
        return
    program = sys.argv[0]
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if os.path.abspath(program) == os.path.join(package, "__main__.py"):
        folders = [_current_folder()]
    elif os.path.basename(program) == "appserve":
        # The script may have been called by a symbolic link; Python puts the folder of what that leads to.
        folders = [os.path.dirname(os.path.abspath(program)), os.path.dirname(os.path.realpath(program))]
    else:
        return
    if sys.path[0] in folders:
        first = sys.path.pop(0)
        if first == os.path.dirname(package):  # everything is installed here, so it has to be found
            sys.path.append(first)


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed, and Python has put nothing in front
        return ""

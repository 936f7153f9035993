"""The `appserve` command, as `python -m appserve` and the console script call it."""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

# What a shell reports for a command that Ctrl-C ended.
_INTERRUPTED = 130

# ExitCode.INTERNAL, which is not imported yet when it is needed most.
_INTERNAL = 71


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with these arguments (those of the process by default), and exit with its code."""
    try:
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

"""Something done in a forked child, for facts that hold for a process."""

import os
import sys
import traceback
from collections.abc import Callable


def in_child(work: Callable[[], object]) -> str:
    """What `work` returned, as text, or its traceback; the child ends at once and leaves nothing behind."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(work())
        except BaseException:
            answer = traceback.format_exc()
        try:
            with os.fdopen(writer, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(answer)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, encoding="utf-8") as file:
            return file.read()
    finally:
        os.waitpid(pid, 0)

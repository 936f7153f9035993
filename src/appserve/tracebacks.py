"""The traceback of what the application raised, without the frames of the server."""

import os
import traceback
from types import FrameType

_OURS = (
    os.path.dirname(os.path.abspath(__file__)) + os.sep,
    "appserve" + os.sep,  # what is compiled has the name that setup.py called it by
)

_THREADING = os.path.join(os.path.dirname(os.__file__), "threading.py")


def application_traceback(error: BaseException) -> str:
    """The traceback from the application's first frame on, and those of its causes.

    Frames of this server that lead to the application are left out, and so is the import machinery. A
    mistake of the application without a frame of its own is shown by its last line alone; a fault of appserve
    is shown whole.
    """
    shown = traceback.TracebackException.from_exception(error)
    raised_here = bool(shown.stack) and shown.stack[-1].filename.startswith(_OURS)
    _cut(shown, set())
    if shown.stack or shown.__cause__ is not None or shown.__context__ is not None:
        lines = shown.format()
    elif raised_here and not type(error).__module__.startswith("appserve."):
        lines = traceback.TracebackException.from_exception(error).format()
    else:
        lines = shown.format_exception_only()
    return "".join(lines).rstrip("\n")


def has_application_frames(error: BaseException) -> bool:
    """Whether the application's own code ran before `error` was raised."""
    shown = traceback.TracebackException.from_exception(error, lookup_lines=False)
    _cut(shown, set())
    return bool(shown.stack)


def application_stack(frame: FrameType) -> str:
    """Where a thread is that runs the application: its stack from the application's first frame on.

    A thread that is not in the application is shown whole.
    """
    stack = traceback.StackSummary.extract(traceback.walk_stack(frame))
    stack.reverse()  # the most recent call last, as in a traceback
    # What is compiled has no frames here: then the application follows those that start a thread.
    ours = [one.filename.startswith(_OURS) or one.filename == _THREADING for one in stack]
    if True in ours and False in ours[ours.index(True) :]:
        del stack[: ours.index(False, ours.index(True))]
    return "".join(stack.format()).rstrip("\n")


def _cut(shown: traceback.TracebackException, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = list(shown.stack)
    while frames and (frames[0].filename.startswith(_OURS) or _is_importing(frames[0].filename)):
        frames.pop(0)
    shown.stack[:] = [one for one in frames if not _is_importing(one.filename)]
    for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
        if other is not None:
            _cut(other, seen)


def _is_importing(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename.endswith("/importlib/__init__.py")

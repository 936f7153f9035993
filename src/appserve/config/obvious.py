"""The application that a folder obviously has, for the error of a command without one."""

import os
import re

FILES = ("main.py", "app.py", "application.py", "wsgi.py", "asgi.py", "server.py")
"""Where applications are, likeliest first; wsgi.py and asgi.py also in the folders below, as in Django."""

ATTRIBUTE = re.compile(r"^(?:async )?(?:def )?(app|application)\b[^\n=(:]*(?:=|\(|:[^\n=]+=)", re.MULTILINE)
FACTORY = re.compile(r"^def (create_app|make_app)\(", re.MULTILINE)
LONGEST = 1 << 20  # bytes of a file that is read


def find_application(folder: str) -> str:
    """What to write after the command, "main:app"; "" if no file looks like an application."""
    below = sorted(_folders(folder))
    candidates = [*FILES, *(f"{name}/{file}" for name in below for file in ("wsgi.py", "asgi.py"))]
    for path in candidates:
        text = _read(os.path.join(folder, path))
        module = path.removesuffix(".py").replace("/", ".")
        if found := ATTRIBUTE.search(text):
            return f"{module}:{found[1]}"
        if found := FACTORY.search(text):
            return f"'{module}:{found[1]}()'"
    return ""


def _folders(folder: str) -> list[str]:
    try:
        return [
            entry.name for entry in os.scandir(folder or ".") if entry.is_dir() and entry.name.isidentifier()
        ]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(LONGEST)
    except OSError:
        return ""

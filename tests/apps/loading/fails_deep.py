"""Raises at import, some frames down and through the import machinery."""

import importlib


def _connect():
    try:
        raise OSError("connection refused")
    except OSError as error:
        raise RuntimeError("no database") from error


def _configure():
    importlib.import_module("json")
    _connect()


_configure()

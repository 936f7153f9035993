"""The service of a connection, changed for a test."""

from typing import Any

from appserve.connection.service import Service


def changed(service: Service[Any, Any], **changes: Any) -> Service[Any, Any]:
    """A copy in which some attributes have other values."""
    values = {name: getattr(service, name) for name in dir(service) if not name.startswith("_")}
    return Service(**(values | changes))

"""What ps and top call a process."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def set_title(title: str) -> None:
    """Name this process, for people who look; a system that cannot do it changes nothing."""
    # Here, because the first import copies the environment out of the way of the title.
    try:
        from setproctitle import setproctitle

        setproctitle(_CONTROL.sub("?", title))
    except Exception:  # a name is never worth a process
        pass

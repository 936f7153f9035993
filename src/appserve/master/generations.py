"""The settings of each generation: read again at a reload, in charge once their first worker is READY.

A reload cannot hurt: settings that cannot be used are refused with every problem in the log, and what only
a restart can change is named and left as it is.
"""

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING

from appserve.config.derive import make_tls
from appserve.config.settings import BY_NAME, Resolved, Settings, changes
from appserve.errors import ConfigError, TlsError
from appserve.master.events import Plan
from appserve.master.logs import Logs, close_log
from appserve.observe.log import Level
from appserve.values import Value
from appserve.workers.modules import share_modules

if TYPE_CHECKING:
    import ssl


def plan_of(settings: Settings) -> Plan:
    """What the roster has to know of the settings."""
    return Plan(settings.workers, settings.graceful_timeout, settings.surge or max(1, settings.workers // 4))


class Generation(Value):
    """What the workers of one generation are started with; they share the TLS context.

    `error_log` is the descriptor of the error log if that moves with this generation, else None.
    """

    settings: Settings
    tls: "ssl.SSLContext | None" = None
    error_log: int | None = None


class Generations:
    """The settings in charge, and those of a generation that has yet to prove itself."""

    def __init__(
        self,
        resolved: Resolved,
        reread: Callable[[], Resolved],
        logs: Logs,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._current = Generation(resolved.settings, tls)
        self._candidate: Generation | None = None
        self._reread = reread
        self._logs = logs
        self._log = logs.log

    @property
    def current(self) -> Settings:
        return self._current.settings

    def get(self, number: int, in_charge: int) -> Generation:
        """What a worker of generation `number` is started with."""
        return self._current if number == in_charge or self._candidate is None else self._candidate

    def read(self) -> Plan | None:
        """Read the settings again for a new generation; None, with the reasons in the log, if they are no
        good."""
        try:
            settings = self._fitted(self._reread())
            tls = make_tls(settings, self._log.warning)
            self.abandon()  # of an earlier reload
            error_log = self._logs.prepare(settings)
        except (ConfigError, TlsError) as error:
            for problem in error.problems if isinstance(error, ConfigError) else (error.message,):
                self._log.error(f"reload: {problem}")
            self._log.error("reload refused: invalid settings; the old ones stay in use")
            return None
        except Exception as error:
            # A fault of ours, but no reason to end a server that serves.
            what = f"reload refused: unexpected {type(error).__name__} while reading the settings"
            self._log.block(Level.CRITICAL, what, traceback.format_exc())
            return None
        self._candidate = Generation(settings, tls, error_log)
        return plan_of(settings)

    def commit(self) -> bool:
        """The candidate's first worker is READY; gives whether the error log has moved."""
        if self._candidate is None:
            return False
        self._current, self._candidate = self._candidate, None
        self._import_modules()
        return self._logs.move(self.current.error_logfile, self._current.error_log)

    def _import_modules(self) -> None:
        """Another class of workers needs other modules; the first of them has imported them for itself."""
        try:
            share_modules(self.current)
        except Exception as error:
            what = f"the modules for the workers cannot be imported: unexpected {type(error).__name__}"
            self._log.block(
                Level.CRITICAL, f"{what}; each worker imports them itself", traceback.format_exc()
            )

    def abandon(self) -> None:
        """The candidate's first worker could not boot."""
        if self._candidate is not None:
            close_log(self._candidate.error_log)
            self._candidate = None

    def access_paths(self) -> set[str]:
        """The access logs that the generation in charge and the next one name."""
        both = (self._current, self._candidate)
        return {one.settings.access_logfile for one in both if one is not None}

    def _fitted(self, resolved: Resolved) -> Settings:
        """The settings of `resolved`, with everything as it was that only a restart can change."""
        for warning in resolved.warnings:
            self._log.warning(f"reload: {warning}")
        old, new = self._current.settings, resolved.settings
        applied, needs_restart = changes(old, new)
        for name in applied:
            show = BY_NAME[name].show
            self._log.info(f"reload: {name} = {show(getattr(new, name))} (was {show(getattr(old, name))})")
        if needs_restart:
            self._log.warning(f"reload: {', '.join(needs_restart)} not changed: a restart is needed")
        return new.replace(**{name: getattr(old, name) for name in needs_restart})

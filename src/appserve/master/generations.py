"""The settings of each generation: read again at a reload, in charge once their first worker is READY.

A reload cannot hurt: settings that cannot be used are refused with every problem in the log, and what only
a restart can change is named and left as it is.
"""

import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from appserve.config.derive import make_tls
from appserve.config.settings import BY_NAME, Resolved, Settings, changes
from appserve.errors import ConfigError, TlsError
from appserve.master.events import Plan
from appserve.master.logs import Logs
from appserve.observe.log import Level
from appserve.workers.modules import share_modules

if TYPE_CHECKING:
    import ssl


def plan_of(settings: Settings) -> Plan:
    """What the roster has to know of the settings."""
    return Plan(settings.workers, settings.graceful_timeout, settings.surge or max(1, settings.workers // 4))


class Generations:
    """The settings in charge, and those of a generation that has yet to prove itself."""

    def __init__(
        self,
        resolved: Resolved,
        reread: Callable[[], Resolved],
        logs: Logs,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        self._current, self._tls = resolved, tls
        self._candidate: Resolved | None = None
        self._candidate_tls: ssl.SSLContext | None = None
        self._reread = reread
        self._logs = logs
        self._log = logs.log

    @property
    def current(self) -> Settings:
        return self._current.settings

    def settings_for(self, generation: int, in_charge: int) -> Settings:
        """What a worker of this generation is started with."""
        if generation != in_charge and self._candidate is not None:
            return self._candidate.settings
        return self._current.settings

    def tls_for(self, generation: int, in_charge: int) -> "ssl.SSLContext | None":
        """The TLS context of this generation, which all of its workers share."""
        return self._candidate_tls if generation != in_charge and self._candidate is not None else self._tls

    def read(self) -> Plan | None:
        """Read the settings again for a new generation; None, with the reasons in the log, if they are no
        good."""
        try:
            candidate = self._fitted(self._reread())
            tls = make_tls(candidate.settings, self._log.warning)
            self._logs.prepare(candidate.settings)
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
        self._candidate, self._candidate_tls = candidate, tls
        return plan_of(candidate.settings)

    def commit(self) -> None:
        """The candidate's first worker is READY."""
        if self._candidate is not None:
            self._current, self._candidate = self._candidate, None
            self._tls, self._candidate_tls = self._candidate_tls, None
            self._import_modules()

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
        self._candidate = self._candidate_tls = None
        self._logs.abandon()

    def access_paths(self) -> set[str]:
        """The access logs that the generation in charge and the next one name."""
        both = (self._current, self._candidate)
        return {resolved.settings.access_logfile for resolved in both if resolved is not None}

    def _fitted(self, resolved: Resolved) -> Resolved:
        """`resolved` with everything as it was that only a restart can change."""
        for warning in resolved.warnings:
            self._log.warning(f"reload: {warning}")
        old, new = self._current.settings, resolved.settings
        applied, needs_restart = changes(old, new)
        for name in applied:
            shown, before = _shown(name, new), _shown(name, old)
            self._log.info(f"reload: {name} = {shown} (was {before})")
        if needs_restart:
            self._log.warning(f"reload: {_listed(needs_restart)} not changed: a restart is needed")
        kept = {name: getattr(old, name) for name in needs_restart}
        return resolved.replace(settings=new.replace(**kept))


def _shown(name: str, settings: Settings) -> str:
    return BY_NAME[name].show(getattr(settings, name))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)

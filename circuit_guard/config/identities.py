"""The watch on the identities in the settings file: who may do what, and which certificates are revoked.

A change takes effect whole or not at all, and without a restart. All other settings are read once, at the start. What
is compared is read through the path, so it does not matter how the file is replaced (see `config.watch`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from circuit_guard.config.security import SecuritySettings
from circuit_guard.config.settings import Settings, parse_settings
from circuit_guard.config.toml import read_text
from circuit_guard.config.watch import NOT_READ, READ_WITHIN_S
from circuit_guard.errors import Problem, SettingsError
from circuit_guard.threads import Reads

TASK = "identities watch"
LOOK_INTERVAL_S = 0.25
"""A change is taken when two looks in a row have seen the same, so within a second."""
RELOADED = ("identities", "revoked_certificates")
"""What of the table `security` takes effect without a restart."""
_KEPT_CLOSED = "at least one identity: without any, everybody could do everything, which takes a restart"

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Where the settings came from: a file, and the variables over it."""

    path: Path
    environ: Mapping[str, str]

    def text(self) -> str | SettingsError:
        """Return what is in the file now, or why that cannot be said."""
        try:
            return read_text(self.path, SettingsError)
        except SettingsError as error:
            return error

    def settings(self, text: str) -> Settings:
        """Return the settings that a text means. Raise SettingsError with every problem."""
        return parse_settings(text, str(self.path), self.environ)


class IdentitiesWatch:
    """Knows what was last judged of the file, and has it judged again: when told, or when it has changed."""

    def __init__(
        self,
        file: SettingsFile | None,
        in_force: Settings,
        take: Callable[[SecuritySettings], None],
        told: Callable[[bool], None],
    ) -> None:
        """`take` puts identities into force; `told` is called with whether those in the file are in force.

        `file` None: the settings came from no file, and there is nothing to look at.
        """
        self._file = file
        self._in_force = in_force
        self._take = take
        self._told = told
        self._seen: str | None = None
        self._judged: str | None = None
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._reads = Reads()
        self.problem = ""
        """Why the file's identities are not in force, for everybody to see; empty where they are."""

    async def reload(self) -> None:
        """Take the file as it is now, changed or not. Raise SettingsError for a bad one; what is in force stays."""
        if self._file is None:
            return
        async with self._turn:
            text = await self._text(self._file)
            self._seen = self._judged = str(text)
            await self._judge(text)

    def reload_soon(self) -> None:
        """Take the file as it is now, when no caller waits for an answer."""
        self._asked.set()

    async def look(self) -> None:
        """Look at the file; take it where it differs from what was judged and is as it was at the look before."""
        if self._file is None:
            return
        async with self._turn:
            text = await self._text(self._file)
            before, self._seen = self._seen, str(text)
            if self._seen != before or self._seen == self._judged:
                return
            self._judged = self._seen
            with suppress(SettingsError):  # it is logged
                await self._judge(text)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look again and again while the context lasts."""
        task = asyncio.create_task(self._look_for_ever(), name=TASK)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _look_for_ever(self) -> None:
        while True:
            try:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), LOOK_INTERVAL_S)
                if self._asked.is_set():
                    self._asked.clear()
                    with suppress(SettingsError):  # it is logged
                        await self.reload()
                await self.look()
            except Exception:  # noqa: BLE001  # whatever it is, those in force stay, and the next look comes
                _log.critical("identities_reload_failed", exc_info=True)

    async def _text(self, file: SettingsFile) -> str | SettingsError:
        """Return what is in the file, or why that cannot be said."""
        try:
            return await self._reads.within(file.text, READ_WITHIN_S)
        except TimeoutError:
            return SettingsError(str(file.path), [NOT_READ])

    async def _judge(self, text: str | SettingsError) -> None:
        assert self._file is not None  # noqa: S101  # the callers look
        try:
            found = await asyncio.to_thread(_settings, self._file, text, self._in_force)
        except SettingsError as error:
            self.problem = f"{error.in_brief()}. The identities before it stay."
            in_force = sorted(self._in_force.security.identities)
            _log.error("identities_refused", in_force=in_force, violations=[str(it) for it in error.problems])
            self._told(False)
            raise
        self.problem = ""
        if changed := _need_restart(self._in_force, found):
            _log.warning("settings_need_restart", changed=changed, means="the values of the start stay in force")
        if any(getattr(found.security, key) != getattr(self._in_force.security, key) for key in RELOADED):
            known = {key: getattr(found.security, key) for key in RELOADED}
            security = self._in_force.security.model_copy(update=known)
            self._in_force = self._in_force.model_copy(update={"security": security})
            self._take(security)
            _log.info(
                "identities_taken_up",
                identities=sorted(security.identities),
                revoked_certificates=len(security.revoked_certificates),
            )
        self._told(True)


def _settings(file: SettingsFile, text: str | SettingsError, in_force: Settings) -> Settings:
    """Return what a text means. Raise SettingsError where that cannot take the place of what is in force."""
    if isinstance(text, SettingsError):
        raise text
    found = file.settings(text)
    if in_force.security.identities and not found.security.identities:
        raise SettingsError(str(file.path), [Problem("security.identities", "none", _KEPT_CLOSED)])
    return found


def _need_restart(in_force: Settings, found: Settings) -> list[str]:
    """Return the settings that differ and are read at the start only, but for the path that a command may replace."""
    return [
        f"{section}.{key}"
        for section, table in in_force
        for key, value in table
        if getattr(getattr(found, section), key) != value
        and not (section == "security" and key in RELOADED)
        and (section, key) != ("policy", "path")
    ]

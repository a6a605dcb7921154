"""The watch on the policy file: a change is applied whole or not at all.

It compares what is read through the path, so it does not matter how the file is replaced: written in place, renamed
over, or, where a Kubernetes ConfigMap is mounted, by moving the symlink `..data` of its directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog

from circuit_guard.config.policy import parse_policy
from circuit_guard.config.toml import read_text
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import Policy
from circuit_guard.errors import CircuitGuardError, PolicyError, Problem
from circuit_guard.threads import Reads

TASK = "policy watch"
"""The name of the asyncio task that looks at the file."""

READ_WITHIN_S = 5.0
"""A file that is not read and understood by then counts as one that cannot be read."""
NOT_READ = Problem(
    "file",
    "not read",
    f"a file that can be read within {READ_WITHIN_S:g} s: its disk hangs, or the machine is overloaded",
)

T = TypeVar("T")
_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyContent:
    """What was at the policy's path: its text, or why there was none to be had. Equal content is equal."""

    path: Path
    found: str | tuple[Problem, ...]

    def policy(self) -> Policy:
        """Return the policy it means, resolved. Raise PolicyError with every problem."""
        if isinstance(self.found, str):
            return parse_policy(self.found, str(self.path))
        raise PolicyError(str(self.path), self.found)

    def judged(self) -> Policy | Exception:
        """Return the policy it means, or why it cannot be taken."""
        try:
            return self.policy()
        except Exception as error:  # noqa: BLE001  # a defect of the loader is one more reason not to take a policy
            return error


def read_content(path: Path) -> PolicyContent:
    """Return what is at the path now; a missing file is content too."""
    try:
        return PolicyContent(path, read_text(path, PolicyError))
    except PolicyError as error:
        return PolicyContent(path, error.problems)


class PolicyWatch:
    """Knows what was last judged of the policy file, and has it judged again: when told, or when it has changed."""

    def __init__(self, judged: PolicyContent, take: Callable[[Policy | Exception], list[Fact]]) -> None:
        """`judged` is the content in force. `take` puts a policy into force; it raises what it is given for a bad one.

        It is called once for each content, so a bad file is reported once and not with every look at it.
        """
        self._path = judged.path
        self._judged = self._seen = judged
        self._take = take
        self._reads = Reads()
        self._turn = asyncio.Lock()

    async def reload(self) -> list[Fact]:
        """Take the file as it is now, changed or not, and return the facts. Raise PolicyError for a bad one."""
        async with self._turn:
            try:
                content, judged = await self._read(lambda: _judged(self._path))
            except PolicyError as error:
                return self._take(error)
            self._judged = self._seen = content
            return self._take(judged)

    async def reload_for(self, actor: str, reason: str) -> None:
        """Take the file as it is now, when no caller waits for an answer. `take` logs a bad file."""
        _log.info("policy_reload_requested", actor=actor, reason=reason)
        with _old_policy_stays():
            await self.reload()

    async def check(self) -> None:
        """Look at the file; take it where it differs from what was judged and is as it was at the look before.

        A file that is being written differs from look to look, so half of a policy is not taken for a policy.
        Nothing is raised: `take` logs a bad file.
        """
        with _old_policy_stays():
            async with self._turn:  # content that was read before a reload must not be taken after it
                before, known = self._seen, self._judged
                try:
                    content, judged = await self._read(lambda: _looked(before, known))
                except PolicyError as error:
                    content = PolicyContent(self._path, error.problems)
                    judged = error if content == before and content != known else None
                self._seen = content
                if judged is not None:
                    self._judged = content
                    _log.info("policy_reload_requested", actor=TASK, reason=f"{self._path} has changed")
                    self._take(judged)

    async def _read(self, work: Callable[[], T]) -> T:
        """Return what `work` reads. Raise PolicyError where the disk does not give it in time."""
        try:
            return await self._reads.within(work, READ_WITHIN_S)
        except TimeoutError:
            raise PolicyError(str(self._path), [NOT_READ]) from None

    @asynccontextmanager
    async def running(self, interval_s: float) -> AsyncIterator[None]:
        """Check every `interval_s` seconds while the context lasts."""

        async def check_for_ever() -> None:
            while True:
                await asyncio.sleep(interval_s)
                await self.check()

        task = asyncio.create_task(check_for_ever(), name=TASK)
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _judged(path: Path) -> tuple[PolicyContent, Policy | Exception]:
    content = read_content(path)
    return content, content.judged()


def _looked(before: PolicyContent, judged: PolicyContent) -> tuple[PolicyContent, Policy | Exception | None]:
    """Return what is at the path now and, where it is as it was before and was not judged yet, what it means.

    It takes a while, so it runs in a thread.
    """
    content = read_content(before.path)
    return content, content.judged() if content == before and content != judged else None


@contextmanager
def _old_policy_stays() -> Iterator[None]:
    """Let no failure to take a policy end what the guard does otherwise."""
    try:
        yield
    except CircuitGuardError:
        """Logged where it happened."""
    except Exception:  # noqa: BLE001  # see above
        _log.critical("policy_reload_failed", exc_info=True)

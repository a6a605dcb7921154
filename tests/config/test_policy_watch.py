"""The watch on the policy file: however it is replaced, what is new is taken whole or not at all."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from circuit_guard.config.settings import load_settings
from circuit_guard.config.watch import TASK
from circuit_guard.core.inputs import Tick
from circuit_guard.engine.engine import EngineFailed
from circuit_guard.errors import PolicyError
from circuit_guard.runtime.app import App, running_app

BTC = "BTC-USD-PERP"
ETH = "ETH-USD-PERP"
SOL = "SOL-USD-PERP"
FIRST = f"[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.{BTC}]\n"
SECOND = FIRST + f"[markets.{ETH}]\n"
THIRD = SECOND + f"[markets.{SOL}]\n"
BAD = FIRST + "typo = 1\n"


class Guard:
    """A guard that runs and looks at its policy when the test says so."""

    def __init__(self, app: App, path: Path) -> None:
        self.app = app
        self.path = path

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self.app.policy_watch.check()

    @property
    def markets(self) -> set[str]:
        return set(self.app.engine.policy.markets)

    async def counted(self) -> tuple[int, int, int]:
        """Return as scraped: whether the last reload was successful, the successes, the failures."""
        samples = await asyncio.to_thread(scrape, self.app.http_address)
        names = ("last_reload_successful", 'reloads_total{result="success"}', 'reloads_total{result="failure"}')
        successful, successes, failures = (int(samples[f"circuit_guard_policy_{name}"]) for name in names)
        return successful, successes, failures


def scrape(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {series: float(value) for series, _, value in samples}


def environment(path: Path, **policy: str) -> dict[str, str]:
    own = {f"CIRCUIT_GUARD_POLICY__{key.upper()}": value for key, value in policy.items()}
    ports = {"CIRCUIT_GUARD_GRPC__LISTEN": "127.0.0.1:0", "CIRCUIT_GUARD_HTTP__LISTEN": "127.0.0.1:0"}
    return {"CIRCUIT_GUARD_POLICY__PATH": str(path)} | ports | own


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Return a directory as Kubernetes mounts a ConfigMap: policy.toml -> ..data/policy.toml, ..data -> ..2026_1."""
    (tmp_path / "..2026_1").mkdir()
    (tmp_path / "..2026_1" / "policy.toml").write_text(FIRST)
    (tmp_path / "..data").symlink_to("..2026_1")
    (tmp_path / "policy.toml").symlink_to("..data/policy.toml")
    return tmp_path


@pytest.fixture
async def guard(mount: Path) -> AsyncIterator[Guard]:
    path = mount / "policy.toml"
    async with running_app(load_settings(None, environment(path, watch="false"))) as app:
        yield Guard(app, path)


def write_in_place(path: Path, text: str) -> None:
    path.write_text(text)


def rename_over(path: Path, text: str) -> None:
    path.with_name("new.toml").write_text(text)
    path.with_name("new.toml").replace(path)


def swap_data(path: Path, text: str) -> None:
    old = (path.parent / "..data").readlink()
    new = path.parent / f"{old}_next"
    new.mkdir()
    (new / path.name).write_text(text)
    (path.parent / "..data_tmp").symlink_to(new.name)
    (path.parent / "..data_tmp").rename(path.parent / "..data")
    shutil.rmtree(path.parent / old)


# A good policy


@pytest.mark.parametrize("replace", [write_in_place, rename_over, swap_data])
async def test_watch_when_the_file_is_replaced_then_the_second_look_takes_it(
    guard: Guard, replace: Callable[[Path, str], None]
) -> None:
    for text, markets in ((SECOND, {BTC, ETH}), (FIRST, {BTC}), (THIRD, {BTC, ETH, SOL})):
        before = guard.markets
        replace(guard.path, text)
        await guard.look()
        assert guard.markets == before
        await guard.look()
        assert guard.markets == markets

    await guard.look(times=3)
    assert await guard.counted() == (1, 3, 0), "each change was taken once"


async def test_watch_when_nothing_changes_then_nothing_is_reloaded(guard: Guard) -> None:
    await guard.look(times=3)
    rename_over(guard.path, FIRST)
    await guard.look(times=3)

    assert await guard.counted() == (1, 0, 0)


async def test_watch_when_the_file_is_half_written_then_only_the_whole_is_taken(guard: Guard) -> None:
    for written in (SECOND, SECOND + "[mark", THIRD):
        guard.path.write_text(written)
        await guard.look()
        assert guard.markets == {BTC}

    await guard.look()

    assert guard.markets == {BTC, ETH, SOL}
    assert await guard.counted() == (1, 1, 0)


async def test_watch_when_only_the_wording_changes_then_that_is_a_success_under_the_same_revision(guard: Guard) -> None:
    revision = guard.app.engine.policy.revision
    guard.path.write_text(FIRST + "# reviewed\n")
    await guard.look(times=3)

    assert guard.app.engine.policy.revision == revision
    assert await guard.counted() == (1, 1, 0)


# A bad policy


@pytest.mark.parametrize("bad", [BAD, "not toml", "", b"\xff", None])
async def test_watch_when_the_file_is_bad_then_the_old_policy_stays_until_a_good_one_comes(
    guard: Guard, bad: str | bytes | None
) -> None:
    if bad is None:
        guard.path.unlink()
    else:
        guard.path.write_bytes(bad.encode() if isinstance(bad, str) else bad)
    await guard.look()
    assert await guard.counted() == (1, 0, 0), "one look is not enough"

    for _ in range(3):
        await guard.look()
        assert await guard.counted() == (0, 0, 1)
    assert guard.markets == {BTC}

    guard.path.write_text(SECOND)
    await guard.look(times=2)
    assert guard.markets == {BTC, ETH}
    assert await guard.counted() == (1, 1, 1)


@pytest.mark.parametrize("bad", [BAD, None])
async def test_watch_when_the_file_is_again_what_is_in_force_then_the_reload_is_successful_again(
    guard: Guard, bad: str | None
) -> None:
    guard.path.write_text(bad) if bad else guard.path.unlink()
    await guard.look(times=2)
    assert await guard.counted() == (0, 0, 1)

    guard.path.write_text(FIRST)
    await guard.look(times=2)

    assert await guard.counted() == (1, 1, 1)


async def test_watch_when_a_good_file_was_there_for_one_look_then_the_bad_one_still_counts(guard: Guard) -> None:
    for text in (BAD, BAD, FIRST, BAD, BAD, BAD):
        guard.path.write_text(text)
        await guard.look()

    assert await guard.counted() == (0, 0, 1)


async def test_watch_when_an_editor_removes_the_file_for_a_moment_then_nothing_is_reported(guard: Guard) -> None:
    guard.path.unlink()
    await guard.look()
    guard.path.write_text(FIRST)
    await guard.look(times=2)

    assert await guard.counted() == (1, 0, 0)


async def test_watch_when_a_file_stays_bad_then_its_violations_are_logged_once(
    mount: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = mount / "policy.toml"
    async with running_app(load_settings(None, environment(path, watch="false"))) as app:
        guard, revision = Guard(app, path), app.engine.policy.revision
        for text in (BAD, BAD + "also = 2\n"):
            path.write_text(text)
            await guard.look(times=5)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    refused = [line for line in lines if line["event"] == "policy_refused"]
    first = f"markets.{BTC}.typo: was 1, expected no key of this name"
    assert [line["violations"] for line in refused] == [
        [first],
        [first, f"markets.{BTC}.also: was 2, expected no key of this name"],
    ]
    assert {(line["level"], line["in_force"]) for line in refused} == {("error", revision)}
    assert "policy_reload_failed" not in {line["event"] for line in lines}, "a bad file is no defect"
    requested = [line for line in lines if line["event"] == "policy_reload_requested"]
    assert [(line["actor"], line["reason"]) for line in requested] == [(TASK, f"{path} has changed")] * 2


# Beside a reload that somebody asks for


@pytest.mark.parametrize(("text", "counted"), [(BAD, (0, 0, 1)), (SECOND, (1, 1, 0))])
async def test_watch_when_somebody_has_reloaded_the_file_then_it_is_not_taken_again(
    guard: Guard, text: str, counted: tuple[int, int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    guard.path.write_text(text)
    await guard.app.policy_watch.reload_for("signal", "SIGHUP")
    await guard.look(times=3)

    assert await guard.counted() == counted


async def test_watch_when_somebody_reloads_meanwhile_then_what_it_had_read_is_not_taken(guard: Guard) -> None:
    guard.path.write_text(SECOND)
    await guard.look()
    looking = asyncio.create_task(guard.look())
    rename_over(guard.path, THIRD)
    await asyncio.gather(looking, guard.app.reload_policy())

    assert guard.markets == {BTC, ETH, SOL}
    await guard.look(times=2)
    assert guard.markets == {BTC, ETH, SOL}


async def test_watch_when_a_reload_came_upon_half_a_file_then_the_whole_is_taken_later(guard: Guard) -> None:
    guard.path.write_text(SECOND + "[mark")
    with pytest.raises(PolicyError):
        await guard.app.reload_policy()
    guard.path.write_text(SECOND)
    await guard.look(times=2)

    assert guard.markets == {BTC, ETH}
    assert await guard.counted() == (1, 1, 1)


# Trouble of our own


async def test_watch_when_the_engine_has_failed_then_the_watch_goes_on(guard: Guard) -> None:
    with pytest.raises(EngineFailed):
        guard.app.engine.step(Tick(0))

    guard.path.write_text(SECOND)
    await guard.look(times=2)
    await guard.app.policy_watch.reload_for("signal", "SIGHUP")

    assert guard.markets == {BTC}


async def test_policy_when_the_loader_itself_fails_then_that_is_a_failed_reload(guard: Guard) -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        guard.app.take_policy(RuntimeError("a defect"))

    assert await guard.counted() == (0, 0, 1)


# Running


@pytest.mark.parametrize("watch", ["true", "false"])
async def test_app_when_the_watch_is_switched_off_then_nothing_looks_at_the_file(mount: Path, watch: str) -> None:
    async with running_app(load_settings(None, environment(mount / "policy.toml", watch=watch))):
        assert (TASK in {task.get_name() for task in asyncio.all_tasks()}) is (watch == "true")

    assert TASK not in {task.get_name() for task in asyncio.all_tasks()}

"""The board: one view for everybody, and what counts as a change."""

from __future__ import annotations

import asyncio

import pytest

from circuit_guard.web import site
from circuit_guard.web.board import Board, View
from tests.driver import BTC, Driver, policy_of


def view_of(driver: Driver) -> View:
    return View(driver.engine.now_ns(), tuple(driver.engine.ready()), failed=False, status=driver.engine.status())


def test_board_when_only_ages_and_prices_move_then_that_is_no_change() -> None:
    driver, board = Driver(policy_of(BTC)), Board(0)
    driver.run(60)
    board.show(view_of(driver))
    changes = board.changes
    driver.run(5)
    board.show(view_of(driver))

    assert (board.version, board.changes) == (2, changes)


def test_board_when_data_grow_stale_then_that_is_a_change() -> None:
    driver, board = Driver(policy_of(BTC)), Board(0)
    driver.run(60)
    board.show(view_of(driver))
    changes = board.changes
    driver.clock.advance(16)
    board.show(view_of(driver))

    assert board.changes == changes + 1


async def test_board_when_a_view_comes_then_everybody_who_waits_is_woken() -> None:
    driver, board = Driver(policy_of(BTC)), Board(0)
    waiting = [asyncio.ensure_future(board.updated(60)) for _ in range(3)]
    await asyncio.sleep(0)
    board.show(view_of(driver))

    await asyncio.wait_for(asyncio.gather(*waiting), 5)


async def test_board_when_no_view_comes_then_waiting_ends_in_time_and_when_closed_at_once() -> None:
    board = Board(0)
    await asyncio.wait_for(board.updated(0.01), 5)
    waiting = asyncio.ensure_future(board.updated(60))
    await asyncio.sleep(0)
    board.close()
    await asyncio.wait_for(waiting, 5)


async def test_long_answer_when_built_then_others_get_their_turn_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "SLICE_S", 0.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(other())
    text = await site.joined(str(number) for number in range(100))
    running.cancel()

    assert text == "".join(map(str, range(100)))
    assert turns >= 90

"""What a type checker makes of the client's public names, under `mypy --strict`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ("client_sync", "client_async", "guarded_service", "client_interceptor", "decorator", "liquidator_client")

USER = """
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, assert_type

from circuit_guard.client import Answer, AsyncGuardClient, Closure, GuardClient, Order, OrderAnswer, guarded


def mapping(account: str, size: Decimal) -> Closure | None:
    return None


def threads(client: GuardClient, closure: Closure, order: Order) -> None:
    assert_type(client.check(closure), Answer)
    assert_type(client.check_many([closure]), tuple[Answer, ...])
    assert_type(client.check_orders([order]), tuple[OrderAnswer, ...])

    @guarded(client, mapping)
    def close(account: str, size: Decimal) -> int:
        return 1

    assert_type(close("account-1", Decimal(1)), int)
    close("account-1", 1.0)  # type: ignore[arg-type]
    Closure(market="BTC-USD-PERP", account_id="account-1", size=0.5)  # type: ignore[arg-type]

    @guarded(client, mapping)  # type: ignore[arg-type]
    def takes_something_else(account: int) -> int:
        return 1


async def loop(client: AsyncGuardClient, closure: Closure) -> None:
    assert_type(await client.check(closure), Answer)

    @guarded(client, mapping)
    async def close(account: str, size: Decimal) -> int:
        return 1

    assert_type(await close("account-1", Decimal(1)), int)
"""


@pytest.mark.slow
def test_public_names_when_checked_strictly_then_they_say_what_they_take_and_give(tmp_path: Path) -> None:
    user = tmp_path / "user.py"
    user.write_text(USER)
    examples = [f"examples/{name}.py" for name in EXAMPLES]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(user), *examples]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr

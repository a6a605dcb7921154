"""`status`: one screen that explains any halted market."""

from __future__ import annotations

from typing import Annotated

import typer

from circuit_guard.cli import options, status_view
from circuit_guard.cli.output import CommandError, ExitCode, as_json, display, print_json, screen
from circuit_guard.cli.rpc import Guard
from circuit_guard.v1 import status_pb2


def status(
    market: Annotated[str | None, typer.Argument(help="One market, in full detail.", metavar="MARKET")] = None,
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Explain what denies closures, and how that ends.

    Since when, why, who may lift it, and the command to type. Markets that deny come first.

    Exit code 0 whatever is halted; 2: unknown market; 3: no answer.
    """
    with Guard(address, timeout) as guard:
        answer = guard.status()
    if market is None:
        if json:
            print_json(as_json(answer))
        else:
            display(status_view.overview(screen(), answer))
        return
    found = _named(answer, market)
    if json:
        print_json(as_json(found))
    else:
        display(status_view.market_detail(screen(), answer, found))


def _named(answer: status_pb2.GuardStatus, market: str) -> status_pb2.MarketStatus:
    for found in answer.markets:
        if found.market == market:
            return found
    known = ", ".join(found.market for found in answer.markets)
    raise CommandError(f"market was {market}, expected one that the policy names: {known}", ExitCode.BAD_INPUT)

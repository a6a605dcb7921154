"""`check`: ask about one forced closure."""

from __future__ import annotations

import uuid
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from circuit_guard.cli import options, wire, words
from circuit_guard.cli.account_file import read_file
from circuit_guard.cli.output import ExitCode, as_json, display, print_json
from circuit_guard.cli.rpc import Guard
from circuit_guard.v1 import liquidation_pb2, types_pb2


class Kind(StrEnum):
    """The kinds of forced closure."""

    LIQUIDATION = "LIQUIDATION"
    AUTO_DELEVERAGE = "AUTO_DELEVERAGE"
    INSURANCE_TRANSFER = "INSURANCE_TRANSFER"
    TRIGGER = "TRIGGER"


def check(
    market: Annotated[str, typer.Option(help="The market to be closed in, for instance BTC-USD-PERP.")],
    size: Annotated[str, typer.Option(help="The closing trade in base units; negative to close a long.")],
    account: Annotated[str, typer.Option(help="The account to be closed.")] = "circuit-guard-check",
    account_file: Annotated[
        Path | None,
        typer.Option(
            help="Its collateral and positions, a JSON file as `account` in a recording: is its loss explained?"
        ),
    ] = None,
    mark: Annotated[str, typer.Option(help="The mark price the closure was computed with.")] = "",
    funding_index: Annotated[str, typer.Option(help="The funding index the closure was computed with.")] = "",
    execution_price: Annotated[str, typer.Option(help="The price it will execute at. Without it: at mark.")] = "",
    kind: Annotated[Kind, typer.Option(case_sensitive=False, help="The kind of closure.")] = Kind.LIQUIDATION,
    request_id: Annotated[str, typer.Option(help="The id of the question. Without it: a new one.")] = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Ask about one forced closure.

    Prints the verdict and every reason: what was seen, what was expected, who lifts it, when to ask again. With
    --account-file also whether the account is under water at every value that can honestly be, and by how much.
    It is a check like any other: it is logged and counted, and wrong values given here count as a caller's.

    Exit code 0: ALLOW. 1: DENY. 3: the guard could not decide, which is a deny too.
    """
    question = liquidation_pb2.LiquidationCheck(
        request_id=request_id or f"cli-{uuid.uuid4()}",
        account_id=account,
        market=market,
        size=size,
        kind=f"CHECK_KIND_{kind}",
        execution_price=execution_price,
        basis=liquidation_pb2.Basis(mark_price=mark, funding_index=funding_index),
        account=None if account_file is None else wire.account(read_file(account_file)),
    )
    with Guard(address, timeout) as guard:
        decision = guard.check(question)
    if json:
        print_json(as_json(decision))
    else:
        display(answer(decision))
    raise typer.Exit(ExitCode.OK if decision.verdict == types_pb2.VERDICT_ALLOW else ExitCode.DENIED)


def answer(decision: liquidation_pb2.LiquidationDecision) -> RenderableType:
    """Return a decision as a person reads it: verdict, every reason, who lifts it, when to ask again."""
    allowed = decision.verdict == types_pb2.VERDICT_ALLOW
    title = Text(words.verdict(decision.verdict), style="bold green" if allowed else "bold red")
    title.append(f"   {words.kind(decision.kind)} of {decision.account_id} in {decision.market}", style="default")
    if decision.shadow_verdict != decision.verdict:
        title.append(f"   (without shadow: {words.verdict(decision.shadow_verdict)})", style="yellow")
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    for found in decision.findings:
        body.add_row(Text(f"  {found.reason}", style=_style(found)), Text(found.sentence))
        body.add_row("", Text(_ending(found, enforced=not allowed), style="dim"))
    if decision.HasField("explained_loss"):
        body.add_row("  loss", Text(words.explained_loss(decision.explained_loss)))
    if not allowed:
        body.add_row("  lifted by", words.lifted_by(decision.lifted_by))
        after = decision.ask_again_after if decision.HasField("ask_again_after") else None
        body.add_row("  ask again", words.ask_again(after))
    body.add_row("  state", f"phase {words.phase(decision.phase)}, {words.breaker_state(decision.breaker)}")
    body.add_row("  decision", f"{decision.decision_id}, at {words.time(decision.decided_at)}{_known(decision)}")
    body.add_row("  policy", decision.policy_revision)
    return Group(title, body)


def _ending(found: types_pb2.Finding, *, enforced: bool) -> str:
    """Return what a finding does and how that ends."""
    if found.shadow:
        return "in shadow: reported, not enforced"
    if found.severity == types_pb2.SEVERITY_WARN:
        return "a warning: it does not deny"
    if not enforced:
        return "not enforced: the whole guard is in shadow"
    after = found.ask_again_after if found.HasField("ask_again_after") else None
    return f"lifted by {words.lifted_by(found.lifted_by)}; ask again {words.ask_again(after)}"


def _style(found: types_pb2.Finding) -> str:
    return "dim" if found.shadow or found.severity == types_pb2.SEVERITY_WARN else "red"


def _known(decision: liquidation_pb2.LiquidationDecision) -> str:
    return ", the answer this request_id got then" if decision.repeated else ""

"""`check`: ask about one forced closure."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from circuit_guard.cli import options, wire
from circuit_guard.cli.options import Guard
from circuit_guard.cli.output import CommandError, ExitCode, as_json, display, grid, print_json
from circuit_guard.core import formatting, reasons, sentences
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.inputs import Account
from circuit_guard.core.types import CheckKind, Finding, Severity, Verdict
from circuit_guard.recording.format import FieldError, decode, read_account
from circuit_guard.server.convert import received
from circuit_guard.v1 import liquidation_pb2, types_pb2

ACCOUNT_BYTES_MAX = 1024 * 1024


def check(
    market: Annotated[str, typer.Option(help="The market to close in, for instance BTC-USD-PERP.")],
    size: Annotated[str, typer.Option(help="The closing trade in base units; negative to close a long.")],
    account: Annotated[str, typer.Option(help="The account to close.")] = "circuit-guard-check",
    account_file: Annotated[
        Path | None,
        typer.Option(
            help="A JSON file with its collateral and positions, as `account` in a recording. The answer then says "
            "whether its loss is explained."
        ),
    ] = None,
    mark: Annotated[str, typer.Option(help="The mark price you computed the closure with.")] = "",
    funding_index: Annotated[str, typer.Option(help="The funding index you computed the closure with.")] = "",
    execution_price: Annotated[
        str, typer.Option(help="The price at which the closure executes; without it, the mark price.")
    ] = "",
    kind: Annotated[CheckKind, typer.Option(case_sensitive=False, help="The kind of closure.")] = CheckKind.LIQUIDATION,
    request_id: Annotated[str, typer.Option(help="The id of the request; without it, a new one.")] = "",
    address: options.Address = options.ADDRESS,
    timeout: options.Timeout = options.TIMEOUT_S,
    json: options.Json = False,
) -> None:
    """Ask about one forced closure.

    Prints the verdict and every reason: what the guard saw, what it expected, how the denial ends, when to ask again.
    With --account-file also whether the account is under water at every admissible value, and by how much.
    The guard logs and counts this check like any other. Wrong values given here count as the caller's.

    Exit code 0: ALLOW. 1: DENY. 3: the guard could not decide; treat it as a DENY.
    """
    question = liquidation_pb2.LiquidationCheck(
        request_id=request_id or f"cli-{uuid.uuid4()}",
        account_id=account,
        market=market,
        size=size,
        kind=f"CHECK_KIND_{kind}",
        execution_price=execution_price,
        basis=liquidation_pb2.Basis(mark_price=mark, funding_index=funding_index),
        account=None if account_file is None else wire.account(_read_account(account_file)),
    )
    with Guard(address, timeout) as guard:
        message = guard.check(question)
    if json:
        print_json(as_json(message))
    else:
        display(answer(received.decision(message)))
    raise typer.Exit(ExitCode.OK if message.verdict == types_pb2.VERDICT_ALLOW else ExitCode.DENIED)


def answer(made: DecisionMade) -> RenderableType:
    """Return a decision as a person reads it: the verdict, then what was found and how each denial ends."""
    decision = made.decision
    allowed = decision.verdict is Verdict.ALLOW
    title = Text(decision.verdict, style="bold green" if allowed else "bold red")
    title.append(f"   {decision.kind} of {decision.account_id} in {decision.market}", style="default")
    if decision.shadow_verdict is not decision.verdict:
        title.append(f"   (with every rule enforced: {decision.shadow_verdict})", style="yellow")
    body = grid()
    said: list[str] = []
    for found in decision.findings:
        ending = _ending(found, enforced=not allowed)
        colour = "dim" if found.shadow or found.severity is Severity.WARN else "red"
        sentence = reasons.sentence(found)
        shown = Text(f"{sentence[:1].upper()}{sentence[1:]}.")
        body.add_row(Text(f"  {found.reason}", style=colour), shown if ending in said else shown.append(f" {ending}"))
        said.append(ending)
    denying = sentences.denying_of(decision.verdict, decision.findings)
    hardest = sentences.hardest(denying)
    if hardest is not None and len({*map(reasons.lift, denying)}) > 1:
        body.add_row("  in all", formatting.ending(hardest, sentences.longest_wait_ns(denying)))
    if decision.explained is not None:
        body.add_row("  loss", Text(formatting.explained_loss(decision.explained)))
    repeated = ", as first answered: this request_id was asked before" if made.repeated else ""
    body.add_row("  state", f"phase {decision.phase}, breaker {formatting.breaker(decision.breaker)}")
    body.add_row("  decision", f"{decision.decision_id}, at {formatting.instant(decision.at_ns)}{repeated}")
    body.add_row("  policy", decision.policy_revision)
    return Group(title, body)


def _ending(found: Finding, *, enforced: bool) -> str:
    """Return whether a finding denies, and how that ends."""
    if found.shadow:
        return "Its rule is in shadow: reported, not enforced."
    if found.severity is Severity.WARN:
        return "This is a warning; it does not deny."
    if not enforced:
        return "Not enforced: the whole guard is in shadow."
    return reasons.how_it_ends(found)


def _read_account(file: Path) -> Account:
    """Return the account that a file holds. Raise CommandError for the first thing wrong in it."""
    try:
        with file.open("rb") as opened:
            data = opened.read(ACCOUNT_BYTES_MAX + 1)
        if len(data) <= ACCOUNT_BYTES_MAX:
            return read_account(decode(data.decode("utf-8-sig").strip()), "")
        problem = f"is larger than {ACCOUNT_BYTES_MAX} bytes, expected one account"
    except OSError as error:
        problem = f"cannot be read ({error.strerror}), expected an account as JSON"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start + 1}, expected text in UTF-8"
    except FieldError as error:
        problem = str(error)
    raise CommandError(f"{file}: {problem}", ExitCode.BAD_INPUT)

"""Acts that the policy wants two actors for: what one actor alone is told."""

from __future__ import annotations

import typer

from circuit_guard.cli import words
from circuit_guard.cli.explain import AUDIT
from circuit_guard.cli.output import ExitCode, display
from circuit_guard.v1 import admin_pb2, maintenance_pb2

MayBeProposed = admin_pb2.ResumeResponse | admin_pb2.ResetBreakerResponse | maintenance_pb2.RebaselineResponse


def end_if_proposed(response: MayBeProposed, command: str, *, json: bool) -> None:
    """End with exit code 1 where an act is only proposed, and say who else must do what, and until when.

    `command` is what to type, without who and why.
    """
    if not response.HasField("proposal"):
        return
    if not json:
        asked = response.proposal
        who = f"somebody other than {asked.actor} has to run circuit-guard {command} {AUDIT}"
        display(f"Not in effect: {who}, before {words.time(asked.expires_at)}.")
    raise typer.Exit(ExitCode.DENIED)

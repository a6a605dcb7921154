"""`token`: bearer tokens for the identities of the settings."""

from __future__ import annotations

import sys

import typer

from circuit_guard.cli.output import screen
from circuit_guard.server.security.tokens import new_token, token_sha256

app = typer.Typer(help="Make bearer tokens.", no_args_is_help=True)


@app.callback()
def token() -> None:
    """Make bearer tokens."""


@app.command()
def new() -> None:
    """Make a token.

    Prints the token once, to standard output; nobody can print it again. Prints the line for its identity in the
    settings, which holds only the hash, to standard error.
    """
    made = new_token()
    console = screen(stderr=True)
    console.print("Put this line into the identity in the settings (security.identities.NAME) and restart the guard:")
    console.print(f'token_sha256 = ["{token_sha256(made)}"]')
    console.print("Give the token to the identity's holder, in a file only they can read. It is not shown again:")
    sys.stdout.write(f"{made}\n")

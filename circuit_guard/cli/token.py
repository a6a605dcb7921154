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

    Standard output gets the token and nothing else, once: nobody can print it again. Standard error gets the line for
    its identity in the settings, which holds only its hash.
    """
    made = new_token()
    console = screen(stderr=True)
    console.print("For the identity in the settings (security.identities.NAME); the guard reads them when it starts:")
    console.print(f'token_sha256 = ["{token_sha256(made)}"]')
    console.print("For whoever is this identity, in a file that only they can read; it is not shown again:")
    sys.stdout.write(f"{made}\n")

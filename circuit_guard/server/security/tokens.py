"""Bearer tokens: long random texts, of which the guard knows only the SHA-256.

A fast hash is enough: a token of 256 random bits cannot be guessed, whatever a guess costs.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

PREFIX = "cg_"
"""What tokens begin with, so that a scanner for leaked secrets knows one when it sees it."""

TOKEN_BYTES = 32
BEARER = re.compile(r"(?i:bearer) +(?P<token>[!-~]{1,512})")


def new_token() -> str:
    """Return a token that nobody has seen before."""
    return PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def token_sha256(token: str) -> str:
    """Return the hash of a token as the settings have it."""
    return hashlib.sha256(token.encode()).hexdigest()


def owner(token: str, hashes: Iterable[tuple[str, str]]) -> str | None:
    """Return who owns a token, None where nobody does; `hashes` are pairs of a hash and its owner.

    Every entry is compared, each in the same time, so that how long it takes says nothing about any of them.
    """
    shown, found = token_sha256(token), None
    for known, name in hashes:
        if hmac.compare_digest(shown, known):
            found = name
    return found

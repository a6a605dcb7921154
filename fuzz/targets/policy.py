"""The policy file: any text is a valid policy, or PolicyError lists what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from circuit_guard.config.policy import MarketFacts, parse_policy_file
from circuit_guard.core import guard
from circuit_guard.core.envelope import GapMode
from circuit_guard.core.policy import Policy
from circuit_guard.errors import PolicyError
from circuit_guard.journal.codec import decode, encode
from fuzz import story

FACTS = {"BTC-USD-PERP": MarketFacts(Decimal("0.02"), 28_800, GapMode.FREEZE), "NEW": MarketFacts()}


def seeds() -> Iterator[bytes]:
    """Return the policies of the repository."""
    for path in (story.POLICY, *sorted(story.ROOT.glob("tests/config/broken/*.toml"))):
        yield path.read_bytes()


def feed(data: bytes) -> None:
    """Read the bytes as a policy. A valid one can be put into force and recorded, also with a recording's markets."""
    try:
        document = parse_policy_file(data.decode(errors="replace"), "policy.toml")
    except PolicyError as error:
        if not error.problems or not str(error).isascii():
            raise AssertionError(f"no problem that can be printed anywhere: {error}") from error
        return
    _use(document.policy())
    try:
        _use(document.with_markets(FACTS))
    except PolicyError:
        return


def _use(policy: Policy) -> None:
    guard.new_state(policy, 0)
    text = encode(policy)
    if encode(decode(text)) != text:
        raise AssertionError("the journal does not give the policy back")

"""Journals to report from, and what is true of the bundled incident."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from circuit_guard.config.policy import parse_policy_file
from circuit_guard.core.inputs import Account, Position
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Label, LabelledCheck
from circuit_guard.recording.replay import record_replay
from circuit_guard.report.evidence import Window
from tests.driver import BTC, INDEX, PRICE, START_NS

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "examples" / "incident.jsonl.gz"
STORY_NS = 1_768_796_820 * SECOND_NS
"""04:27:00 UTC on 19 January 2026."""
WINDOW = Window(STORY_NS, STORY_NS + 900 * SECOND_NS)
WHOLE_DAY = Window(START_NS, START_NS + 86_400 * SECOND_NS)


async def record(directory: Path, *, shadow: bool, recording: Path = BUNDLED) -> None:
    """Write the journal of a guard that saw a recording, under the policy that comes with the program."""
    text = (ROOT / "config" / "policy.toml").read_text()
    text = text.replace("shadow = false", "shadow = true", 1) if shadow else text
    await record_replay(recording, parse_policy_file(text, "policy.toml"), directory)


def losses(recording: Path = BUNDLED) -> dict[str, Decimal]:
    """Return what each wrongful closure of a recording truly costs, by account."""
    checks = (entry for entry in read_recording(recording).entries() if isinstance(entry, LabelledCheck))
    return {check.check.account_id: check.loss or Decimal(0) for check in checks if check.label is Label.WRONGFUL}


def account(collateral: str = "1000", **changes: Decimal) -> Account:
    """Return an account that is long half a BTC, healthy unless its collateral is small."""
    fields = {"size": Decimal("0.5"), "entry_price": PRICE, "cached_funding_index": INDEX}
    position = Position(BTC, maintenance_margin_fraction=Decimal("0.01"), **(fields | changes))
    return Account(Decimal(collateral), (position,))

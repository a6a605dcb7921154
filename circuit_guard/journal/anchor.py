"""The anchor of a journal: a small file beside it that says where each chain ended when something was last promised.

A journal that does not go so far has lost its end, and one that is not there was removed: neither is a new one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.record import Chain
from circuit_guard.journal.store import End

ANCHOR_NAME = "journal.anchor"
ADOPT = (
    "bring back the whole directory as it was; only where it is lost, accept what there is with "
    "`circuit-guard journal adopt`"
)
SLOT_BYTES = 512
SLOTS = 2
"""Written in turn, so that half a write leaves the one before."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where the chains of a journal ended when something was last promised. `journal` is its identity."""

    journal: str
    ends: Mapping[Chain, End]
    generation: int = 0

    def packed(self) -> bytes:
        """Return the anchor as one slot of its file: JSON with its own digest, so that half a write is known as one."""
        ends = {chain.value: [end.sequence, end.hash.hex()] for chain, end in self.ends.items()}
        said = json.dumps({"generation": self.generation, "journal": self.journal, **ends})
        return f"{said}\t{_digest(said)}".encode().ljust(SLOT_BYTES - 1) + b"\n"


def read_anchor(directory: Path) -> Anchor | None:
    """Return the anchor of a directory; None where there is none. Raise JournalUnusable where it is not readable."""
    path = directory / ANCHOR_NAME
    try:
        slots = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalUnusable(path, f"cannot be read ({error.strerror})", "mend its permissions") from None
    found = [_unpacked(slots[place : place + SLOT_BYTES]) for place in range(0, len(slots), SLOT_BYTES)]
    newest = max((anchor for anchor in found if anchor is not None), key=lambda one: one.generation, default=None)
    if newest is None:
        raise JournalUnusable(path, "it is damaged, so nothing says how far the journal went", ADOPT)
    return newest


def _unpacked(slot: bytes) -> Anchor | None:
    """Return the anchor of a slot; None for half a write, or none."""
    said, _, digest = slot.decode(errors="replace").strip().partition("\t")
    if not digest or _digest(said) != digest:
        return None
    values = json.loads(said)
    ends = {chain: End(values[chain.value][0], bytes.fromhex(values[chain.value][1])) for chain in Chain}
    return Anchor(values["journal"], ends, values["generation"])


def _digest(said: str) -> str:
    return sha256(said.encode()).hexdigest()[:16]

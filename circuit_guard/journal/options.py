"""How the journal is kept: queue, commit interval, retention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from circuit_guard.core.types import SECOND_NS

HOUR_NS = 3_600 * SECOND_NS
DAY_NS = 24 * HOUR_NS
MIB = 1024 * 1024


class Overflow(StrEnum):
    """What happens to a decision while the queue is full: `block` it is queued and callers wait, `drop` it is lost."""

    BLOCK = "block"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class JournalOptions:
    """The options of a journal."""

    overflow: Overflow = Overflow.BLOCK
    queue_max: int = 65_536
    """Records waiting for the disk at which the queue counts as full. At four times as many the journal fails."""
    queue_bytes_max: int = 64 * MIB
    """What they may take in memory, as estimated, before the queue counts as full; at four times that it fails too."""
    commit_within_ns: int = 10_000_000
    """The longest time from append to commit. A record that a caller waits for is committed at once."""
    unwritten_max_ns: int | None = None
    """How long a record may wait for the disk. Beyond that nothing more is taken in until it is written.

    None waits as long as it takes, which is right where nobody is answered meanwhile. A guard's settings have a limit.
    """
    inputs_kept_ns: int = DAY_NS
    """Younger inputs are never pruned, whatever `bytes_max` says."""
    audit_kept_ns: int = 90 * DAY_NS
    """How long everything but inputs is kept."""
    bytes_max: int = 2_000_000_000
    """Inputs older than `inputs_kept_ns` are pruned, oldest first, while the journal is larger than this."""
    block_records: int = 8_192
    """How many records a compressed block has. Up to as many of a chain stay plain rows."""
    rows_bytes_max: int = 32 * MIB
    """A block is made earlier where the plain rows of a chain are longer than this."""

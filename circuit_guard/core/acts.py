"""What operators do around a restart of the exchange, as inputs: maintenance, validation of its state, a rebaseline.

The smaller acts (halt, resume, reset, phase) are in `inputs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class BeginMaintenance:
    """The exchange is about to restart: every market goes to MAINTENANCE. `checkpoint` names the state kept for it."""

    at_ns: int
    actor: str
    reason: str
    checkpoint: str


@dataclass(frozen=True, slots=True)
class StateRow:
    """One market in a dump of the exchange's state. A value that is None was not given; it never means zero.

    `event_time_ns`: when the exchange last brought these values up to date. Units as in `Observation`.
    """

    market: str
    event_time_ns: int
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_index: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ValidateState:
    """A dump of the restarted exchange's state, before it is published. Each market at most once."""

    at_ns: int
    rows: tuple[StateRow, ...]
    actor: str = ""


@dataclass(frozen=True, slots=True)
class EndMaintenance:
    """The exchange is about to publish: what was validated as clean goes on, everything else latches.

    `unvalidated`: end it although nothing was validated; every market then latches.
    """

    at_ns: int
    actor: str
    reason: str
    unvalidated: bool = False


@dataclass(frozen=True, slots=True)
class Baseline:
    """The funding index that is the truth for a market as of a time, whatever was trusted before."""

    market: str
    funding_index: Decimal
    as_of_ns: int


@dataclass(frozen=True, slots=True)
class RebaselineCommand:
    """An operator says from which values on the guard is to judge.

    `checkpoint`: the sequence of the checkpoint that the exchange was rolled back to; what was published after it is
    discarded, and accounts that were settled with such a value are tainted. `repaired`: markets in which the exchange
    has repaired those accounts, so that nothing is tainted there any more. `identity` as in `ResumeCommand`.
    """

    at_ns: int
    baselines: tuple[Baseline, ...]
    actor: str
    reason: str
    checkpoint: int | None = None
    repaired: tuple[str, ...] = ()
    identity: str = ""

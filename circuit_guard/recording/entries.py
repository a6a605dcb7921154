"""What a recording holds: the header, the core's own inputs, and the ground truth that only the score may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from circuit_guard.core.envelope import GapMode
from circuit_guard.core.inputs import Check, Observation, PhaseCommand, Reference


class Label(StrEnum):
    """The truth about a check: the account was viable (wrongful), or it was not (genuine)."""

    WRONGFUL = "wrongful"
    GENUINE = "genuine"


@dataclass(frozen=True, slots=True)
class LabelledCheck:
    """A check and its truth; None where the recording does not say."""

    check: Check
    label: Label | None = None
    loss: Decimal | None = None
    """What carrying the closure out would take from the account, in quote currency."""

    @property
    def at_ns(self) -> int:
        """When the check was asked."""
        return self.check.at_ns


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with the data of these markets from `at_ns` to `until_ns`."""

    at_ns: int
    kind: str
    markets: tuple[str, ...]
    until_ns: int


@dataclass(frozen=True, slots=True)
class Header:
    """The first line. None means "not given": the policy's default class decides.

    `markets` maps each market to its cap of the funding rate per funding period.
    """

    description: str = ""
    funding_period_s: int | None = None
    funding_gap_mode: GapMode | None = None
    markets: Mapping[str, Decimal | None] = field(default_factory=dict)


Entry = Observation | Reference | PhaseCommand | LabelledCheck | Fault

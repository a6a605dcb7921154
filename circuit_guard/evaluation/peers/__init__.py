"""Judges by the published rules of others, each with its published numbers and where they were published.

Each is told what the guard is told and asked what the guard is asked. None was tuned to the recordings. Where a rule
leaves something open, the docstring says how it was read, and the reading that holds less is taken. The exchange whose
rule it is does not restart when the guard does: a peer never forgets.
"""

from __future__ import annotations

from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.policy import Policy
from circuit_guard.evaluation.peers.bands import FixedThresholds, IndexExclusion, LuldBand
from circuit_guard.evaluation.peers.base import Nothing, Peer
from circuit_guard.evaluation.peers.caps import ClosureVolumeCap, FundingCap, GrowthCap
from circuit_guard.evaluation.peers.oracles import DriftGuardRails, OsmBreaker

__all__ = ["PEERS", "Peer", "peers"]

PEERS: tuple[type[Peer], ...] = (
    Nothing,
    FundingCap,
    FixedThresholds,
    IndexExclusion,
    LuldBand,
    DriftGuardRails,
    OsmBreaker,
    ClosureVolumeCap,
    GrowthCap,
)


def peers(policy: Policy) -> list[Peer]:
    """Return one judge of each kind. Of the policy they take the exchange's own caps on funding rates, nothing else."""
    caps = {
        market: float(market_policy.of(FundingParameters).rate_max) for market, market_policy in policy.markets.items()
    }
    return [FundingCap(caps) if peer is FundingCap else peer() for peer in PEERS]

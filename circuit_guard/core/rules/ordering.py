"""ordering: one writer, counting up. Two epochs that interleave are the restart race itself."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.reasons import Reason
from circuit_guard.core.types import Finding, Severity, show_seconds
from circuit_guard.core.view import MarketView


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a sequence or an epoch that goes back; an event time a moment back only denies, clocks jitter."""
    observation, feed = view.observation, view.state.feed
    if observation is None or feed.event_time_ns is None:
        return
    if observation.epoch < feed.epoch:
        yield Finding(Reason.EPOCH_INTERLEAVED, Severity.LATCH, "epoch", str(observation.epoch), f">= {feed.epoch}")
    elif observation.epoch == feed.epoch and observation.feed_sequence <= feed.feed_sequence:
        known = (observation.epoch, observation.feed_sequence) in feed.recent
        reason = Reason.SEQUENCE_CONFLICT if known else Reason.SEQUENCE_BACK
        limit = f"> {feed.feed_sequence}" + (", or the content that was published with it before" if known else "")
        yield Finding(reason, Severity.LATCH, "feed_sequence", str(observation.feed_sequence), limit)
    back_ns = feed.event_time_ns - observation.event_time_ns
    if back_ns > 0:
        severity = Severity.LATCH if back_ns > policy.staleness.future_skew_ns else Severity.DENY
        observed = f"{show_seconds(back_ns)} before the last one"
        yield Finding(Reason.EVENT_TIME_BACK, severity, "event_time", observed, "not before the last one")

"""ordering: one writer, counting up. Two epochs that interleave are the restart race itself."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.market import FeedParameters
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Reason, Rule
from circuit_guard.core.types import Finding, Severity, show_seconds
from circuit_guard.core.view import MarketView

SEQUENCE_BACK = "sequence_back"
SEQUENCE_CONFLICT = "sequence_conflict"
EVENT_TIME_BACK = "event_time_back"
EPOCH_INTERLEAVED = "epoch_interleaved"

OUT_OF_ORDER = frozenset({SEQUENCE_BACK, SEQUENCE_CONFLICT, EPOCH_INTERLEAVED})
"""An observation with one of these does not say where the feed stands."""


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a sequence or an epoch that goes back; an event time a moment back only denies, clocks jitter."""
    observation, feed = view.observation, view.state.feed
    if observation is None or feed.event_time_ns is None:
        return
    if observation.epoch < feed.epoch:
        yield Finding(EPOCH_INTERLEAVED, Severity.LATCH, "epoch", str(observation.epoch), f">= {feed.epoch}")
    elif observation.epoch == feed.epoch and observation.feed_sequence <= feed.feed_sequence:
        known = (observation.epoch, observation.feed_sequence) in feed.recent
        reason = SEQUENCE_CONFLICT if known else SEQUENCE_BACK
        limit = f"> {feed.feed_sequence}" + (", or the content that was published with it before" if known else "")
        yield Finding(reason, Severity.LATCH, "feed_sequence", str(observation.feed_sequence), limit)
    back_ns = feed.event_time_ns - observation.event_time_ns
    if back_ns > 0:
        severity = Severity.LATCH if back_ns > policy.of(FeedParameters).future_skew_ns else Severity.DENY
        observed = f"{show_seconds(back_ns)} before the last one"
        yield Finding(EVENT_TIME_BACK, severity, "event_time", observed, "not before the last one")


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    yield Delay("two writers, or a feed that goes back", 0, latches=True)


RULE = Rule(
    name="ordering",
    rank=20,
    catches="A feed sequence or event time that goes back, one sequence with two contents, two epochs that interleave "
    "(two writers: the restart race itself). Latches.",
    judges=Judges.DATA,
    reasons={
        SEQUENCE_BACK: Reason("the feed sequence went back", FRESH, Excuse.EXPLAINED),
        SEQUENCE_CONFLICT: Reason("one feed sequence was published with two contents", FRESH, Excuse.EXPLAINED),
        EVENT_TIME_BACK: Reason("the event time went back", FRESH, Excuse.EXPLAINED),
        EPOCH_INTERLEAVED: Reason(
            "an older publishing process is still writing: there are two writers", FRESH, Excuse.EXPLAINED
        ),
    },
    evaluate=evaluate,
    delays=_delays,
)

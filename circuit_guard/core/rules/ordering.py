"""ordering: one writer, counting up. Two epochs that interleave are the restart race itself."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.core.inputs import Observation
from circuit_guard.core.market import Feed, FeedParameters, Judged
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.rule import FRESH, Delay, Excuse, Judges, Reason, Rule
from circuit_guard.core.types import Finding, Severity, show_seconds
from circuit_guard.core.view import MarketView

SEQUENCE_BACK = "sequence_back"
SEQUENCE_CONFLICT = "sequence_conflict"
EVENT_TIME_BACK = "event_time_back"
EPOCH_INTERLEAVED = "epoch_interleaved"
SEQUENCE_LATE = "sequence_late"

OVERTAKEN_MAX = 8
"""Calls of one publisher that are in flight at once arrive in any order: so many may overtake one."""

OUT_OF_ORDER = frozenset({SEQUENCE_BACK, SEQUENCE_CONFLICT, EPOCH_INTERLEAVED})
"""An observation with one of these does not say where the feed stands."""


def evaluate(view: MarketView, policy: MarketPolicy) -> Iterator[Finding]:
    """Latch on a sequence or an epoch that goes back. An event time that goes back denies until time has caught up.

    A clock that is set back, or a publisher that begins with the state it stored last, is no second writer: if the
    values conflict as well, the rules for values latch.
    """
    observation, feed = view.observation, view.state.feed
    if observation is None or feed.event_time_ns is None:
        return
    if observation.epoch < feed.epoch:
        yield Finding(EPOCH_INTERLEAVED, Severity.LATCH, "epoch", str(observation.epoch), f">= {feed.epoch}")
    elif observation.epoch == feed.epoch and observation.feed_sequence <= feed.feed_sequence:
        known = (observation.epoch, observation.feed_sequence) in feed.recent
        sequence, limit = str(observation.feed_sequence), f"> {feed.feed_sequence}"
        if not known and _overtaken(observation, feed, policy):
            yield Finding(SEQUENCE_LATE, Severity.WARN, "feed_sequence", sequence, limit)
            return
        if known:
            limit += ", or the content that was published with it before"
        yield Finding(SEQUENCE_CONFLICT if known else SEQUENCE_BACK, Severity.LATCH, "feed_sequence", sequence, limit)
    back_ns = feed.event_time_ns - observation.event_time_ns
    if back_ns > 0:
        observed = f"{show_seconds(back_ns)} before the last one"
        yield Finding(EVENT_TIME_BACK, Severity.DENY, "event_time", observed, "not before the last one")


def delivered_long_ago(observation: Observation, feed: Feed) -> Finding | None:
    """Return what to say of an observation that is older in every way than all that are remembered; None of others.

    A broker that lost its place delivers hours again. A second writer is told from that by its event times, those of
    now, and a sequence that starts again by those that follow.
    """
    oldest = min(feed.recent, default=None)
    if oldest is None or (observation.epoch, observation.feed_sequence) >= oldest:
        return None
    if observation.event_time_ns > feed.recent[oldest].observation.event_time_ns:
        return None
    observed, limit = str(observation.feed_sequence), f"at least {oldest[1]}, the oldest that is remembered"
    return Finding(SEQUENCE_LATE, Severity.WARN, "feed_sequence", observed, limit)


def in_its_place(observation: Observation, feed: Feed) -> bool:
    """Return whether the funding index of an overtaken observation is one on the way between those around it.

    The trusted index is a later one, so no step from there to here can be judged.
    """
    index, around = observation.funding_index, [_before(observation, feed), _after(observation, feed)]
    known = [one.observation.funding_index for one in around if one is not None and one.accepted]
    indices = [one for one in known if one is not None]
    return index is not None and len(indices) == len(around) and min(indices) <= index <= max(indices)


def _before(observation: Observation, feed: Feed) -> Judged | None:
    return feed.recent.get((observation.epoch, observation.feed_sequence - 1))


def _after(observation: Observation, feed: Feed) -> Judged | None:
    place = (observation.epoch, observation.feed_sequence)
    later = min((known for known in feed.recent if known > place), default=None)
    return None if later is None else feed.recent[later]


def _overtaken(observation: Observation, feed: Feed, policy: MarketPolicy) -> bool:
    """Return whether an observation was overtaken on the way: it fills a hole by number and time, hardly late.

    Publishers stamp seconds apart, so what is late by one place may be older than clocks differ.
    """
    skew_ns, before = policy.of(FeedParameters).future_skew_ns, _before(observation, feed)
    if before is None or feed.feed_sequence - observation.feed_sequence > OVERTAKEN_MAX:
        return False
    in_order = observation.event_time_ns >= before.observation.event_time_ns - skew_ns
    return in_order and observation.at_ns - (feed.received_ns or 0) <= skew_ns


def _delays(policy: MarketPolicy) -> Iterator[Delay]:
    yield Delay("two writers, or a feed that goes back", 0, latches=True)


RULE = Rule(
    name="ordering",
    rank=20,
    catches="A feed sequence that goes back, one sequence with two contents, two epochs that interleave (two writers: "
    "the restart race itself). Latches. An event time that goes back denies.",
    judges=Judges.DATA,
    reasons={
        SEQUENCE_BACK: Reason("the feed sequence went back", FRESH, Excuse.EXPLAINED),
        SEQUENCE_CONFLICT: Reason("one feed sequence was published with two contents", FRESH, Excuse.EXPLAINED),
        EVENT_TIME_BACK: Reason("the event time went back", FRESH, Excuse.EXPLAINED),
        SEQUENCE_LATE: Reason("an observation was overtaken by later ones on its way", FRESH),
        EPOCH_INTERLEAVED: Reason(
            "an older publishing process is still writing: there are two writers", FRESH, Excuse.EXPLAINED
        ),
    },
    evaluate=evaluate,
    delays=_delays,
)

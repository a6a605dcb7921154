"""What `policy explain` says in sentences beside its figures."""

from __future__ import annotations

from collections.abc import Iterator

from circuit_guard.config.detection import percent, seconds
from circuit_guard.config.policy_limits import account_limit, enforced, funding_drift, wrong_references
from circuit_guard.core.policy import FirstSight, GapMode, Halted, MarketPolicy, RestrictedClosures
from circuit_guard.core.types import SECOND_NS


def of_what_passes(policy: MarketPolicy) -> Iterator[str]:
    """Yield what the table of what passes unseen leaves out."""
    if policy.shadow_rules:
        yield f"In shadow, so recorded and not enforced: {', '.join(sorted(policy.shadow_rules))}."
    yield (
        "A wrong funding index, mark price or sum closes no account whose true surplus is more than that share of its "
        "notional. A wrong index price is wrong funding, by the same share of what accrues."
    )
    needed, widths = account_limit(policy), policy.explained_loss.hull_widths + 1
    if needed is None:
        yield "No closure is denied for its account being healthy: the policy does not want it, or has it in shadow."
    else:
        yield (
            f"With its account: one whose true surplus is more than {percent(needed)} of its notional (a short's: "
            "times 1 plus its margin fraction) is not closed, whatever its engine computed with; a move of the "
            f"reference price adds {widths:f} times that move. The account itself is believed as the check gives it, "
            "but for a funding index that was discarded as wrong."
        )
    yield from _in_a_halt(policy)
    restricted = {policy.band.post_only_closures, policy.band.recovering_closures}
    if RestrictedClosures.BANDED in restricted and enforced(policy, "band"):
        width = percent(policy.band.share)
        yield f"In POST_ONLY and RECOVERING the mark price has to be within {width} of the reference price as well."
    if not policy.basis.required:
        yield "A caller need not say what it computed with: what it does not say is not seen."


def of_funding(policy: MarketPolicy) -> Iterator[str]:
    """Yield how to read the funding table, and what adds up past it."""
    rule, drift = policy.funding, funding_drift(policy)
    yield (
        "Surely seen: the truth may have moved the other way meanwhile. An index nearer to zero than that may be reset "
        f"to zero unseen. Of it {seconds(policy.staleness.future_skew_ns)} of accrual are room for the clocks."
    )
    published = (
        f", where it publishes the true premium by {percent(drift.premium_zero)} while that is zero and by "
        f"{percent(drift.premium_at_cap)} at the cap"
        if drift.premium_zero is not None and drift.premium_at_cap is not None
        else ""
    )
    yield (
        "Steps that each pass add up: at an observation a second, in an hour, an index can drift from the true one by "
        f"{percent(drift.unpublished)} where the exchange publishes no premium{published}. The test of an account "
        "drifts with it."
    )
    if rule.gap_mode is GapMode.FREEZE:
        yield f"Over a gap of more than {seconds(rule.gap_ns)} in what is published, every step is a jump."
    if policy.first_sight is FirstSight.CONFIRM:
        yield "An index that is wrong from the first observation on is the truth to the guard: first_sight is confirm."
    yield (
        f"The price is the index price trusted last. It may itself be off by {percent(policy.divergence.index_base)}, "
        "and these limits with it."
    )


def of_mark(policy: MarketPolicy) -> Iterator[str]:
    """Yield how to read the table of the mark price, and what limits it further with time."""
    rule, slow = policy.divergence, policy.slow_walk
    yield f"Counted from the nearest price that the reference has had in those {seconds(rule.window_ns)}."
    if slow.trip_after_ns and enforced(policy, "slow_walk"):
        yield (
            f"Whatever the move: a mark price that {seconds(slow.lag_ns)} later the reference price has still not been "
            f"within {percent(rule.base)} of, for {seconds(slow.trip_after_ns)} without a break, trips. So more than "
            f"{percent(rule.base)} passes for {seconds(slow.lag_ns + slow.trip_after_ns)} at most, less for ever."
        )
    else:
        yield "However long it lasts: nothing asks whether the references ever come to where the mark price was."


def of_references(policy: MarketPolicy) -> Iterator[str]:
    """Yield what wrong references can do: they are trusted by majority."""
    rule, divergence, wrong = policy.references, policy.divergence, wrong_references(policy)
    named = f"The policy names {len(rule.sources)} sources." if rule.sources else "The policy admits any source."
    yield (
        f"{named} They are trusted by majority: of {rule.quorum} fresh ones (the quorum) {wrong} wrong alike are the "
        "reference price. A mark price that is wrong with them passes at any size, and nothing here can see it."
    )
    yield (
        f"An honest mark price then diverges: denied at once, tripped after {seconds(divergence.trip_after_ns)}. By "
        "moving the reference price to and fro they make room on both sides: the table above, whatever moved it."
    )
    if wrong > 1:
        yield (
            f"Fewer than {wrong} wrong ones move it no further than the honest ones are apart; one that is "
            f"{percent(rule.outlier_share)} from the rest is reported."
        )
        yield (
            f"With fewer than {rule.quorum} fresh, in OPEN, a price has to be near each of them and nothing trips for "
            "diverging: the last one that is left decides alone. In POST_ONLY and RECOVERING closures are denied, with "
            "none left everywhere."
        )


def of_time(policy: MarketPolicy) -> Iterator[str]:
    """Yield what the delays mean, and how trips and latches end."""
    rule = policy.breaker
    yield "At once: at the first observation that shows it, or in the answer to the check that does."
    yield (
        f"A trip ends by itself: after {seconds(rule.cooldown_ns)}, with healthy data for {seconds(rule.healthy_ns)}, "
        f"and then closures at a rising rate for {seconds(rule.half_open_ns)}. A latch ends when an operator resets it."
    )


def _in_a_halt(policy: MarketPolicy) -> Iterator[str]:
    rule, ramp = policy.explained_loss, policy.reopening
    if rule.halted is Halted.DENY_ALL:
        yield "In an OPEN (denying) breaker nothing passes, whatever explains an account's loss."
        return
    start, end = ramp.start_share * ramp.closures_per_s, ramp.closures_per_s
    yield (
        "In an OPEN (denying) breaker closures pass that are justified at every value that can honestly be, given with "
        f"their account: {start.normalize():f} a second at first, {end.normalize():f} after "
        f"{policy.breaker.half_open_ns / SECOND_NS:g} s, for as long as what was trusted last is no older than "
        f"{seconds(rule.trusted_age_max_ns)}. Never in an operator's halt or a "
        "phase without closures."
    )

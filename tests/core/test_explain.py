"""Why markets deny, and how that ends: what is alike stands together, the hardest to lift comes first."""

from __future__ import annotations

from dataclasses import replace

from circuit_guard.core.explain import (
    Explanation,
    explain_global,
    explain_market,
    explanations,
    hardest_first,
    headline,
    notes,
    reasons_of,
)
from circuit_guard.core.facts import ActProposed, StateValidated
from circuit_guard.core.halts import Halt
from circuit_guard.core.state import Maintenance
from circuit_guard.core.status import BreakerStatus, GuardStatus, MarketStatus
from circuit_guard.core.types import (
    GLOBAL_SCOPE,
    SECOND_NS,
    BreakerState,
    Finding,
    Lift,
    MarketOutcome,
    Outcome,
    Phase,
    Severity,
)

AT = 1_768_800_000 * SECOND_NS
BY = '--actor NAME --reason "WHY"'


def finding(
    reason: str, subject: str = "mark_price", observed: str = "33.1 s old", severity: Severity = Severity.DENY
) -> Finding:
    return Finding(reason, severity, subject, observed, "15 s")


def breaker(*findings: Finding, scope: str = "AAA", latched: bool = False) -> BreakerStatus:
    state = BreakerState.OPEN if findings else BreakerState.CLOSED
    return BreakerStatus(scope, state, latched, AT - 100 * SECOND_NS, 1, findings)


def market(name: str, *denying: Finding, opened: BreakerStatus | None = None) -> MarketStatus:
    return MarketStatus(
        market=name,
        market_class="other",
        required=False,
        warm=True,
        phase=Phase.OPEN,
        commanded_phase=Phase.OPEN,
        phase_since_ns=AT - 300 * SECOND_NS,
        phase_note="",
        breaker=opened or breaker(),
        halt=None,
        denying=denying,
        mark_price=None,
        mark_age_ns=None,
        index_price=None,
        funding_index=None,
        funding_age_ns=None,
        funding_envelope=None,
        reference_price=None,
        reference_count=0,
        mark_limits=None,
        headroom={},
        held_since_ns=None,
        overdue=False,
        ramp_share=None,
        discarded=0,
    )


def latched(name: str, observed: str = "0") -> MarketStatus:
    found = finding("funding_jump", "funding_index", observed, Severity.LATCH)
    opened = breaker(found, scope=name, latched=True)
    return market(name, finding("breaker_open", name, severity=Severity.LATCH), opened=opened)


def closed(name: str) -> MarketStatus:
    denied = market(name, finding("phase_denies", "phase"))
    return replace(denied, phase=Phase.MAINTENANCE, commanded_phase=Phase.MAINTENANCE)


def status(*markets: MarketStatus, global_breaker: BreakerStatus | None = None) -> GuardStatus:
    whole = global_breaker or breaker(scope=GLOBAL_SCOPE)
    return GuardStatus(AT, "p-1", False, whole, None, (), markets, None, ())


def endings(one: Explanation | None) -> list[str]:
    assert one is not None
    return [str(ending) for ending in one.endings]


def test_explanations_when_a_feed_dies_for_all_markets_then_they_are_one() -> None:
    stale = [market(f"M{number}", finding("data_stale", observed=f"{30 + number} s old")) for number in range(100)]

    [one] = explanations(status(*stale))

    assert len(one.scopes) == 100
    assert one.why == ("data_stale: the last trusted value is too old: mark_price was 30 s old, expected 15 s",)
    assert endings(one) == ["The next good data will end this"]
    assert one.since_ns is None, "data decide from moment to moment"


def test_explanations_when_markets_latch_for_the_same_then_one_command_resets_them() -> None:
    [one] = explanations(status(latched("AAA", "0"), latched("BBB", "0.0001")))

    assert one.scopes == ("AAA", "BBB")
    assert one.state == "breaker OPEN (denying), latched, phase OPEN"
    assert one.since_ns == AT - 100 * SECOND_NS
    assert one.why[0].startswith("opened for funding_jump: the funding index moved further than funding can move it: ")
    assert endings(one) == [
        f"An operator must reset the breaker once the cause is gone: circuit-guard reset AAA BBB {BY}"
    ]


def test_explanations_when_some_need_an_operator_then_those_come_first() -> None:
    every = [
        market("AAA", finding("data_stale")),
        market("BBB", finding("warming")),
        closed("CCC"),
        market("DDD", finding("basis_mark")),
        latched("EEE"),
    ]

    assert [one.scopes[0] for one in explanations(status(*every))] == ["EEE", "DDD", "CCC", "BBB", "AAA"]
    assert [one.market for one in hardest_first([market("FFF"), *every])] == ["EEE", "DDD", "CCC", "BBB", "AAA", "FFF"]
    assert [one.hardest for one in explanations(status(*every))] == list(reversed(Lift))


def test_explanations_when_only_global_denies_then_no_market_is_explained() -> None:
    opened = breaker(finding("correlated_latches", severity=Severity.LATCH), scope=GLOBAL_SCOPE, latched=True)
    held = finding("global_breaker_open", GLOBAL_SCOPE)

    [one] = explanations(status(market("AAA", held), market("BBB", held), global_breaker=opened))

    assert one.scopes == (GLOBAL_SCOPE,)
    assert one.why[0].startswith("opened for correlated_latches: ")
    assert endings(one) == [
        f"An operator must reset the breaker once the cause is gone: circuit-guard reset GLOBAL {BY}"
    ]
    assert explain_global(status(market("AAA"))) is None


def test_explanations_when_everything_is_halted_then_all_are_resumed_at_once() -> None:
    halted = replace(status(market("AAA", finding("operator_halt", GLOBAL_SCOPE))), global_halt=Halt("ann", "odd", AT))

    [one] = explanations(halted)

    assert one.why == ("ann halted it at 2026-01-19 05:20:00Z: odd",)
    assert endings(one) == [f"An operator must resume it: circuit-guard resume --all {BY}"]


def test_explanation_when_a_breaker_tripped_then_it_closes_by_itself() -> None:
    tripped = market("AAA", finding("breaker_open", "AAA"), opened=breaker(finding("mark_divergence")))

    assert endings(explain_market(tripped, in_maintenance=False)) == [
        "The breaker closes by itself once data have been healthy for its cooldown",
        f"An operator can reset it at once: circuit-guard reset AAA {BY}",
    ]
    assert reasons_of(tripped) == ["mark_divergence"]


def test_explanation_when_one_reason_has_two_subjects_then_it_is_one_line() -> None:
    one = explain_market(market("AAA", finding("data_stale"), finding("data_stale", "funding")), in_maintenance=False)

    assert one.why == (
        (
            "data_stale: the last trusted value is too old: mark_price was 33.1 s old, expected 15 s; "
            "funding was 33.1 s old, expected 15 s"
        ),
    )


def test_explanation_when_something_ends_sooner_then_it_is_named_and_in_full_explained() -> None:
    cold = market("AAA", finding("warming", "AAA"), finding("reference_missing"))

    assert explain_market(cold, in_maintenance=False, in_full=False).why[1] == "also reference_missing"
    assert explain_market(cold, in_maintenance=False).why[1].startswith("reference_missing: too few references")
    assert endings(explain_market(cold, in_maintenance=False)) == [
        "Good data must last for a while",
        "The next good data will end this",
    ]


def test_explanations_when_the_phase_was_set_then_the_next_phase_is_the_command() -> None:
    [one] = explanations(status(closed("AAA"), closed("BBB")))

    assert endings(one) == [
        f"The exchange must leave this phase when it is back: circuit-guard phase POST_ONLY AAA BBB {BY}"
    ]
    assert one.since_ns == AT - 300 * SECOND_NS


def test_explanations_when_a_maintenance_runs_then_its_end_is_the_command() -> None:
    [one] = explanations(replace(status(closed("AAA"), closed("BBB")), maintenance=Maintenance("bob", "up", AT, "c")))

    ending = "An operator must end the maintenance once the exchange's state is validated"
    assert endings(one) == [f"{ending}: circuit-guard maintenance end {BY}"]


def test_explanation_when_a_halt_expires_then_it_says_when() -> None:
    halted = replace(
        market("AAA", finding("operator_halt", "AAA")), halt=Halt("ann", "odd", AT, expires_ns=AT + 60 * SECOND_NS)
    )

    one = explain_market(halted, in_maintenance=False)

    assert one.state == "HALTED by an operator, breaker CLOSED, phase OPEN"
    assert endings(one) == [
        f"An operator must resume it: circuit-guard resume AAA {BY}",
        "The halt ends by itself at 2026-01-19 05:21:00Z",
    ]


def test_explanation_when_several_halted_then_the_longest_is_shown_and_in_full_each() -> None:
    others = (Halt("bob", "a look", AT, AT + 60 * SECOND_NS), Halt("cat", "too", AT - SECOND_NS, AT + 30 * SECOND_NS))
    halted = replace(market("AAA", finding("operator_halt", "AAA")), halt=Halt("ann", "odd", AT), other_halts=others)

    one = explain_market(halted, in_maintenance=False, in_full=False)

    assert one.why == (
        "ann halted it at 2026-01-19 05:20:00Z: odd",
        "and 2 more halts by bob, cat, the last until 2026-01-19 05:21:00Z",
    )
    assert explain_market(halted, in_maintenance=False).why == (
        "ann halted it at 2026-01-19 05:20:00Z: odd",
        "bob halted it at 2026-01-19 05:20:00Z: a look",
        "cat halted it at 2026-01-19 05:19:59Z: too",
    )
    assert one.since_ns == AT - SECOND_NS
    assert endings(one) == [f"An operator must resume it, which lifts all 3 halts: circuit-guard resume AAA {BY}"]


def test_explanation_when_all_of_several_halts_expire_then_it_says_when_the_last_does() -> None:
    ann, bob = Halt("ann", "odd", AT, AT + 90 * SECOND_NS), Halt("bob", "a look", AT, AT + 60 * SECOND_NS)
    halted = replace(status(market("AAA")), global_halt=ann, other_global_halts=(bob,))

    [one] = explanations(halted)

    assert one.why[1] == "and 1 more halt by bob until 2026-01-19 05:21:00Z"
    assert endings(one) == [
        f"An operator must resume it, which lifts all 2 halts: circuit-guard resume --all {BY}",
        "The last halt ends by itself at 2026-01-19 05:21:30Z",
    ]


def test_explanation_when_very_many_halted_then_in_full_they_still_fit_on_a_screen() -> None:
    others = tuple(Halt(f"o{number}", "too", AT) for number in range(99))
    halted = replace(status(market("AAA")), global_halt=Halt("ann", "odd", AT), other_global_halts=others)

    whole = explain_global(halted)

    assert whole is not None
    assert len(whole.why) == 7
    assert whole.why[-1] == "and 94 more halts by o5, o6, o7, o8, o9, o10 and 88 more"


def test_explanation_when_a_market_waits_at_first_sight_then_a_rebaseline_is_named() -> None:
    one = explain_market(market("AAA", finding("first_sight", "market")), in_maintenance=False)

    assert endings(one) == ["An operator must confirm its funding index: circuit-guard rebaseline --help"]


def test_explanations_when_a_market_is_held_past_the_deadline_then_it_is_overdue_and_stands_apart() -> None:
    late, early = replace(latched("AAA"), overdue=True), latched("BBB")

    assert [one.state for one in explanations(status(late, early))] == [
        "breaker OPEN (denying), latched, phase OPEN, OVERDUE",
        "breaker OPEN (denying), latched, phase OPEN",
    ]


def test_notes_when_the_guard_is_not_as_usual_then_each_is_one_line() -> None:
    running = Maintenance("bob", "upgrade", AT - 60 * SECOND_NS, "before")
    asked = ActProposed(AT, "reset", ("AAA",), "ann", "checked", AT + 60 * SECOND_NS)
    unusual = replace(
        status(), shadow=True, maintenance=running, proposals=(asked,), refused_files=("policy.toml is refused (why).",)
    )

    assert notes(status()) == []
    assert notes(unusual) == [
        "SHADOW: the denials below are not enforced, except operators' halts",
        "NOT IN FORCE: policy.toml is refused (why).",
        "MAINTENANCE since 2026-01-19 05:19:00Z, for 1 min 0 s, by bob: upgrade; checkpoint before",
        "MAINTENANCE nothing is validated yet: circuit-guard maintenance validate DUMP --actor NAME",
        (
            "NOT IN EFFECT: reset of AAA, proposed by ann: checked; somebody else must ask for the same before "
            "2026-01-19 05:21:00Z"
        ),
    ]
    outcomes = (MarketOutcome("AAA", Outcome.OK), MarketOutcome("BBB", Outcome.MISSING))
    validated = replace(running, validated=StateValidated(AT, "bob", outcomes))
    assert notes(replace(unusual, maintenance=validated))[3] == (
        "MAINTENANCE state validated at 2026-01-19 05:20:00Z: 1 market clean, 1 not"
    )


def test_headline_when_some_deny_then_they_are_counted() -> None:
    assert headline(status(market("AAA"), market("BBB"))) == "Closures go through in all 2 markets"
    assert headline(status(market("AAA"))) == "Closures go through in the only market"
    assert headline(status(market("AAA", finding("data_stale")), market("BBB"))) == "1 of 2 markets denies closures"

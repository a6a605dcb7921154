"""Explaining many markets on one screen: what is alike stands together, the hardest to lift comes first."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from circuit_guard.cli import explain, status_view
from circuit_guard.v1 import status_pb2, types_pb2

AT = Timestamp(seconds=1_768_800_000)


def finding(
    reason: str,
    lifted_by: types_pb2.LiftedBy = types_pb2.LIFTED_BY_FRESH_DATA,
    subject: str = "mark_price",
    observed: str = "33.1 s old",
) -> types_pb2.Finding:
    sentence = f"the sentence of {reason}: {subject} was {observed}, expected 15 s"
    return types_pb2.Finding(
        reason=reason, subject=subject, observed=observed, limit="15 s", sentence=sentence, lifted_by=lifted_by
    )


def breaker(*findings: types_pb2.Finding, latched: bool = False) -> status_pb2.BreakerStatus:
    state = types_pb2.BREAKER_STATE_OPEN if findings else types_pb2.BREAKER_STATE_CLOSED
    since = Timestamp(seconds=AT.seconds - 100)
    return status_pb2.BreakerStatus(state=state, latched=latched, since=since, findings=findings)


def market(
    name: str, *denying: types_pb2.Finding, opened: status_pb2.BreakerStatus | None = None
) -> status_pb2.MarketStatus:
    return status_pb2.MarketStatus(
        market=name,
        phase=types_pb2.PHASE_OPEN,
        commanded_phase=types_pb2.PHASE_OPEN,
        breaker=opened or breaker(),
        denying=denying,
    )


def latched(name: str, observed: str) -> status_pb2.MarketStatus:
    opened = breaker(finding("funding_jump", subject="funding_index", observed=observed), latched=True)
    return market(name, finding("breaker_open", types_pb2.LIFTED_BY_OPERATOR, name), opened=opened)


def status(
    *markets: status_pb2.MarketStatus, global_breaker: status_pb2.BreakerStatus | None = None
) -> status_pb2.GuardStatus:
    return status_pb2.GuardStatus(at=AT, markets=markets, global_breaker=global_breaker or breaker())


def shown(found: status_pb2.GuardStatus) -> list[str]:
    console = Console(width=1000, color_system=None)
    with console.capture() as captured:
        console.print(status_view.overview(console, found))
    return [line.rstrip() for line in captured.get().splitlines()]


def test_explanations_when_a_feed_dies_for_all_markets_then_they_are_one() -> None:
    stale = [market(f"M{number}", finding("data_stale", observed=f"{30 + number} s old")) for number in range(100)]

    [one] = explain.explanations(status(*stale))

    assert len(one.scopes) == 100
    assert one.why == ["data_stale: the sentence of data_stale: mark_price was 30 s old, expected 15 s"]
    assert one.lifting == ["the next good data"]


def test_explanations_when_markets_latch_for_the_same_then_one_command_resets_them() -> None:
    found = status(latched("AAA", "0"), latched("BBB", "0.0001"))

    [one] = explain.explanations(found)

    assert one.lifting == [
        'an operator, once the cause is gone: circuit-guard reset AAA BBB --actor NAME --reason "WHY"'
    ]
    assert "AAA, BBB   breaker OPEN (denying), latched, phase OPEN" in shown(found)
    assert any(line.startswith("  why (AAA)  opened for funding_jump: ") for line in shown(found))


def test_explanations_when_some_need_an_operator_then_those_come_first() -> None:
    stale, operator = market("AAA", finding("data_stale")), latched("BBB", "0")

    assert [one.scopes for one in explain.explanations(status(stale, operator))] == [["BBB"], ["AAA"]]
    assert [line.split()[0] for line in shown(status(stale, operator))[-2:]] == ["BBB", "AAA"]


def test_explanations_when_only_global_denies_then_no_market_is_explained() -> None:
    opened = breaker(finding("correlated_latches", types_pb2.LIFTED_BY_OPERATOR), latched=True)
    held = finding("global_breaker_open", types_pb2.LIFTED_BY_OPERATOR, "GLOBAL")

    [one] = explain.explanations(status(market("AAA", held), market("BBB", held), global_breaker=opened))

    assert one.scopes == ["GLOBAL"]
    assert one.why[0].startswith("opened for correlated_latches: ")
    assert one.lifting == [
        'an operator, once the cause is gone: circuit-guard reset GLOBAL --actor NAME --reason "WHY"'
    ]


def test_explanations_when_a_breaker_tripped_then_it_says_that_it_closes_by_itself() -> None:
    [one] = explain.explanations(
        status(market("AAA", finding("breaker_open"), opened=breaker(finding("mark_divergence"))))
    )

    assert one.lifting == [
        "itself, after a cooldown on healthy data",
        'or an operator, at once: circuit-guard reset AAA --actor NAME --reason "WHY"',
    ]


def test_explanations_when_one_reason_has_two_subjects_then_it_is_one_line() -> None:
    one = explain.explain_market(
        market("AAA", finding("data_stale"), finding("data_stale", subject="funding_index")), in_full=True
    )

    [line] = one.why
    assert line.startswith("data_stale: the sentence of data_stale: mark_price was 33.1 s old, expected 15 s; ")
    assert line.endswith("; funding_index was 33.1 s old, expected 15 s")


def test_explanation_when_something_ends_sooner_then_it_is_named_and_in_full_explained() -> None:
    cold = market("AAA", finding("warming", types_pb2.LIFTED_BY_EVIDENCE, "AAA"), finding("reference_missing"))

    assert explain.explain_market(cold, in_full=False).why[1] == "also reference_missing"
    assert explain.explain_market(cold, in_full=True).why[1].startswith("reference_missing: the sentence")


def closed(name: str) -> status_pb2.MarketStatus:
    denied = market(name, finding("phase_denies", types_pb2.LIFTED_BY_EXCHANGE, "phase"))
    denied.phase = denied.commanded_phase = types_pb2.PHASE_MAINTENANCE
    return denied


def test_explanations_when_the_phase_was_set_then_the_next_phase_is_the_command() -> None:
    [one] = explain.explanations(status(closed("AAA"), closed("BBB")))

    assert one.lifting == [
        'the exchange, when it is back: circuit-guard phase POST_ONLY AAA BBB --actor NAME --reason "WHY"'
    ]


def test_explanations_when_a_maintenance_runs_then_its_end_is_the_command() -> None:
    found = status(closed("AAA"), closed("BBB"))
    found.maintenance.actor = "deploy"

    [one] = explain.explanations(found)

    ending = "the maintenance's end, once the exchange's state is validated"
    assert one.lifting == [f'{ending}: circuit-guard maintenance end --actor NAME --reason "WHY"']


def test_explanations_when_a_halt_expires_then_it_says_when() -> None:
    halted = market("AAA", finding("operator_halt", types_pb2.LIFTED_BY_OPERATOR, "AAA"))
    halted.halt.CopyFrom(status_pb2.Halt(actor="ann", since=AT, expires_at=Timestamp(seconds=AT.seconds + 60)))

    [one] = explain.explanations(status(halted))

    assert one.lifting == [
        'an operator: circuit-guard resume AAA --actor NAME --reason "WHY"',
        "or itself, at 2026-01-19 05:21:00Z",
    ]


def test_explanations_when_a_market_waits_at_first_sight_then_a_rebaseline_is_named() -> None:
    [one] = explain.explanations(status(market("AAA", finding("first_sight", types_pb2.LIFTED_BY_OPERATOR, "market"))))

    assert one.lifting == ["an operator, who vouches for its funding index: circuit-guard rebaseline --help says how"]


def test_explanations_when_a_market_is_held_past_the_deadline_then_it_is_overdue_and_stands_apart() -> None:
    late, early = latched("AAA", "0"), latched("BBB", "0")
    late.overdue = True

    assert [one.state for one in explain.explanations(status(late, early))] == [
        "breaker OPEN (denying), latched, phase OPEN, OVERDUE",
        "breaker OPEN (denying), latched, phase OPEN",
    ]


def test_overview_when_more_goes_wrong_than_fits_then_the_table_has_the_reasons() -> None:
    found = status(*(market(f"M{number}", finding(f"reason_{number}")) for number in range(7)))

    lines = shown(found)

    assert "and 2 more for other reasons; `circuit-guard status MARKET` explains one market" in lines
    assert [line.split()[-1] for line in lines[-7:]] == [f"reason_{number}" for number in range(7)]


def test_overview_when_nothing_denies_then_that_is_the_first_line() -> None:
    lines = shown(status(market("AAA"), market("BBB")))

    assert lines[0].startswith("closures go through in all 2 markets   2026-01-19 05:20:00Z")
    assert lines[-1].split()[:2] == ["BBB", "allowed"]


def test_overview_when_many_markets_are_not_ready_then_only_some_are_listed() -> None:
    found = status(market("AAA"))
    found.not_ready_reasons.extend(f"market M{number} is required and still warming" for number in range(10))

    lines = shown(found)

    assert [line for line in lines if line.startswith("not ready: ")][3:] == [
        "not ready: and 7 more reasons like these"
    ]

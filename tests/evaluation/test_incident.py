"""The bundled incident: its story, its magnitudes, its truth, and what the guard makes of it."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path

from circuit_guard.config.policy import PolicyFile
from circuit_guard.core.inputs import Account, Observation, PhaseCommand, Position
from circuit_guard.core.types import Phase
from circuit_guard.evaluation import incident as story
from circuit_guard.evaluation.incident import (
    Values,
    incident,
    margin_surplus,
    moment_ns,
    skew_ppm,
    true_loss,
    true_mark,
)
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Fault, Header, Label, LabelledCheck
from circuit_guard.recording.replay import replay_file

BUNDLED = Path(__file__).parents[2] / "examples" / "incident.jsonl.gz"
BYTES_MAX = 300_000


def observations(entries: list[Entry], market: str) -> list[Observation]:
    return [entry for entry in entries if isinstance(entry, Observation) and entry.market == market]


def test_bundled_file_when_generated_anew_then_is_the_same_recording(story: tuple[Header, list[Entry]]) -> None:
    recording = read_recording(BUNDLED)
    assert (recording.header, list(recording.entries())) == story
    assert BUNDLED.stat().st_size < BYTES_MAX


def test_incident_when_the_seed_differs_then_differs_in_detail_only() -> None:
    _, entries = incident(seed=1)
    _, others = incident(seed=2)
    assert entries != others
    assert [e for e in entries if isinstance(e, Fault)] == [e for e in others if isinstance(e, Fault)]


def test_incident_when_replayed_then_no_wrongful_closure_passes_and_every_genuine_one_does(
    policy_file: PolicyFile,
) -> None:
    result = replay_file(BUNDLED, policy_file)
    assert result.wrongful == {"deny": 54}
    assert result.genuine == {"allow": 25}
    assert result.examples == []
    assert [(trip.scope, trip.severity.name) for trip in result.trips] == [
        ("BTC-USD-PERP", "LATCH"),
        ("BERA-USD-PERP", "LATCH"),
        ("PAXG-USD-PERP", "TRIP"),
    ]
    assert [fault.checks_before_detection for fault in result.faults] == [0, 0, 0]
    assert all(fault.detected_at_ns is not None for fault in result.faults)


def test_incident_when_replayed_twice_then_has_one_digest(policy_file: PolicyFile) -> None:
    assert replay_file(BUNDLED, policy_file).digest == replay_file(BUNDLED, policy_file).digest


def test_story_when_told_then_has_its_phases_in_order(story: tuple[Header, list[Entry]]) -> None:
    phases = [entry.phase for entry in story[1] if isinstance(entry, PhaseCommand)]
    assert phases == [Phase.MAINTENANCE, Phase.POST_ONLY, Phase.OPEN]


def test_indices_when_reset_then_restart_at_zero_grow_and_come_back_in_one_jump() -> None:
    _, entries = incident()
    for market, before_sign in (("BTC-USD-PERP", 1), ("BERA-USD-PERP", -1)):
        indices = {o.event_time_ns: o.funding_index for o in observations(entries, market)}
        before = indices[moment_ns(story.MAINTENANCE_S - story.STEP_S)]
        corrupt = [index for at_ns, index in indices.items() if moment_ns(360) <= at_ns < moment_ns(story.RESTORE_S)]
        restored = indices[moment_ns(story.RESTORE_S)]
        assert before is not None
        assert restored is not None
        assert before * before_sign > 0
        assert corrupt[0] == 0
        assert all(index is not None and abs(index) < abs(before) / 1000 for index in corrupt)
        assert corrupt[-1] != 0
        assert abs(restored - before) < abs(before) / 1000


def test_restart_when_told_then_has_a_new_epoch_and_counts_from_one() -> None:
    _, entries = incident()
    epochs = [(o.epoch, o.feed_sequence) for o in observations(entries, "SOL-USD-PERP")]
    assert epochs[35:37] == [(1, 36), (2, 1)]


def test_checks_when_counted_then_all_carry_the_account_and_each_market_has_its_truth(
    story: tuple[Header, list[Entry]],
) -> None:
    checks = [entry for entry in story[1] if isinstance(entry, LabelledCheck)]
    assert [entry for entry in checks if entry.check.account is None] == []
    truth = Counter((entry.check.market.split("-")[0], entry.label) for entry in checks)
    assert truth == {
        ("SOL", Label.GENUINE): 9,
        ("ETH", Label.GENUINE): 6,
        ("NEAR", Label.GENUINE): 10,
        ("BTC", Label.WRONGFUL): 26,
        ("BERA", Label.WRONGFUL): 16,
        ("PAXG", Label.WRONGFUL): 12,
    }


def test_labels_when_held_against_margin_at_the_published_values_then_each_account_looks_insolvent(
    story: tuple[Header, list[Entry]],
) -> None:
    for entry in story[1]:
        if isinstance(entry, LabelledCheck) and entry.check.account is not None:
            check, account = entry.check, entry.check.account
            assert account is not None
            mark, index = check.basis.mark_price, check.basis.funding_index
            assert mark is not None
            assert index is not None
            assert margin_surplus(account, Values(mark, index, account.positions[0].cached_funding_index)) < 0


def test_margin_surplus_when_computed_then_follows_the_formula() -> None:
    position = Position("A", Decimal(-2), Decimal(100), Decimal(7), Decimal("0.01"))
    account = Account(Decimal(50), (position,))
    # 50 - 2 * (110 - 100) - 2 * 110 * 0.01 + 2 * (9 - 7)
    assert margin_surplus(account, Values(Decimal(110), Decimal(9), Decimal(7))) == Decimal("31.8")


def test_losses_when_told_then_each_wrongful_closure_has_one_and_no_genuine_one(
    story: tuple[Header, list[Entry]],
) -> None:
    checks = [entry for entry in story[1] if isinstance(entry, LabelledCheck)]
    assert all((entry.loss or 0) > 0 for entry in checks if entry.label is Label.WRONGFUL)
    assert {entry.loss for entry in checks if entry.label is Label.GENUINE} == {None}


def test_true_loss_when_computed_then_is_what_was_taken_and_never_more_than_the_account_held() -> None:
    account = Account(Decimal(50), (Position("A", Decimal(2), Decimal(100), Decimal(7), Decimal("0.01")),))
    truth = Values(Decimal(100), Decimal(9), Decimal(7))
    # 2 * (100 - 95) for the price; the account holds 50 - 2 * (9 - 7)
    assert true_loss(account, truth, truth._replace(mark=Decimal(95))) == 10
    # 2 * (29 - 9) charged; settled at 3 instead of 7: 2 * (7 - 3)
    assert true_loss(account, truth, truth._replace(funding_index=Decimal(29))) == 40
    assert true_loss(account, truth, truth._replace(cached=Decimal(3))) == 8
    assert true_loss(account, truth, truth._replace(funding_index=Decimal(1009))) == 46


def test_true_mark_when_the_book_is_skewed_then_is_what_the_venues_agree_on() -> None:
    venues = [Decimal(103), Decimal(101), Decimal(102)]
    assert true_mark(Decimal(100), Decimal(100), venues) == 100
    assert true_mark(Decimal(100), Decimal(95), venues) == 102


def test_skew_when_it_builds_up_then_reaches_its_depth_and_ends() -> None:
    market = story.SKEWED_MARKET
    assert [skew_ppm(market, story.SKEW_S + 5 * step) for step in range(4)] == [-18_334, -36_667, -55_000, -55_000]
    assert skew_ppm(market, story.SKEW_UNTIL_S) == 0
    assert skew_ppm("BTC-USD-PERP", story.SKEW_S) == 0

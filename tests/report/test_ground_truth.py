"""The report of the bundled incident against its ground truth: the accounts, and the amounts to the cent."""

from __future__ import annotations

import csv
import io
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.evaluation.incident import write_incident
from circuit_guard.report.closures import CENT, Assessment, Closure
from circuit_guard.report.evidence import Window
from circuit_guard.report.exports import as_json, ledger
from circuit_guard.report.incident import Incident, figures, read_incident
from circuit_guard.report.sections import summary
from tests.report.recorded import STORY_NS, WINDOW, losses, record

RESTORED_S = 480


def amounts(closures: list[Closure]) -> dict[str, Decimal]:
    return {closure.ask.check.account_id: closure.loss.quantize(CENT) for closure in closures}


def true_amounts(recording: Path | None = None) -> dict[str, Decimal]:
    found = losses() if recording is None else losses(recording)
    return {account_id: loss.quantize(CENT) for account_id, loss in found.items()}


def test_shadow_when_reported_then_accounts_and_amounts_are_the_true_ones(shadow: Incident) -> None:
    truth = true_amounts()
    assert len(truth) == 54
    assert amounts(shadow.wrongful_allowed) == truth
    assert shadow.wrongful_denied == []
    total = figures(shadow.wrongful_allowed)
    assert (total.closures, total.accounts) == (54, 54)
    assert total.loss.quantize(CENT) == sum(losses().values(), Decimal(0)).quantize(CENT)


def test_enforced_when_reported_then_nothing_wrongful_is_allowed_and_what_was_spared_is_the_truth(
    enforced: Incident,
) -> None:
    assert enforced.wrongful_allowed == []
    assert amounts(enforced.wrongful_denied) == true_amounts()
    assert figures(enforced.wrongful_denied).loss.quantize(CENT) == sum(losses().values(), Decimal(0)).quantize(CENT)


@pytest.mark.parametrize("mode", ["enforced", "shadow"])
def test_genuine_closures_when_reported_then_all_are_justified_and_none_is_undecided(
    incidents: dict[str, Incident], mode: str
) -> None:
    incident = incidents[mode]
    assert len(incident.of(Assessment.JUSTIFIED, allowed=True)) == 25
    assert incident.of(Assessment.JUSTIFIED, allowed=False) == []
    assert incident.of(Assessment.UNDECIDED, allowed=True) == []
    assert len(incident.closures) == 79


@pytest.mark.system
@pytest.mark.parametrize("seed", [7])
async def test_another_incident_when_reported_then_its_amounts_are_the_true_ones_as_well(
    tmp_path: Path, seed: int
) -> None:
    recording = tmp_path / "other.jsonl.gz"
    write_incident(recording, seed)
    await record(tmp_path / "state", shadow=True, recording=recording)

    incident = read_incident(tmp_path / "state", WINDOW)

    assert amounts(incident.wrongful_allowed) == true_amounts(recording)


def test_window_when_it_ends_before_the_values_are_restored_then_amounts_rest_on_what_was_trusted_before(
    journals: dict[str, Path],
) -> None:
    truth = true_amounts()
    incident = read_incident(journals["shadow"], Window(STORY_NS, STORY_NS + (RESTORED_S - 5) * 10**9))

    found = amounts(incident.wrongful_allowed)

    assert found.keys() == {name for name in truth if "at-zero" not in name}
    assert max(abs(found[name] - truth[name]) for name in found) < Decimal("0.05")
    assert {c.ended_ns for c in incident.evidence.corruptions if c.market != "PAXG-USD-PERP"} == {None}


@pytest.mark.parametrize(("mode", "answer"), [("enforced", "DENY"), ("shadow", "ALLOW")])
def test_ledger_when_summed_then_it_is_the_truth_and_each_row_adds_up(
    incidents: dict[str, Incident], mode: str, answer: str
) -> None:
    rows = list(csv.DictReader(io.StringIO(ledger(incidents[mode]))))

    assert {row["account_id"]: Decimal(row["loss"]).quantize(CENT) for row in rows} == true_amounts()
    assert {(row["answer"], row["assessment"]) for row in rows} == {(answer, "wrongful")}
    for row in rows:
        assert Decimal(row["taken"]) == Decimal(row["price_difference"]) + Decimal(row["false_funding"])
        assert Decimal(row["loss"]) == min(Decimal(row["taken"]), Decimal(row["equity"]))
        assert Decimal(row["beyond_equity"]) == Decimal(row["taken"]) - Decimal(row["loss"])


def test_summary_when_told_then_has_what_happened_how_many_and_how_much(shadow: Incident, enforced: Incident) -> None:
    published, asked, outcome = summary(shadow)
    assert published == (
        "On 19 January 2026, from 04:33:00 to 04:35:00 (UTC), the exchange published values that cannot be true: the"
        " funding index of BTC-USD-PERP and BERA-USD-PERP and the mark price of PAXG-USD-PERP."
    )
    assert "its engine asked to close 54 accounts that were healthy in truth" in asked
    assert outcome == (
        "The guard was in shadow, where it judges and stops nothing: 54 closures went ahead, estimated to have cost"
        " their accounts 385,329.76 in quote currency."
    )
    assert summary(enforced)[:2] == (published, asked)
    assert summary(enforced)[2] == (
        "The guard denied every one of them, which spared their accounts an estimated 385,329.76 in quote currency;"
        " nothing wrongful was allowed."
    )


def test_json_when_written_then_has_the_figures_the_faults_and_the_rollback_point(shadow: Incident) -> None:
    found = as_json(shadow)
    assert found["closures"]["wrongful"]["allowed"] == {  # type: ignore[index]
        "closures": 54,
        "accounts": 54,
        "loss": "385329.76",
        "beyond_equity": "3237711.38",
    }
    corrupt = found["first_corrupt"]
    assert [(row["market"], row["at"], row["reason"]) for row in corrupt] == [  # type: ignore[attr-defined]
        ("BTC-USD-PERP", "2026-01-19T04:33:00.228Z", "funding_jump"),
        ("BERA-USD-PERP", "2026-01-19T04:33:00.268Z", "funding_jump"),
        ("PAXG-USD-PERP", "2026-01-19T04:34:00.398Z", "mark_divergence"),
    ]
    assert found["rollback"]["kept"] is True  # type: ignore[index]


def test_rollback_point_when_found_then_is_before_the_first_corrupt_record(shadow: Incident) -> None:
    first = shadow.evidence.corruptions[0]
    point = shadow.rollback
    assert point is not None
    assert point.kept
    assert point.checkpoint.covers < first.sequence
    later = [found for found in shadow.evidence.checkpoints if found.covers > point.checkpoint.covers]
    assert later[0].covers >= first.sequence


def test_evidence_when_told_then_names_the_heads_the_policy_and_what_is_still_held(shadow: Incident) -> None:
    evidence = shadow.evidence
    assert set(evidence.heads) == {"recorder", "audit"}
    assert [policy.shadow for policy in evidence.policies] == [True]
    assert {held.scope for held in evidence.held} == {"BTC-USD-PERP", "BERA-USD-PERP"}
    assert {known.market for known in evidence.tainted} == {"BTC-USD-PERP", "BERA-USD-PERP"}
    assert {gap.market for gap in evidence.gaps} == set(evidence.markets)
    assert (evidence.different, evidence.dropped, evidence.doubted) == (0, 0, 0)

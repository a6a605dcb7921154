"""A replay asks as an engine would, scores against the truth, and is a function of recording and policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from circuit_guard.config.policy import PolicyFile, parse_policy_file
from circuit_guard.core.envelope import FundingParameters, GapMode
from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Basis
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.errors import PolicyError, RecordingError
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, Fault, Header, Label, LabelledCheck
from circuit_guard.recording.replay import policy_for, replay_file, replay_files
from tests.recording.feed import BTC, ETH, INDEX, PRICE, START_NS, Feed

WARM_S = 60


def outcomes(path: Path, policy_file: PolicyFile, retry_for_s: int = 12) -> dict[str, dict[str, int]]:
    labelled = replay_file(path, policy_file, retry_for_s).as_json()["labelled"]
    assert isinstance(labelled, dict)
    return labelled


def test_replay_when_data_is_honest_then_genuine_closures_are_allowed_at_once(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    path = Feed().run(WARM_S).check("r-1", Label.GENUINE).run(1).check("r-2", Label.GENUINE).write(tmp_path)
    result = replay_file(path, policy_file)
    assert result.genuine == {"allow": 2}
    assert (result.inputs, result.checks, result.retries, result.trips) == (61 * 4 + 2, 2, 0, [])
    assert result.decisions == {"ALLOW": 2}
    assert not result.observations_rejected
    assert not result.references_rejected


def test_replay_when_a_denial_ends_within_the_retries_then_counts_allow_on_retry(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    feed = Feed().run(WARM_S).phase(Phase.MAINTENANCE).run(1).check("r-1", Label.GENUINE)
    path = feed.run(3).phase(Phase.OPEN).run(5).write(tmp_path)
    assert outcomes(path, policy_file)["genuine"] == {"allow": 0, "allow_on_retry": 1, "deny": 0}
    assert outcomes(path, policy_file, retry_for_s=2)["genuine"] == {"allow": 0, "allow_on_retry": 0, "deny": 1}
    assert replay_file(path, policy_file).retries == 3


def test_replay_when_a_denial_lasts_then_asks_again_every_second_to_the_end_of_the_recording_and_past_it(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    path = Feed().run(WARM_S).phase(Phase.MAINTENANCE).run(1).check("r-1", Label.WRONGFUL).run(2).write(tmp_path)
    result = replay_file(path, policy_file)
    assert (result.wrongful, result.retries, result.decisions) == ({"deny": 1}, 12, {"DENY": 13})
    assert result.examples == []


def test_retry_when_asked_then_carries_what_is_published_by_then(tmp_path: Path, policy_file: PolicyFile) -> None:
    stale = Basis(PRICE * 2, Decimal(0))
    path = Feed().run(WARM_S).check("r-1", Label.GENUINE, basis=stale, execution_price=PRICE * 2).run(3).write(tmp_path)
    result = replay_file(path, policy_file)
    assert result.genuine == {"allow_on_retry": 1}
    assert result.retries == 1
    example: dict[str, Any]
    [example] = result.as_json()["examples"]  # type: ignore[misc]
    assert example == {
        "at": format_time(START_NS + WARM_S * SECOND_NS - SECOND_NS // 2),
        "request_id": "r-1",
        "market": BTC,
        "label": "genuine",
        "outcome": "allow_on_retry",
        "reasons": example["reasons"],
    }
    assert {"basis_mark", "basis_funding"} <= set(example["reasons"])


def test_retry_when_published_data_is_wrong_then_is_judged_with_it(tmp_path: Path, policy_file: PolicyFile) -> None:
    feed = Feed().run(WARM_S).fault("mark_low", 20).run(1, mark_price=PRICE / 2)
    path = feed.check("r-1", Label.WRONGFUL).run(14, mark_price=PRICE / 2).write(tmp_path)
    result = replay_file(path, policy_file)
    assert result.wrongful == {"deny": 1}
    assert result.denied_by_reason["basis_mark"] >= 12


def test_replay_when_a_request_id_comes_with_another_content_then_counts_it_refused(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    feed = Feed().run(WARM_S).check("r-1", Label.GENUINE).run(1).check("r-1", Label.GENUINE, size=Decimal(2))
    result = replay_file(feed.run(1).write(tmp_path), policy_file)
    assert (result.checks_refused, result.genuine) == (1, {"allow": 1, "deny": 1})


def test_fault_when_noticed_by_the_feed_then_scores_when_and_how_many_checks_came_before(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    feed = Feed().run(WARM_S).fault("funding_reset", 30).run(2).check("early", Label.WRONGFUL)
    path = feed.run(5, funding_index=Decimal(0)).check("late", Label.WRONGFUL).run(1).write(tmp_path)
    result = replay_file(path, policy_file)
    [fault] = result.faults
    assert fault.detected_at_ns == START_NS + (WARM_S + 2) * SECOND_NS
    assert fault.checks_before_detection == 1
    assert result.wrongful == {"allow": 1, "deny": 1}
    assert [(trip.scope, trip.reason, trip.severity.name) for trip in result.trips] == [(BTC, "funding_jump", "LATCH")]
    halted_s = result.halted_market_ns / SECOND_NS
    ended_s = (result.market_ns / SECOND_NS) - WARM_S - 2
    assert halted_s == ended_s


def test_fault_when_only_a_phase_denied_then_is_not_noticed(tmp_path: Path, policy_file: PolicyFile) -> None:
    feed = Feed().run(WARM_S).phase(Phase.MAINTENANCE).run(1).fault("nothing", 30)
    path = feed.run(1).check("r-1", Label.WRONGFUL).run(14).write(tmp_path)
    [fault] = replay_file(path, policy_file).faults
    assert (fault.detected_at_ns, fault.checks_before_detection) == (None, 1)


def test_fault_when_first_noticed_after_its_end_then_is_not_noticed(tmp_path: Path, policy_file: PolicyFile) -> None:
    feed = Feed().run(WARM_S).fault("nothing", 5).run(10)
    path = feed.run(1, funding_index=Decimal(0)).write(tmp_path)
    [fault] = replay_file(path, policy_file).faults
    assert fault.detected_at_ns is None


def test_halted_time_when_global_latches_then_counts_every_market_of_the_recording(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    markets = (BTC, ETH, "SOL-USD-PERP", "NEAR-USD-PERP")
    feed = Feed(*markets).run(WARM_S)
    feed.markets = markets[:3]
    feed.run(10, funding_index=Decimal(0))
    feed.markets = markets
    result = replay_file(feed.run(10).write(tmp_path), policy_file)
    assert result.trips[-1].scope == "GLOBAL"
    assert result.trips[-1].market is None
    assert result.halted_market_ns == 4 * (19 * SECOND_NS)
    assert result.market_ns == 4 * (WARM_S + 19) * SECOND_NS


def test_replay_when_repeated_then_has_the_same_digest_and_result(tmp_path: Path, policy_file: PolicyFile) -> None:
    path = Feed().run(WARM_S).check("r-1").run(5, mark_price=PRICE / 2).check("r-2").run(3).write(tmp_path)
    assert replay_file(path, policy_file).as_json() == replay_file(path, policy_file).as_json()


def test_digest_when_one_answer_differs_then_differs(tmp_path: Path, policy_file: PolicyFile) -> None:
    one = Feed().run(WARM_S).check("r-1").write(tmp_path, "one.jsonl")
    other = Feed().run(WARM_S).check("r-2").write(tmp_path, "other.jsonl")
    assert replay_file(one, policy_file).digest != replay_file(other, policy_file).digest


def test_guard_when_labels_and_faults_are_taken_away_then_answers_the_same(
    tmp_path: Path, policy_file: PolicyFile, story: tuple[Header, list[Entry]]
) -> None:
    header, entries = story
    blind = [
        replace(entry, label=None) if isinstance(entry, LabelledCheck) else entry
        for entry in entries
        if not isinstance(entry, Fault)
    ]
    write_recording(tmp_path / "with.jsonl.gz", header, entries)
    write_recording(tmp_path / "without.jsonl.gz", header, blind)
    seen, unseen = (replay_file(tmp_path / name, policy_file) for name in ("with.jsonl.gz", "without.jsonl.gz"))
    assert seen.digest == unseen.digest
    assert (unseen.wrongful, unseen.genuine, unseen.faults) == ({}, {}, [])


@pytest.mark.parametrize("seed", ["1", pytest.param("2", marks=pytest.mark.system)])
def test_digest_when_in_another_process_then_is_the_same(
    tmp_path: Path, policy_file: PolicyFile, story: tuple[Header, list[Entry]], seed: str
) -> None:
    path = tmp_path / "incident.jsonl.gz"
    write_recording(path, story[0], story[1][:2500])
    program = (
        "import sys; from pathlib import Path; from circuit_guard.config.policy import parse_policy_file;"
        "from circuit_guard.recording.replay import replay_file;"
        "print(replay_file(Path(sys.argv[1]), parse_policy_file('[classes.default]', 'policy.toml')).digest)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, env=environment, check=True)
    assert done.stdout.decode().strip() == replay_file(path, policy_file).digest


def test_replay_when_a_year_is_missing_then_does_not_tick_through_it(tmp_path: Path, policy_file: PolicyFile) -> None:
    feed = Feed().run(WARM_S)
    feed.now_ns += 365 * 24 * 3600 * SECOND_NS
    result = replay_file(feed.run(WARM_S).check("r-1", Label.GENUINE).write(tmp_path), policy_file)
    assert result.genuine == {"allow": 1}


def test_replay_when_the_header_names_no_markets_then_the_policys_own_are_judged(tmp_path: Path) -> None:
    path = tmp_path / "recording.jsonl"
    write_recording(path, Header(), Feed(BTC, ETH).run(WARM_S).check("r-1", Label.GENUINE).entries)
    policy_file = parse_policy_file(
        f"[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.{BTC}]\n", "policy.toml"
    )
    result = replay_file(path, policy_file)
    assert result.genuine == {"allow": 1}
    assert result.observations_rejected == {"unknown_market": WARM_S}
    assert result.references_rejected == {"unknown_market": 3 * WARM_S}
    assert result.market_ns == WARM_S * SECOND_NS - SECOND_NS // 2


def test_policy_when_the_header_gives_facts_then_they_hold_for_its_markets(policy_file: PolicyFile) -> None:
    header = Header(funding_period_s=3600, funding_gap_mode=GapMode.FREEZE, markets={BTC: Decimal("0.03"), ETH: None})
    policy = policy_for(header, policy_file)
    funding = policy.markets[BTC].of(FundingParameters)
    assert (funding.period_ns, funding.gap_mode, funding.rate_max) == (
        3600 * SECOND_NS,
        GapMode.FREEZE,
        Decimal("0.03"),
    )
    default = policy_for(Header(markets={BTC: None}), policy_file).markets[BTC].of(FundingParameters)
    assert policy.markets[ETH].of(FundingParameters).rate_max == default.rate_max


def test_replay_when_the_headers_facts_are_out_of_bounds_then_names_them(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    path = tmp_path / "recording.jsonl"
    write_recording(path, Header(markets={BTC: Decimal(7)}), Feed().run(1).entries)
    with pytest.raises(PolicyError, match="rate_max"):
        replay_file(path, policy_file)


def test_replay_when_there_is_only_a_header_then_says_so(tmp_path: Path, policy_file: PolicyFile) -> None:
    path = Feed().write(tmp_path)
    with pytest.raises(RecordingError) as raised:
        replay_file(path, policy_file)
    assert str(raised.value) == f"{path}: holds nothing but its header, expected at least one entry"


def test_replay_when_the_cold_start_is_asked_then_denies_as_warming(tmp_path: Path, policy_file: PolicyFile) -> None:
    path = Feed().run(1).check("r-1", Label.GENUINE).write(tmp_path)
    result = replay_file(path, policy_file, retry_for_s=0)
    assert result.genuine == {"deny": 1}
    assert "warming" in result.denied_by_reason


def test_files_when_several_then_are_independent_and_summed(tmp_path: Path, policy_file: PolicyFile) -> None:
    one = Feed().run(WARM_S).check("r-1", Label.GENUINE).write(tmp_path, "one.jsonl")
    two = Feed().run(WARM_S).run(3, funding_index=Decimal(0)).check("r-1", Label.WRONGFUL).write(tmp_path, "two.jsonl")
    alone = replay_files([one], policy_file)
    both = json.loads(json.dumps(replay_files([one, two], policy_file)))
    assert alone["file"] == str(one)
    assert both["files"][0] == alone
    assert both["total"]["inputs"] == sum(file["inputs"] for file in both["files"])
    assert both["total"]["labelled"]["genuine"]["allow"] == 1
    assert both["total"]["labelled"]["wrongful"]["deny"] == 1
    assert both["total"]["trips"] == both["files"][1]["trips"]
    assert len({both["total"]["digest"], *(file["digest"] for file in both["files"])}) == 3


def test_progress_when_wanted_then_is_told_the_bytes_read(
    tmp_path: Path, policy_file: PolicyFile, story: tuple[Header, list[Entry]]
) -> None:
    path = tmp_path / "incident.jsonl"
    write_recording(path, story[0], [entry for entry in story[1] if not isinstance(entry, Fault)] + story[1][-1:] * 9)
    told: list[tuple[Path, int, int]] = []
    replay_file(path, policy_file, 12, lambda *report: told.append(report))
    size = path.stat().st_size
    [(file, done, whole), last] = told
    assert (file, whole, last) == (path, size, (path, size, size))
    assert 0 < done <= size


def test_index_when_it_is_honest_for_the_feed_builder_then_nothing_is_found(
    tmp_path: Path, policy_file: PolicyFile
) -> None:
    assert INDEX > 0
    result = replay_file(Feed(BTC, ETH).run(90).write(tmp_path), policy_file)
    assert (result.trips, result.observations_rejected, result.halted_market_ns) == ([], {}, 0)

"""What a report finds in the journal of a bad day, and where it has to say that something is missing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.core.inputs import (
    HaltCommand,
    Order,
    OrderAction,
    OrdersCheck,
    PhaseCommand,
    ResetCommand,
    ResumeCommand,
    Side,
)
from circuit_guard.core.types import SECOND_NS, Phase
from circuit_guard.journal.errors import JournalUnusable, RecordBroken
from circuit_guard.journal.journal import Journal, prune
from circuit_guard.journal.options import JournalOptions, Overflow
from circuit_guard.journal.reader import JournalReader
from circuit_guard.report.document import Points, Table
from circuit_guard.report.evidence import Window
from circuit_guard.report.incident import Incident, read_incident
from circuit_guard.report.sections import orders_section, reconcile_section
from circuit_guard.report.timeline import corruption_section, timeline_section
from circuit_guard.report.witness import NothingToReport
from tests.driver import BTC, ETH, PRICE, START_NS, Driver
from tests.journal.builders import Held, tamper
from tests.journal.test_journal import settled
from tests.recording.recorded_guard import FIRST, RecordedGuard, forge, read, record_story
from tests.report.recorded import WHOLE_DAY, account

QUEUE_MAX = 100


def timeline(incident: Incident) -> list[str]:
    [table] = timeline_section(incident).elements
    assert isinstance(table, Table)
    return [f"{market}: {what}" for _, market, what in table.rows]


def reconcile(incident: Incident) -> str:
    [points] = reconcile_section(incident).elements
    assert isinstance(points, Points)
    return "\n".join(points.items)


@pytest.fixture(name="bad_day")
async def _bad_day(tmp_path: Path) -> Incident:
    await record_story(tmp_path / "state")
    return read_incident(tmp_path / "state", WHOLE_DAY)


def test_timeline_when_a_day_was_bad_then_has_every_act_with_its_actor_and_reason(bad_day: Incident) -> None:
    lines = timeline(bad_day)
    for expected in (
        f"{ETH}: closures halted by alice: thin book",
        f"{ETH}: closures resumed by alice: deep again",
        "all: command refused: markets was DOGE, expected markets that the policy names",
        f"{BTC}, {ETH}: phase RECOVERING to POST_ONLY by deploy (only resting orders are taken): release",
        f"{BTC}: breaker CLOSED: reset by alice: the index is right again",
        "all: circuit_guard 0.0.1 starts to write, on host-1",
    ):
        assert expected in lines, "\n".join(lines)
    assert any(line.startswith(f"{BTC}: first corrupt value: the funding index moved further") for line in lines)
    assert any(
        line.startswith(f"{BTC}: breaker OPEN (denying), latched for funding_jump, until an operator resets it: ")
        for line in lines
    )
    assert any(" in force, added " in line for line in lines)
    times = [row[0] for row in timeline_section(bad_day).elements[0].rows]  # type: ignore[union-attr]
    assert times == sorted(times)


def test_policies_when_changed_then_each_is_named_with_its_time(bad_day: Incident) -> None:
    assert len({policy.revision for policy in bad_day.evidence.policies}) == 3
    assert bad_day.evidence.versions == ["0.0.1"]


async def test_orders_when_judged_then_take_profit_and_stop_loss_stay_and_the_others_go(tmp_path: Path) -> None:
    def order(order_id: str, **values: object) -> Order:
        return Order(order_id, BTC, Side.BUY, OrderAction.NEW, PRICE, **values)  # type: ignore[arg-type]

    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5, BTC, ETH)
        now_ns = guard.engine.now_ns()
        orders = (order("limit", created_at_ns=now_ns), order("stop", take_profit_or_stop_loss=True))
        guard.engine.decide_orders(OrdersCheck(now_ns, orders))
        guard.engine.step(PhaseCommand(now_ns, Phase.CANCEL_ONLY, (), "deploy", "release"))
        guard.engine.decide_orders(OrdersCheck(now_ns, (order("too-late"),)))
        resting = replace(order("resting"), action=OrderAction.RESTING)
        guard.engine.decide_orders(OrdersCheck(now_ns, (resting,)))

    table = orders_section(read_incident(tmp_path, WHOLE_DAY)).elements[-1]

    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [("cancel", "limit"), ("keep", "stop"), ("cancel", "resting")]


async def test_mark_when_it_only_leads_the_references_then_it_is_doubted_and_not_corrupt(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC)
        guard.clock.advance(1)
        lower = PRICE * Decimal("0.98")
        guard.observe(BTC, mark_price=lower)
        guard.refer(BTC, lower)
        guard.decide(account=account("9000"), execution_price=lower)

    incident = read_incident(tmp_path, WHOLE_DAY)

    assert incident.evidence.corruptions == []
    assert incident.evidence.doubted == 1
    assert "1 observation was doubted for a moment" in reconcile(incident)
    assert incident.closures[0].amounts is not None
    assert incident.closures[0].amounts.true_price == lower


async def test_mark_when_it_comes_back_and_the_references_never_went_there_then_it_was_corrupt(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC)
        guard.clock.advance(1)
        guard.refer(BTC)
        guard.observe(BTC, mark_price=PRICE * Decimal("0.98"))
        guard.run(2, BTC)

    [corruption] = read_incident(tmp_path, WHOLE_DAY).evidence.corruptions

    assert (corruption.finding.reason, corruption.observations) == ("mark_divergence", 1)
    assert corruption.ended_ns == corruption.last_at_ns + SECOND_NS
    assert [(known.name, known.value) for known in corruption.before] == [("mark_price", PRICE)]


async def test_window_when_it_begins_in_the_midst_of_a_fault_then_its_true_beginning_is_told(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC)
        _reset(guard, 5)
        window = Window(guard.engine.now_ns() - SECOND_NS, guard.engine.now_ns())
    whole, late = read_incident(tmp_path, WHOLE_DAY), read_incident(tmp_path, window)

    assert late.evidence.corruptions[0].first == whole.evidence.corruptions[0].first
    assert len(late.evidence.happenings) < len(whole.evidence.happenings)


async def test_window_when_the_first_checkpoint_is_in_a_fault_then_the_first_value_is_said_to_be_an_earlier_one(
    tmp_path: Path,
) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC)
        _reset(guard, 2)
        await guard.engine.checkpoint()
        window = Window(guard.engine.now_ns(), guard.engine.now_ns() + 60 * SECOND_NS)
        _reset(guard, 2)

    incident = read_incident(tmp_path, window)

    assert incident.evidence.corruptions[0].begun_before
    assert incident.rollback is None
    text = str(corruption_section(incident))
    assert f"{BTC}: it had begun before the records that were read" in text


def _reset(guard: Driver, seconds: int) -> None:
    for _ in range(seconds):
        guard.clock.advance(1)
        guard.refer(BTC)
        guard.observe(BTC, funding_index=Decimal(0))


async def test_market_when_halted_or_silent_then_the_report_says_so_at_its_end(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC, ETH)
        guard.engine.step(HaltCommand(guard.engine.now_ns(), (ETH,), "alice", "thin book"))
        guard.engine.step(HaltCommand(guard.engine.now_ns(), (ETH,), "bob", "me too"))
        guard.run(60, BTC)

    text = reconcile(read_incident(tmp_path, WHOLE_DAY))

    assert f"{ETH}, at the end of the window: halted by alice: thin book; an operator must resume it." in text
    assert f"{ETH}, at the end of the window: halted by bob: me too; an operator must resume it." in text
    assert "No observation from " in text
    assert f" to the end: {ETH}." in text


async def test_journal_when_the_guard_still_runs_then_it_can_be_reported(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5, BTC)
        guard.decide(account=account())
        await guard.engine.durable()
        incident = read_incident(tmp_path, WHOLE_DAY)
        guard.run(5, BTC)

    assert len(incident.closures) == 1


async def test_decisions_when_dropped_then_they_are_told_as_the_inputs_lead_to_them(tmp_path: Path) -> None:
    recorded = RecordedGuard(tmp_path, FIRST, overflow=Overflow.DROP, queue_max=QUEUE_MAX)
    async with recorded as guard:
        guard.run(5, BTC, ETH)
        await guard.engine.durable()
        with Held() as disk:
            await disk.hold(recorded.journal)
            recorded.fill(QUEUE_MAX)
            guard.decide(request_id="dropped")
        await guard.engine.durable()
        guard.decide(request_id="recorded")

    incident = read_incident(tmp_path, WHOLE_DAY)

    assert [(ask.check.request_id, ask.recorded) for ask in incident.evidence.asks] == [
        ("dropped", False),
        ("recorded", True),
    ]
    assert incident.evidence.dropped == 1
    assert "1 answer was not recorded, as the disk was too slow" in reconcile(incident)
    assert "1 answer has no record" in reconcile(incident)


async def test_decision_when_forged_then_the_report_says_that_it_does_not_follow(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5, BTC)
        guard.decide(account=account(), request_id="asked")
    forge(tmp_path, lambda records: [r._replace(payload=r.payload.replace('"DENY"', '"ALLOW"')) for r in records])

    incident = read_incident(tmp_path, WHOLE_DAY)

    assert incident.evidence.different == 1
    assert "1 recorded answer does not follow from the recorded inputs" in reconcile(incident)


async def test_window_when_pruned_then_the_first_that_can_be_reported_is_named(tmp_path: Path) -> None:
    await record_story(tmp_path, block_records=100)
    with Journal(tmp_path, START_NS, JournalOptions(block_records=100)) as journal:
        await settled(journal, tmp_path, blocks=3)
    newest_ns = read(tmp_path)[-1].at_ns
    assert prune(tmp_path, START_NS, newest_ns, JournalOptions(inputs_kept_ns=0, bytes_max=0)) > 0

    with pytest.raises(
        NothingToReport, match=r"is no longer kept; the first window that can still be reported begins at"
    ):
        read_incident(tmp_path, WHOLE_DAY)
    with JournalReader(tmp_path) as reader:
        pruned = max(bounds.pruned.sequence for bounds in reader.bounds().values())
        begins = next(c.at_ns for c in reader.checkpoints() if c.covers >= pruned)
    assert read_incident(tmp_path, Window(begins, newest_ns)).closures


async def test_window_when_it_is_before_or_after_the_journal_then_its_own_times_are_named(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5, BTC)
    for window in (Window(0, SECOND_NS), Window(2 * START_NS, 3 * START_NS)):
        with pytest.raises(
            NothingToReport, match=r"no record is from .*; the journal has those from 2026-01-19T00:00:00Z"
        ):
            read_incident(tmp_path, window)


async def test_window_when_the_journal_begins_later_then_that_is_said(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(5, BTC)

    incident = read_incident(tmp_path, Window(0, WHOLE_DAY.to_ns))

    assert "The journal begins at 2026-01-19T00:00:00Z, after the beginning of the window." in reconcile(incident)


async def test_journal_when_damaged_then_the_first_bad_record_is_named(tmp_path: Path) -> None:
    await record_story(tmp_path)
    tamper(tmp_path, "UPDATE record SET at_ns = at_ns + 1 WHERE sequence = 50")

    with pytest.raises(RecordBroken, match="record 50 does not continue the"):
        read_incident(tmp_path, WHOLE_DAY)


async def test_records_when_one_cannot_be_run_again_then_it_is_named(tmp_path: Path) -> None:
    await record_story(tmp_path)
    halt = next(record for record in read(tmp_path) if record.payload.startswith('{"HaltCommand"'))
    earlier = halt._replace(payload=halt.payload.replace(f'"at_ns":{halt.at_ns}', f'"at_ns":{START_NS - 1}'))
    forge(tmp_path, lambda records: [earlier if record == halt else record for record in records])

    with pytest.raises(JournalUnusable, match=f"record {halt.sequence} cannot be run again .InvariantViolated"):
        read_incident(tmp_path, WHOLE_DAY)


async def test_journal_when_it_has_no_checkpoint_then_that_is_said(tmp_path: Path) -> None:
    Journal(tmp_path, START_NS, JournalOptions()).close()

    with pytest.raises(NothingToReport, match="no checkpoint to begin with; let the guard run until its next one"):
        read_incident(tmp_path, WHOLE_DAY)


async def test_acts_when_they_happen_twice_then_both_are_told(tmp_path: Path) -> None:
    async with RecordedGuard(tmp_path, FIRST) as guard:
        guard.run(10, BTC)
        for reason in ("once", "twice"):
            _reset(guard, 1)
            guard.engine.step(ResetCommand(guard.engine.now_ns(), (BTC,), "alice", reason))
            guard.engine.step(
                HaltCommand(guard.engine.now_ns(), (BTC,), "bob", reason, guard.engine.now_ns() + SECOND_NS)
            )
            guard.engine.step(ResumeCommand(guard.engine.now_ns(), (BTC,), "carol", reason))

    lines = timeline(read_incident(tmp_path, WHOLE_DAY))

    for reason in ("once", "twice"):
        assert f"{BTC}: breaker CLOSED: reset by alice: {reason}" in lines
        assert f"{BTC}: closures resumed by carol: {reason}" in lines
        assert any(line.startswith(f"{BTC}: closures halted by bob until ") for line in lines)

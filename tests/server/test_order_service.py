"""OrderGuardService: orders asked about over gRPC."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.v1 import admin_pb2, order_pb2, types_pb2
from tests.driver import ETH
from tests.server.harness import BATCH_MAX, Harness, order, refused

ALLOW, DENY = types_pb2.VERDICT_ALLOW, types_pb2.VERDICT_DENY
BUY, SELL = order_pb2.ORDER_SIDE_BUY, order_pb2.ORDER_SIDE_SELL
RESTING, MODIFY = order_pb2.ORDER_ACTION_RESTING, order_pb2.ORDER_ACTION_MODIFY

BOUNDED_TEXT = "1 to 128 printable characters without space around them"
FINITE = "a finite decimal of at most 40 digits and a magnitude within 1e-30 .. 1e30"
DECIMAL = "a decimal of at most 40 digits, for instance 92600.5"

MALFORMED = [
    ("order_id missing", order(order_id=""), "order_id", "", BOUNDED_TEXT),
    ("order_id huge", order(order_id="x" * 129), "order_id", "x" * 77 + "...", BOUNDED_TEXT),
    ("market missing", order(market=""), "market", "", BOUNDED_TEXT),
    ("market with a control character", order(market="\t"), "market", "\t", BOUNDED_TEXT),
    ("side missing", order(side=0), "side", "0", "one of 1 (BUY), 2 (SELL)"),
    ("side unknown", order(side=3), "side", "3", "one of 1 (BUY), 2 (SELL)"),
    ("side negative", order(side=-1), "side", "-1", "one of 1 (BUY), 2 (SELL)"),
    ("action missing", order(action=0), "action", "0", "one of 1 (NEW), 2 (MODIFY), 3 (RESTING)"),
    ("action unknown", order(action=4), "action", "4", "one of 1 (NEW), 2 (MODIFY), 3 (RESTING)"),
    ("price NaN", order(price="NaN"), "price", "NaN", FINITE),
    ("price infinite", order(price="-Infinity"), "price", "-Infinity", FINITE),
    ("price absurd", order(price="1e999999"), "price", "1e999999", FINITE),
    ("price text", order(price="market"), "price", "market", DECIMAL),
    (
        "created_at beyond year 9999",
        order(created_at=Timestamp(seconds=2**62)),
        "created_at",
        "4611686018427387904 s + 0 ns",
        "a time of the years 1 to 9999 with 0 to 999999999 nanos",
    ),
]


async def set_phase(guard: Harness, phase: types_pb2.Phase, *, rollback: bool = False) -> None:
    request = admin_pb2.SetPhaseRequest(
        phase=phase, scopes=["GLOBAL"], actor="deploy", reason="database upgrade", rollback=rollback
    )
    await guard.admin.SetPhase(request)


@pytest.mark.parametrize(
    ("malformed", "field", "value", "expected"), [row[1:] for row in MALFORMED], ids=[row[0] for row in MALFORMED]
)
async def test_order_when_a_field_is_malformed_then_it_alone_is_refused_by_name(
    guard: Harness, malformed: order_pb2.Order, field: str, value: str, expected: str
) -> None:
    before = guard.state()

    first, bad, last = await guard.judge(order(order_id="a"), malformed, order(order_id="b"))

    assert (first.judgement.order_id, first.judgement.verdict) == ("a", ALLOW)
    assert (last.judgement.order_id, last.judgement.verdict) == ("b", ALLOW)
    assert bad.error.reason == "MALFORMED_REQUEST"
    assert (bad.error.field, bad.error.value, bad.error.expected) == (f"orders[1].{field}", value, expected)
    assert guard.state() == before


@pytest.mark.parametrize("count", [0, BATCH_MAX + 1])
async def test_orders_when_there_are_none_or_too_many_then_the_batch_is_refused_whole(
    guard: Harness, count: int
) -> None:
    code, info, _ = await refused(guard.judge(*(order(order_id=str(number)) for number in range(count))))

    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert dict(info.metadata) == {"field": "orders", "value": f"{count} items", "expected": f"1 to {BATCH_MAX} items"}


async def test_orders_when_an_order_id_comes_twice_then_the_batch_is_refused_whole(guard: Harness) -> None:
    code, info, _ = await refused(guard.judge(order(), order(order_id="other"), order(action=RESTING)))

    assert (code, info.metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "orders[2].order_id")
    assert (info.metadata["value"], info.metadata["expected"]) == ("order-1", "each one once")


async def test_orders_when_the_phase_is_open_then_any_price_goes(guard: Harness) -> None:
    results = await guard.judge(order(price="99999", post_only=False), order(order_id="order-2", price=""))

    assert [result.judgement.verdict for result in results] == [ALLOW, ALLOW]
    assert results[0].judgement.judged_at == guard.time()
    assert results[0].judgement.explanation == "ALLOW BTC-USD-PERP"


async def test_orders_when_the_phase_is_post_only_then_the_aggressive_side_of_the_band_is_denied(
    guard: Harness,
) -> None:
    await set_phase(guard, types_pb2.PHASE_POST_ONLY)

    results = await guard.judge(
        order(order_id="inside", price="92640"),
        order(order_id="buy above", price="93000"),
        order(order_id="buy below", price="90000"),
        order(order_id="sell below", side=SELL, price="92000"),
        order(order_id="modified", action=MODIFY, price="93000"),
        order(order_id="resting", action=RESTING, price="93000"),
        order(order_id="taking", post_only=False),
        order(order_id="unknown", market="DOGE-USD-PERP"),
    )
    verdicts = {result.judgement.order_id: result.judgement.verdict for result in results}
    above = results[1].judgement

    assert verdicts == {
        "inside": ALLOW,
        "buy above": DENY,
        "buy below": ALLOW,
        "sell below": DENY,
        "modified": DENY,
        "resting": DENY,
        "taking": DENY,
        "unknown": DENY,
    }
    assert [(finding.reason, finding.observed) for finding in above.findings] == [("outside_band", "93000")]
    assert above.explanation.startswith("DENY BTC-USD-PERP: ")
    assert above.findings[0].sentence in above.explanation
    assert above.ask_again_after == above.findings[0].ask_again_after


async def test_orders_when_the_chain_was_rolled_back_then_what_rested_is_denied_but_for_protective_orders(
    guard: Harness,
) -> None:
    before, after = guard.time(-60), guard.time(60)
    await set_phase(guard, types_pb2.PHASE_CANCEL_ONLY, rollback=True)

    rested, unknown, protective, later = await guard.judge(
        order(order_id="rested", action=RESTING, created_at=before),
        order(order_id="unknown", action=RESTING),
        order(order_id="protective", action=RESTING, created_at=before, take_profit_or_stop_loss=True),
        order(order_id="later", action=RESTING, created_at=after),
    )

    assert [finding.reason for finding in rested.judgement.findings] == ["rollback_cancel"]
    assert (rested.judgement.verdict, rested.judgement.lifted_by) == (DENY, types_pb2.LIFTED_BY_CALLER)
    assert [finding.observed for finding in unknown.judgement.findings] == ["not given"]
    assert protective.judgement.verdict == ALLOW
    assert later.judgement.verdict == ALLOW


async def test_orders_when_a_market_is_not_restricted_then_its_neighbour_in_post_only_does_not_matter(
    guard: Harness,
) -> None:
    request = admin_pb2.SetPhaseRequest(
        phase=types_pb2.PHASE_POST_ONLY, scopes=[ETH], actor="deploy", reason="thin books"
    )
    await guard.admin.SetPhase(request)

    bitcoin, ether = await guard.judge(order(price="99999"), order(order_id="order-2", market=ETH, price="99999"))

    assert (bitcoin.judgement.verdict, ether.judgement.verdict) == (ALLOW, DENY)

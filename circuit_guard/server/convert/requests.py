"""Requests as core inputs. Every function raises WireError for the first field that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from decimal import Decimal

from circuit_guard.core import inputs, permit, scale
from circuit_guard.core.rebaseline import FACTOR_EXPECTED
from circuit_guard.core.types import GLOBAL_SCOPE, SECOND_NS, CheckKind, Phase
from circuit_guard.server.convert import enums, fields
from circuit_guard.v1 import admin_pb2, liquidation_pb2, maintenance_pb2, market_data_pb2, order_pb2, types_pb2

ROWS_MAX = 5_000
"""Markets in one dump: request and answer then stay below the 4 MiB that gRPC takes by default."""
FUNDING_PERIOD_MAX_S = 366 * 86_400
HALT_MAX_NS = 7 * 86_400 * SECOND_NS
"""The longest halt that ends by itself: one that somebody forgot shows up within a week."""

KINDS: dict[int, CheckKind] = {
    liquidation_pb2.CHECK_KIND_UNSPECIFIED: CheckKind.LIQUIDATION,
    **{number: kind for kind, number in enums.KINDS.items()},
}
SIDES: dict[int, inputs.Side] = {number: side for side, number in enums.SIDES.items()}
ACTIONS: dict[int, inputs.OrderAction] = {number: action for action, number in enums.ACTIONS.items()}
PHASES_SET: dict[int, Phase] = {
    number: phase for phase, number in enums.PHASES.items() if phase is not Phase.RECOVERING
}


def batch(items: Sized, name: str, items_max: int) -> None:
    """Refuse a batch that is empty or has more than `items_max` items."""
    if not 0 < len(items) <= items_max:
        raise fields.error("", name, f"{len(items)} items", f"1 to {items_max} items")


def _event_time_ns(
    message: market_data_pb2.Observation | market_data_pb2.Reference | maintenance_pb2.StateRow, path: str
) -> int:
    return fields.time_ns(message.event_time if message.HasField("event_time") else None, path, "event_time")


def observation(message: market_data_pb2.Observation, path: str, at_ns: int) -> inputs.Observation:
    """Return a published state; its values may be NaN, infinite or absurd: the rules judge them."""
    market, source = fields.names(message.market, message.source, path)
    return inputs.Observation(
        at_ns,
        market,
        source,
        fields.count(message.epoch if message.HasField("epoch") else None, path, "epoch"),
        fields.count(message.feed_sequence if message.HasField("feed_sequence") else None, path, "feed_sequence"),
        _event_time_ns(message, path),
        fields.decimal(message.mark_price, path, "mark_price"),
        fields.decimal(message.index_price, path, "index_price"),
        fields.decimal(message.funding_index, path, "funding_index"),
        fields.lasting(message.funding_rate, path, "funding_rate"),
        fields.decimal(message.funding_premium, path, "funding_premium"),
        fields.seconds(message.funding_period_s, path, "funding_period_s", FUNDING_PERIOD_MAX_S),
        fields.finite(message.funding_rate_max, path, "funding_rate_max"),
    )


def reference(message: market_data_pb2.Reference, path: str, at_ns: int) -> inputs.Reference:
    """Return an independent price."""
    market, source = fields.names(message.market, message.source, path)
    event_time_ns = _event_time_ns(message, path)
    return inputs.Reference(at_ns, market, source, event_time_ns, fields.required(message.price, path, "price"))


_PLAIN = fields.PLAIN
_NAME = f"[!-~]{{1,{fields.NAME_CHARACTERS_MAX}}}"
_PLAIN_CHECK = re.compile(rf"{_NAME} {_NAME} (?!-?0(?:\.0+)? ){_PLAIN} (?:{_PLAIN})? {_PLAIN} (?:{_PLAIN})?", re.ASCII)
"""Request, account, size, execution price, mark price and funding index as nearly all engines write them: there is no
space in any of them, and the size is not zero."""


def asked(message: liquidation_pb2.LiquidationCheck) -> permit.Asked | None:
    """Return a question that a permit may answer; None for one with an account, or to be read field by field."""
    if message.judge_anew or message.HasField("account"):
        return None
    request_id, account_id, kind, basis = message.request_id, message.account_id, KINDS.get(message.kind), message.basis
    size, execution, mark, funding = message.size, message.execution_price, basis.mark_price, basis.funding_index
    given = f"{request_id} {account_id} {size} {execution} {mark} {funding}"
    if kind is None or _PLAIN_CHECK.fullmatch(given) is None:
        return None
    return permit.Asked(
        request_id,
        account_id,
        message.market,
        kind,
        size,
        execution,
        mark,
        funding,
        Decimal(execution) if execution else None,
        Decimal(mark),
        Decimal(funding) if funding else None,
    )


def check(message: liquidation_pb2.LiquidationCheck, path: str, at_ns: int) -> inputs.Check:
    """Return the question about one forced closure."""
    return inputs.Check(
        at_ns=at_ns,
        request_id=fields.text(message.request_id, path, "request_id"),
        account_id=fields.text(message.account_id, path, "account_id"),
        market=fields.market(message.market, path, "market"),
        size=fields.size(message.size, path, "size"),
        kind=fields.choice(message.kind, path, "kind", KINDS),
        execution_price=fields.finite(message.execution_price, path, "execution_price"),
        basis=inputs.Basis(
            mark_price=fields.finite(message.basis.mark_price, path, "basis.mark_price"),
            funding_index=fields.finite(message.basis.funding_index, path, "basis.funding_index"),
        ),
        account=_account(message.account, f"{path}.account") if message.HasField("account") else None,
        judge_anew=message.judge_anew,
    )


def _account(message: liquidation_pb2.Account, path: str) -> inputs.Account:
    if len(message.positions) > inputs.POSITIONS_MAX:
        raise fields.error(path, "positions", f"{len(message.positions)} positions", f"at most {inputs.POSITIONS_MAX}")
    positions = tuple(
        _position(position, f"{path}.positions[{number}]") for number, position in enumerate(message.positions)
    )
    if (place := inputs.repeated(positions)) is not None:
        raise fields.error(path, f"positions[{place}].market", positions[place].market, inputs.EACH_SIDE_ONCE)
    if len(message.assets) > inputs.ASSETS_MAX:
        raise fields.error(path, "assets", f"{len(message.assets)} assets", f"at most {inputs.ASSETS_MAX}")
    assets = tuple(_asset(asset, f"{path}.assets[{number}]") for number, asset in enumerate(message.assets))
    return inputs.Account(fields.required(message.collateral, path, "collateral"), positions, assets)


def _asset(message: liquidation_pb2.Asset, path: str) -> inputs.Asset:
    quantity = fields.required(message.quantity, path, "quantity")
    if quantity <= 0:
        raise fields.error(path, "quantity", message.quantity, "a quantity in base units, more than 0")
    haircut = fields.fraction(message.haircut, path, "haircut") if message.haircut else Decimal(0)
    return inputs.Asset(fields.market(message.market, path, "market"), quantity, haircut)


def _position(message: liquidation_pb2.Position, path: str) -> inputs.Position:
    fraction, amount = _margin(message, path)
    return inputs.Position(
        market=fields.market(message.market, path, "market"),
        size=fields.size(message.size, path, "size"),
        entry_price=fields.required(message.entry_price, path, "entry_price"),
        cached_funding_index=fields.required(message.cached_funding_index, path, "cached_funding_index"),
        maintenance_margin_fraction=fraction,
        maintenance_margin=amount,
    )


def _margin(message: liquidation_pb2.Position, path: str) -> tuple[Decimal, Decimal]:
    """Return the maintenance margin as a fraction and as an amount; one of them is given, the other is zero."""
    fraction, amount = message.maintenance_margin_fraction, message.maintenance_margin
    if fraction and amount:
        raise fields.error(path, "maintenance_margin", amount, "none where maintenance_margin_fraction is given")
    if amount:
        return Decimal(0), fields.amount(amount, path, "maintenance_margin")
    if fraction:
        return fields.fraction(fraction, path, "maintenance_margin_fraction"), Decimal(0)
    expected = "a fraction from 0 to 1, or maintenance_margin in quote currency in its place"
    raise fields.error(path, "maintenance_margin_fraction", fields.NOT_GIVEN, expected)


def order(message: order_pb2.Order, path: str) -> inputs.Order:
    """Return one order; no price means a market order."""
    given = message.HasField("created_at")
    created_at_ns = fields.time_ns(message.created_at, path, "created_at") if given else None
    return inputs.Order(
        order_id=fields.text(message.order_id, path, "order_id"),
        market=fields.market(message.market, path, "market"),
        side=fields.choice(message.side, path, "side", SIDES),
        action=fields.choice(message.action, path, "action", ACTIONS),
        price=fields.finite(message.price, path, "price"),
        post_only=message.post_only,
        take_profit_or_stop_loss=message.take_profit_or_stop_loss,
        created_at_ns=created_at_ns,
    )


def halt(request: admin_pb2.HaltRequest, at_ns: int, scopes_max: int) -> inputs.HaltCommand:
    """Return the command to halt."""
    markets = _markets(request.scopes, scopes_max)
    actor, reason = operator(request.actor, request.reason)
    expires_ns = None
    if request.HasField("expires_after"):
        expires_ns = at_ns + fields.duration_ns(request.expires_after, "", "expires_after", HALT_MAX_NS)
    return inputs.HaltCommand(at_ns, markets, actor, reason, expires_ns)


def resume(request: admin_pb2.ResumeRequest, at_ns: int, scopes_max: int) -> inputs.ResumeCommand:
    """Return the command to lift halts."""
    markets = _markets(request.scopes, scopes_max)
    return inputs.ResumeCommand(at_ns, markets, *operator(request.actor, request.reason))


def reset(request: admin_pb2.ResetBreakerRequest, at_ns: int, scopes_max: int) -> inputs.ResetCommand:
    """Return the command to close breakers."""
    return inputs.ResetCommand(at_ns, scopes(request.scopes, scopes_max), *operator(request.actor, request.reason))


def set_phase(request: admin_pb2.SetPhaseRequest, at_ns: int, scopes_max: int) -> inputs.PhaseCommand:
    """Return the command to enter a phase. RECOVERING is refused: it is entered by the guard itself."""
    if request.phase == types_pb2.PHASE_RECOVERING:
        expected = "another phase: RECOVERING is entered by the guard itself"
        raise fields.error("", "phase", f"{request.phase} ({Phase.RECOVERING})", expected)
    phase = fields.choice(request.phase, "", "phase", PHASES_SET)
    markets = _markets(request.scopes, scopes_max)
    return inputs.PhaseCommand(
        at_ns, phase, markets, *operator(request.actor, request.reason), rollback=request.rollback
    )


def operator(actor: str, reason: str) -> tuple[str, str]:
    """Return who acts and why; both must be given."""
    return fields.text(actor, "", "actor"), fields.text(reason, "", "reason", fields.REASON_CHARACTERS_MAX)


def scopes(names: Sequence[str], scopes_max: int) -> tuple[str, ...]:
    """Return the scopes of a command: at least one, each once."""
    batch(names, "scopes", scopes_max)
    for number, name in enumerate(names):
        fields.market(name, "", f"scopes[{number}]")
    once(names, "", "scopes", "")
    return tuple(names)


def once(values: Iterable[str], path: str, name: str, key: str) -> None:
    """Refuse a list in which a value occurs twice."""
    seen: set[str] = set()
    for number, value in enumerate(values):
        if value in seen:
            raise fields.error(path, f"{name}[{number}]{key and f'.{key}'}", value, "each one once")
        seen.add(value)


def _global_alone(named: tuple[str, ...]) -> tuple[str, ...]:
    if GLOBAL_SCOPE in named and len(named) > 1:
        raise fields.error("", "scopes", ", ".join(named), f"{GLOBAL_SCOPE} alone, or markets")
    return named


def _markets(names: Sequence[str], scopes_max: int) -> tuple[str, ...]:
    """Return the markets as the core's commands name them: none of them means GLOBAL."""
    named = _global_alone(scopes(names, scopes_max))
    return () if GLOBAL_SCOPE in named else named


@dataclass(frozen=True, slots=True)
class Rebaseline:
    """What a request for a rebaseline says. A `checkpoint_id` or a `factor` has scopes and no baselines."""

    actor: str
    reason: str
    baselines: tuple[inputs.Baseline, ...]
    checkpoint_id: int | None
    scopes: tuple[str, ...]
    repaired: tuple[str, ...]
    factor: Decimal | None

    def command(self, at_ns: int, baselines: tuple[inputs.Baseline, ...]) -> inputs.RebaselineCommand:
        """Return the command, with these baselines: those of the request, or of the checkpoint that it names."""
        rescaled = () if self.factor is None else self.scopes
        return inputs.RebaselineCommand(
            at_ns,
            baselines,
            self.actor,
            self.reason,
            self.checkpoint_id,
            self.repaired,
            factor=self.factor,
            rescaled=rescaled,
        )


def validation(request: maintenance_pb2.ValidateStateRequest, at_ns: int) -> inputs.ValidateState:
    """Return the command to validate a dump; its values may be NaN, infinite or absurd: they are judged."""
    actor = fields.text(request.actor, "", "actor")
    batch(request.rows, "rows", ROWS_MAX)
    rows = tuple(_row(row, f"rows[{number}]") for number, row in enumerate(request.rows))
    once((row.market for row in rows), "", "rows", "market")
    return inputs.ValidateState(at_ns, rows, actor)


def _row(message: maintenance_pb2.StateRow, path: str) -> inputs.StateRow:
    return inputs.StateRow(
        market=fields.market(message.market, path, "market"),
        event_time_ns=_event_time_ns(message, path),
        mark_price=fields.decimal(message.mark_price, path, "mark_price"),
        index_price=fields.decimal(message.index_price, path, "index_price"),
        funding_index=fields.decimal(message.funding_index, path, "funding_index"),
    )


def rebaseline(request: maintenance_pb2.RebaselineRequest, scopes_max: int, at_ns: int) -> Rebaseline:
    """Return what a request for a rebaseline says: baselines, a checkpoint, a factor, or repaired markets alone."""
    actor, reason = operator(request.actor, request.reason)
    checkpoint_id = request.checkpoint_id if request.HasField("checkpoint_id") else None
    factor = fields.finite(request.factor, "", "factor")
    if factor is not None:
        _only_a_factor(request)
    if checkpoint_id is not None and request.baselines:
        raise fields.error("", "baselines", f"{len(request.baselines)} items", "none beside a checkpoint_id")
    if checkpoint_id is None and factor is None and request.scopes:
        expected = "none without a checkpoint_id or a factor: they are what it is for"
        raise fields.error("", "scopes", ", ".join(request.scopes), expected)
    if checkpoint_id is None and factor is None and not request.baselines and not request.repaired:
        expected = "at least one, or a checkpoint_id, or a factor, or repaired markets"
        raise fields.error("", "baselines", "0 items", expected)
    named = () if checkpoint_id is None and factor is None else _global_alone(scopes(request.scopes, scopes_max))
    if factor is not None and GLOBAL_SCOPE in named:
        raise fields.error("", "scopes", GLOBAL_SCOPE, "markets: a factor is for those that are redenominated")
    return Rebaseline(
        actor,
        reason,
        _baselines(request, scopes_max, at_ns),
        None if checkpoint_id is None else fields.count(checkpoint_id, "", "checkpoint_id"),
        named,
        _repaired(request, scopes_max),
        factor,
    )


def _only_a_factor(request: maintenance_pb2.RebaselineRequest) -> None:
    """Refuse a factor that is none, or that stands beside values."""
    if not scale.is_factor(fields.required(request.factor, "", "factor")):
        raise fields.error("", "factor", request.factor, FACTOR_EXPECTED)
    if request.baselines or request.HasField("checkpoint_id"):
        beside = "baselines" if request.baselines else "a checkpoint_id"
        raise fields.error("", "factor", request.factor, f"none beside {beside}: values move by one of them")


def _baselines(request: maintenance_pb2.RebaselineRequest, items_max: int, at_ns: int) -> tuple[inputs.Baseline, ...]:
    if request.baselines:
        batch(request.baselines, "baselines", items_max)
    once((baseline.market for baseline in request.baselines), "", "baselines", "market")
    return tuple(_baseline(item, f"baselines[{number}]", at_ns) for number, item in enumerate(request.baselines))


def _baseline(message: maintenance_pb2.Baseline, path: str, at_ns: int) -> inputs.Baseline:
    if message.index_price and not message.mark_price:
        raise fields.error(path, "index_price", message.index_price, "none without a mark_price: they move together")
    return inputs.Baseline(
        fields.market(message.market, path, "market"),
        fields.required(message.funding_index, path, "funding_index"),
        at_ns,
        fields.finite(message.mark_price, path, "mark_price"),
        fields.finite(message.index_price, path, "index_price"),
        fields.finite(message.funding_premium, path, "funding_premium"),
    )


def _repaired(request: maintenance_pb2.RebaselineRequest, items_max: int) -> tuple[str, ...]:
    if request.repaired:
        batch(request.repaired, "repaired", items_max)
    once(request.repaired, "", "repaired", "")
    return tuple(fields.market(market, "", f"repaired[{number}]") for number, market in enumerate(request.repaired))

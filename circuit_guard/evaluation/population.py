"""Leveraged accounts on a feed, and the closures that a liquidation engine would ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Context, Decimal, localcontext
from operator import attrgetter
from random import Random

from circuit_guard.core.inputs import Account, Basis, Check, Position
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation import account_draw
from circuit_guard.evaluation.feed import FaultedFeed, Feed, Values
from circuit_guard.evaluation.underwater import Crossing, Holder, contribution, crossings
from circuit_guard.recording.entries import Label

PENALTY_SHARE = Decimal("0.7")
"""Of the maintenance margin, what a liquidated account pays to the insurance fund (Paradex, risk system docs)."""
SLIPPAGE_BPS_MAX = 3
_BPS = Decimal("0.0001")
_PRICE = Context(prec=12)
_REACTION_NS = (SECOND_NS // 20, 3 * SECOND_NS)


@dataclass(frozen=True, slots=True)
class ModelAccount:
    """An account as it truly is. Collateral is in quote currency; indices are cached from the honest feed."""

    account_id: str
    account: Account
    opened_ns: int
    """When its positions were opened; at the end of the warm-up where they are older."""
    reaction_ns: int
    """How long after an observation the engine asks about it."""
    carried: bool
    """Whether its checks carry the account."""


@dataclass(frozen=True, slots=True)
class Closure:
    """A closure that an engine asks for, and the truth about it at the observations that made it ask.

    Amounts are in quote currency. Whoever runs them passes over those of an account that it has closed already, and
    asks again only before `wanted_until_ns`.
    """

    check: Check
    label: Label
    """Wrongful where the true surplus is not negative."""
    account: ModelAccount
    wanted_until_ns: int | None
    """When the engine sees the account above water again; None if it never does."""
    true_surplus: Decimal
    """By how much the account is over its maintenance margin at the true values."""
    notional: Decimal
    """The closed position at its true mark price."""
    exposure: Decimal
    """All positions of the account at their true mark prices."""
    loss: Decimal
    """What the account loses if it is closed: an adverse fill, funding wrongly charged, the penalty.

    Never more than it truly has, and 0 where it gains.
    """

    @property
    def at_ns(self) -> int:
        """When it is asked."""
        return self.check.at_ns


def accounts(feed: Feed, seed: int, count: int, carried_share: float = 1.0) -> list[ModelAccount]:
    """Draw accounts on an honest feed, each above water when its positions are opened.

    `carried_share` of them have checks that carry the account.
    """
    random = Random(f"accounts {seed}")  # noqa: S311 - repeatable, not secret
    draw = account_draw.Draw(feed, random)
    population = []
    for number in range(1, count + 1):
        opened_ns, account = draw.account()
        reaction_ns = random.randint(*_REACTION_NS)
        carried = random.random() < carried_share
        population.append(ModelAccount(f"account-{number}", account, opened_ns, reaction_ns, carried))
    return population


def closures(faulted: FaultedFeed, population: Sequence[ModelAccount]) -> list[Closure]:
    """Return what an engine would ask for, in time order: once each time that it sees an account go under water.

    One that it sees above water again before it comes to ask is not asked about: markets are published one by one, and
    an account with several positions may go under between two of them.
    """
    with localcontext(ARITHMETIC):
        holders = [Holder(_cached(model, faulted.seen), model.opened_ns) for model in population]
        asked: list[Closure] = []
        places: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for crossing in crossings(holders, faulted.observed, faulted.maintenance_factor_at):
            number = crossing.holder
            if not crossing.under:
                place = places.pop(number)
                asked[place] = replace(asked[place], wanted_until_ns=crossing.at_ns)
                continue
            counts[number] += 1
            places[number] = len(asked)
            asked.append(_closure(faulted, population[number], holders[number].account, crossing, counts[number]))
    wanted = (
        closure for closure in asked if closure.wanted_until_ns is None or closure.at_ns < closure.wanted_until_ns
    )
    return sorted(wanted, key=attrgetter("at_ns"))


def true_surplus(faulted: FaultedFeed, model: ModelAccount, at_ns: int) -> Decimal:
    """Return by how much an account truly is over its maintenance margin at a time, in quote currency (DESIGN 3)."""
    with localcontext(ARITHMETIC):
        account = _cached(model, faulted.truth)
        return account.collateral + sum(
            contribution(
                position, faulted.true_mark(position.market, at_ns), faulted.true_funding(position.market, at_ns)
            )
            for position in account.positions
        )


def _cached(model: ModelAccount, values: Values) -> Account:
    """Return an account with the funding indices cached that were in force when its positions were opened."""
    indices = values.funding_indices
    positions = (
        replace(position, cached_funding_index=indices[position.market].at(model.opened_ns))
        for position in model.account.positions
    )
    return replace(model.account, positions=tuple(positions))


def _closure(faulted: FaultedFeed, model: ModelAccount, seen: Account, crossing: Crossing, count: int) -> Closure:
    """Return the question about an account that has gone under water: its largest position is to be closed, whole."""
    at_ns = crossing.at_ns
    position = max(seen.positions, key=lambda held: abs(held.size * faulted.seen_mark(held.market, at_ns)))
    market, request_id = position.market, f"{model.account_id}-closure-{count}"
    basis = Basis(faulted.seen_mark(market, at_ns), faulted.seen_funding(market, at_ns))
    execution_price = _fill(faulted, position, at_ns, request_id)
    check = Check(
        at_ns + model.reaction_ns,
        request_id,
        model.account_id,
        market,
        -position.size,
        execution_price=execution_price,
        basis=basis,
        account=seen if model.carried else None,
    )
    surplus = true_surplus(faulted, model, at_ns)
    notionals = {held: abs(held.size * faulted.true_mark(held.market, at_ns)) for held in seen.positions}
    maintenance = sum(held.maintenance_margin_fraction * notional for held, notional in notionals.items())
    loss = _loss(faulted, model, position, at_ns, execution_price)
    return Closure(
        check,
        Label.GENUINE if surplus < 0 else Label.WRONGFUL,
        model,
        None,
        surplus,
        notionals[position],
        sum(notionals.values(), Decimal(0)),
        max(min(loss, surplus + maintenance), Decimal(0)),
    )


def _fill(faulted: FaultedFeed, position: Position, at_ns: int, request_id: str) -> Decimal:
    """Return the price at which a position is closed: the book's, with a little slippage against the account."""
    random = Random(f"{faulted.kind} {faulted.seed} {request_id}")  # noqa: S311 - repeatable, not secret
    book = faulted.seen_mark if faulted.fills_at_mark else faulted.true_mark
    slippage = Decimal(f"{random.uniform(0, SLIPPAGE_BPS_MAX):.3f}") * _BPS
    price = book(position.market, at_ns)
    return _PRICE.subtract(price, abs(price) * slippage.copy_sign(position.size))


def _loss(
    faulted: FaultedFeed, model: ModelAccount, position: Position, at_ns: int, execution_price: Decimal
) -> Decimal:
    market, size = position.market, position.size
    true_mark = faulted.true_mark(market, at_ns)
    charged = faulted.seen_funding(market, at_ns) - position.cached_funding_index
    owed = faulted.true_funding(market, at_ns) - faulted.true_funding(market, model.opened_ns)
    penalty = PENALTY_SHARE * position.maintenance_margin_fraction * abs(size * true_mark)
    return size * (true_mark - execution_price) + size * (charged - owed) + penalty

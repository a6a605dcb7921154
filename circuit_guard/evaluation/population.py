"""Leveraged accounts on a feed, and the closures that a liquidation engine asks for.

Accounts are drawn so that their distance to liquidation fits the path that the marks honestly take.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Context, Decimal, localcontext
from itertools import groupby
from math import exp, log
from operator import attrgetter
from random import Random

from circuit_guard.core.inputs import Account, Basis, Check, Observation, Position
from circuit_guard.core.types import ARITHMETIC, SECOND_NS
from circuit_guard.evaluation.feed import WARM_UP_NS, FaultedFeed, Feed, Values
from circuit_guard.recording.format import Label

LEVERAGE = (3, 50)
TIERS = ((10, Decimal("0.05")), (15, Decimal("0.033")), (25, Decimal("0.02")), (50, Decimal("0.01")))
"""The highest leverage, and the maintenance margin fraction: half the initial margin that this leverage leaves."""
NOTIONAL = (500, 500_000)
POSITIONS_MAX = 5
CROSS_SHARE = 0.3
"""Accounts with several positions under one collateral."""
FRESH_SHARE = 0.25
"""Accounts that open their positions later, in the course of the feed: what they cache then may be corrupt."""
DUST = 1
"""What a position of no account is worth, in quote currency."""
EXPOSED_SHARE = 0.35
"""Of the other accounts, those that the feed's own path is likely to put under water."""
_DIGITS = Context(prec=12)


@dataclass(slots=True)
class Draw:
    """The source of the accounts on one feed."""

    feed: Feed
    random: Random
    markets: list[str] = field(init=False)
    extremes: dict[str, tuple[Decimal, Decimal]] = field(init=False)
    """The lowest and the highest mark of each market after the warm-up."""

    def __post_init__(self) -> None:
        marks = {market: self.feed.values.marks[market].since(self.start_ns) for market in self.feed.markets}
        self.extremes = {market: (min(values), max(values)) for market, values in marks.items()}
        self.markets = [market for market, (lowest, _) in self.extremes.items() if lowest > 0]

    @property
    def start_ns(self) -> int:
        """When accounts begin: what a guard denies while it warms up says nothing about a fault."""
        return self.feed.start_ns + WARM_UP_NS

    def account(self) -> tuple[int, Account]:
        """Draw one account, and return it with when its positions are opened."""
        count = 1
        if len(self.markets) > 1 and self.random.random() < CROSS_SHARE:
            count = self.random.randint(2, min(POSITIONS_MAX, len(self.markets)))
        fresh = self.random.random() < FRESH_SHARE
        opened_ns = self.random.randint(self.start_ns, self.feed.end_ns) if fresh else self.start_ns
        exposed = not fresh and self.random.random() < EXPOSED_SHARE
        reach = self.random.uniform(0.02, 1) if exposed else None
        collateral, positions = Decimal(0), []
        with localcontext(ARITHMETIC):
            for market in self.random.sample(self.markets, count):
                margin, position = self._position(market, opened_ns, reach, fresh=fresh)
                collateral += margin
                positions.append(position)
        return opened_ns, Account(_DIGITS.plus(collateral), tuple(positions))

    def _position(self, market: str, opened_ns: int, reach: float | None, *, fresh: bool) -> tuple[Decimal, Position]:
        """Draw a position, and return it with the collateral that it brings.

        Its margin surplus is then `distance * notional`: what it has earned or lost before is in its entry.
        """
        mark = self.feed.values.marks[market].at(opened_ns)
        cached = self.feed.values.funding_indices[market].at(opened_ns)
        side = self.random.choice((1, -1))
        leverage = self._spread(*LEVERAGE)
        fraction = next(fraction for highest, fraction in TIERS if leverage <= highest)
        size = Context(prec=4).divide(self._spread(*NOTIONAL), mark)
        natural = 1 / leverage - fraction
        distance = natural if fresh else self._distance(market, side, mark, natural, reach)
        entry = _DIGITS.plus(mark + side * mark * (natural - distance))
        return size * mark / leverage, Position(market, side * size, entry, cached, fraction)

    def _distance(self, market: str, side: int, mark: Decimal, natural: Decimal, reach: float | None) -> Decimal:
        """Draw how far an older position is from liquidation: within what the path covers, if it is to be exposed."""
        lowest, highest = self.extremes[market]
        adverse = (mark - lowest if side > 0 else highest - mark) / mark
        if reach is not None and adverse > 0:
            return adverse * Decimal(f"{reach:.4f}")
        return natural * Decimal(f"{self.random.uniform(0.2, 1.5):.4f}")

    def _spread(self, low: int, high: int) -> Decimal:
        """Return a number between two, each order of magnitude as likely."""
        return Decimal(f"{exp(self.random.uniform(log(low), log(high))):.4f}")


@dataclass(slots=True)
class SeenAccount:
    """An account as the engine sees it: what each position adds to its surplus, where the values are known."""

    number: int
    account: Account
    opened_ns: int
    contributions: dict[str, Decimal] = field(default_factory=dict)
    under: bool = False
    """Whether it was under water when it was last looked at with its positions open."""

    def is_under(self) -> bool:
        """Return whether its values, all of them known, put it under water."""
        if len(self.contributions) < len(self.account.positions):
            return False
        return self.account.collateral + sum(self.contributions.values()) < 0


def contribution(position: Position, mark: Decimal, index: Decimal, factor: Decimal = Decimal(1)) -> Decimal:
    """Return what a position adds to its account's surplus: its profit, less maintenance margin and funding owed."""
    size = position.size
    maintenance = abs(size) * mark * position.maintenance_margin_fraction * factor
    return size * (mark - position.entry_price) - maintenance - size * (index - position.cached_funding_index)


def crossings(
    seen: Sequence[SeenAccount], observed: Iterable[Observation], factor: Callable[[str, int], Decimal]
) -> Iterator[tuple[int, SeenAccount]]:
    """Yield each account, with the time, when it goes under water or comes up again while its positions are open.

    Observations received at the same time count as one. `factor` says by how much the engine overstates the maintenance
    margin of a market at a time. To be run in the context of `ARITHMETIC`.
    """
    marks: dict[str, Decimal] = {}
    indices: dict[str, Decimal] = {}
    holdings: defaultdict[str, list[tuple[SeenAccount, Position]]] = defaultdict(list)
    for account in seen:
        for position in account.account.positions:
            holdings[position.market].append((account, position))
    unopened = sorted(seen, key=attrgetter("opened_ns"), reverse=True)
    for at_ns, batch in groupby(observed, attrgetter("at_ns")):
        touched: dict[int, SeenAccount] = {}
        for market in dict.fromkeys(_take_over(batch, marks, indices)):
            if market in marks and market in indices:
                values = marks[market], indices[market], factor(market, at_ns)
                for account, position in holdings[market]:
                    account.contributions[market] = contribution(position, *values)
                    touched[account.number] = account
        while unopened and unopened[-1].opened_ns <= at_ns:
            account = unopened.pop()
            touched[account.number] = account
        for account in touched.values():
            if account.opened_ns <= at_ns and account.is_under() is not account.under:
                account.under = not account.under
                yield at_ns, account


def _take_over(batch: Iterable[Observation], marks: dict[str, Decimal], indices: dict[str, Decimal]) -> Iterator[str]:
    """Take over the values given, and yield the markets that they are of."""
    for observation in batch:
        if observation.mark_price is not None:
            marks[observation.market] = observation.mark_price
        if observation.funding_index is not None:
            indices[observation.market] = observation.funding_index
        yield observation.market


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

    Amounts are in quote currency. A trial skips those of an account that it has closed already, and asks
    again only before `wanted_until_ns`.
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
    draw = Draw(feed, random)
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
        population = _dusted(faulted, population)
        seen = [
            SeenAccount(number, _cached(model, faulted.seen), model.opened_ns)
            for number, model in enumerate(population)
        ]
        asked: list[Closure] = []
        places: dict[int, int] = {}
        counts: Counter[int] = Counter()
        for at_ns, account in crossings(seen, faulted.observed, faulted.maintenance_factor_at):
            number = account.number
            if not account.under:
                place = places.pop(number)
                asked[place] = replace(asked[place], wanted_until_ns=at_ns)
                continue
            counts[number] += 1
            places[number] = len(asked)
            asked.append(_closure(faulted, population[number], account.account, at_ns, counts[number]))
    wanted = (
        closure for closure in asked if closure.wanted_until_ns is None or closure.at_ns < closure.wanted_until_ns
    )
    return sorted(wanted, key=attrgetter("at_ns"))


def _dusted(faulted: FaultedFeed, population: Sequence[ModelAccount]) -> Sequence[ModelAccount]:
    """Return the population with dust in the markets meant for it, without those who hold more there."""
    markets = faulted.dust_markets
    if not markets:
        return population
    dusted = []
    for model in population:
        held = model.account.positions
        if not any(position.market in markets for position in held):
            dust = (_dust(faulted.honest, market, model.opened_ns) for market in markets)
            dusted.append(replace(model, account=replace(model.account, positions=(*held, *dust))))
    return dusted


def _dust(feed: Feed, market: str, opened_ns: int) -> Position:
    mark, cached = feed.values.mark(market, opened_ns), feed.values.funding(market, opened_ns)
    return Position(market, Context(prec=4).divide(DUST, mark), mark, cached, TIERS[0][1])


def true_surplus(faulted: FaultedFeed, model: ModelAccount, at_ns: int) -> Decimal:
    """Return by how much an account truly is over its maintenance margin at a time, in quote currency (DESIGN 3)."""
    with localcontext(ARITHMETIC):
        account = _cached(model, faulted.truth)
        return account.collateral + sum(
            contribution(
                position, faulted.truth.mark(position.market, at_ns), faulted.truth.funding(position.market, at_ns)
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


def _closure(faulted: FaultedFeed, model: ModelAccount, seen: Account, at_ns: int, count: int) -> Closure:
    """Return the question about an account that has gone under water: its largest position is to be closed, whole."""
    position = max(seen.positions, key=lambda held: abs(held.size * faulted.seen.mark(held.market, at_ns)))
    market, request_id = position.market, f"{model.account_id}-closure-{count}"
    basis = Basis(faulted.seen.mark(market, at_ns), faulted.seen.funding(market, at_ns))
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
    notionals = {held: abs(held.size * faulted.truth.mark(held.market, at_ns)) for held in seen.positions}
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
    book = faulted.seen.mark if faulted.fills_at_mark else faulted.truth.mark
    slippage = Decimal(f"{random.uniform(0, SLIPPAGE_BPS_MAX):.3f}") * _BPS
    price = book(position.market, at_ns)
    return _PRICE.subtract(price, abs(price) * slippage.copy_sign(position.size))


def _loss(
    faulted: FaultedFeed, model: ModelAccount, position: Position, at_ns: int, execution_price: Decimal
) -> Decimal:
    market, size = position.market, position.size
    true_mark = faulted.truth.mark(market, at_ns)
    charged = faulted.seen.funding(market, at_ns) - position.cached_funding_index
    owed = faulted.truth.funding(market, at_ns) - faulted.truth.funding(market, model.opened_ns)
    penalty = PENALTY_SHARE * position.maintenance_margin_fraction * abs(size * true_mark)
    return size * (true_mark - execution_price) + size * (charged - owed) + penalty

"""Everything that can happen to the guard. Each input carries its own time, `at_ns`: when the guard received it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b

from circuit_guard.core.types import CheckKind, Phase

POSITIONS_MAX = 1_000
"""Positions of one account: what a check costs grows with them (docs/performance.md)."""
ASSETS_MAX = 100
EACH_SIDE_ONCE = "at most one long and one short per market"


@dataclass(frozen=True, slots=True)
class Observation:
    """One published state of a market. A value that is None was not given; it never means zero.

    `epoch` numbers the publishing process, `feed_sequence` counts its observations of this market.
    `funding_index` is cumulative, in quote currency per 1 base unit, and may be negative.
    `funding_rate` and `funding_premium` (quote currency per 1 base unit) are per funding period. That period, and the
    exchange's cap on the rate, are `funding_period_s` and `funding_rate_max`, where the exchange publishes them.
    """

    at_ns: int
    market: str
    source: str
    epoch: int
    feed_sequence: int
    event_time_ns: int
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_index: Decimal | None = None
    funding_rate: Decimal | None = None
    funding_premium: Decimal | None = None
    funding_period_s: Decimal | None = None
    funding_rate_max: Decimal | None = None

    def content(self) -> tuple[object, ...]:
        """Return what was published, without when it was received: equal content is a redelivery.

        Values are compared as written, so that a NaN equals itself.
        """
        values = (self.mark_price, self.index_price, self.funding_index, self.funding_rate, self.funding_premium)
        terms = (self.funding_period_s, self.funding_rate_max)
        return (self.source, self.epoch, self.feed_sequence, self.event_time_ns, *map(str, values), *map(str, terms))


@dataclass(frozen=True, slots=True)
class Reference:
    """An independent price for a market: another venue's, or an oracle's."""

    at_ns: int
    market: str
    source: str
    event_time_ns: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class PhaseCommand:
    """The exchange is entering a phase. `markets` empty means all. `rollback`: the chain was moved back.

    `identity` as in `ResumeCommand`.
    """

    at_ns: int
    phase: Phase
    markets: tuple[str, ...] = ()
    actor: str = ""
    reason: str = ""
    rollback: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class HaltCommand:
    """An operator halts the named markets, or everything where `markets` is empty; until `expires_ns` if given.

    `identity` as in `ResumeCommand`.
    """

    at_ns: int
    markets: tuple[str, ...]
    actor: str
    reason: str
    expires_ns: int | None = None
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ResumeCommand:
    """An operator lifts every halt of the markets; breakers stay. Empty `markets` lifts those of everything.

    `identity`: who that provably was; empty where nobody is authenticated, and the actor is taken on their word.
    """

    at_ns: int
    markets: tuple[str, ...]
    actor: str
    reason: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class ResetCommand:
    """An operator resets the breakers of the named scopes: markets, or GLOBAL. `identity` as in `ResumeCommand`."""

    at_ns: int
    scopes: tuple[str, ...]
    actor: str
    reason: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class PolicyCommand:
    """A new policy takes effect: the one handed to `step` along with this input."""

    at_ns: int
    revision: str


@dataclass(frozen=True, slots=True)
class Restarted:
    """The guard itself restarted, with the state it had: what it has not seen since, it does not know."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class ClockMoved:
    """The wall clock of the guard's machine was set: it is so far ahead of the guard's now, or behind it (< 0)."""

    at_ns: int
    wall_ahead_ns: int


@dataclass(frozen=True, slots=True)
class ClockCorrected:
    """The guard's clock was set to the wall clock. It never goes back: where it was ahead, it stands still meanwhile.

    `catching_up`: it stands still from now on. `by_ns` is 0 once it runs again after that.
    """

    at_ns: int
    by_ns: int
    catching_up: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. It reports what time alone changes; decisions never depend on ticks."""

    at_ns: int


@dataclass(frozen=True, slots=True)
class Basis:
    """The values the caller computed with."""

    mark_price: Decimal | None = None
    funding_index: Decimal | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Position:
    """One position of an account; `size` is signed, in base units.

    Its maintenance margin is a fraction of its value at mark price, or an amount in quote currency; the other is zero.
    """

    market: str
    size: Decimal
    entry_price: Decimal
    cached_funding_index: Decimal
    maintenance_margin_fraction: Decimal
    maintenance_margin: Decimal = Decimal(0)

    def __repr__(self) -> str:
        """Return what a dataclass would, in a quarter of the time: each check with an account is remembered by it."""
        size, entry, cached = self.size, self.entry_price, self.cached_funding_index
        fraction, margin = self.maintenance_margin_fraction, self.maintenance_margin
        return (
            f"Position(market={self.market!r}, size={size!r}, entry_price={entry!r}, cached_funding_index={cached!r}, "
            f"maintenance_margin_fraction={fraction!r}, maintenance_margin={margin!r})"
        )


@dataclass(frozen=True, slots=True)
class Asset:
    """Collateral that is not quote currency: so much of something, worth the mark price of a market less a haircut.

    `quantity` in base units of that market, more than 0; `haircut` is the fraction of the value that does not count.
    """

    market: str
    quantity: Decimal
    haircut: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Account:
    """The account as its exchange sees it. Per market one long and one short at most.

    `collateral` is an amount in quote currency, believed as it is given; `assets` are valued by the guard.
    """

    collateral: Decimal
    positions: tuple[Position, ...]
    assets: tuple[Asset, ...] = ()

    def holdings(self) -> tuple[Position | Asset, ...]:
        """Return all that a market's price decides over."""
        return (*self.positions, *self.assets)

    def markets(self) -> dict[str, None]:
        """Return the markets of its holdings, each once, in order."""
        return dict.fromkeys(held.market for held in self.holdings())

    def digest(self) -> str:
        """Return a short text that another account does not have. Without assets it is that of earlier versions."""
        told = f"Account(collateral={self.collateral!r}, positions={self.positions!r})"
        return blake2b((told + (repr(self.assets) if self.assets else "")).encode(), digest_size=16).hexdigest()


def repeated(positions: Iterable[Position]) -> int | None:
    """Return the place of the first position whose market and side an earlier one has; None where there is none.

    In hedge mode an account is long and short in one market. The same side twice is one position counted twice.
    """
    seen: set[tuple[str, bool]] = set()
    for place, held in enumerate(positions):
        if (side := (held.market, held.size > 0)) in seen:
            return place
        seen.add(side)
    return None


@dataclass(frozen=True, slots=True)
class Check:
    """The question: may this forced closure go ahead? `size` is the closing trade (a long is closed by a sell, < 0)."""

    at_ns: int
    request_id: str
    account_id: str
    market: str
    size: Decimal
    kind: CheckKind = CheckKind.LIQUIDATION
    execution_price: Decimal | None = None
    basis: Basis = Basis()
    account: Account | None = None
    judge_anew: bool = False
    """An ALLOW that the request_id was given before does not answer: the closure is judged on what is true now."""

    def content(self) -> dict[str, str]:
        """Return the question without its time, as text: a request_id must always come with the same content.

        The account is digested, so that remembering a question costs the same whatever the account holds.
        """
        account = "" if self.account is None else self.account.digest()
        return {
            "account_id": self.account_id,
            "market": self.market,
            "size": str(self.size),
            "kind": self.kind,
            "execution_price": str(self.execution_price),
            "basis": f"{self.basis.mark_price!s} {self.basis.funding_index!s}",
            "account": account,
        }


class Side(StrEnum):
    """The side of an order."""

    BUY = "BUY"
    SELL = "SELL"


class OrderAction(StrEnum):
    """What is about to happen to an order; RESTING asks whether it may stay."""

    NEW = "NEW"
    MODIFY = "MODIFY"
    RESTING = "RESTING"


@dataclass(frozen=True, slots=True)
class Order:
    """One order to be judged. `price` None is a market order."""

    order_id: str
    market: str
    side: Side
    action: OrderAction
    price: Decimal | None
    post_only: bool = False
    take_profit_or_stop_loss: bool = False
    created_at_ns: int | None = None


@dataclass(frozen=True, slots=True)
class OrdersCheck:
    """A batch of orders to judge at one instant."""

    at_ns: int
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class BeginMaintenance:
    """The exchange is about to restart: every market goes to MAINTENANCE. `checkpoint` names the state kept for it."""

    at_ns: int
    actor: str
    reason: str
    checkpoint: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class StateRow:
    """One market in a dump of the exchange's state. A value that is None was not given; it never means zero.

    `event_time_ns`: when the exchange last brought these values up to date. Units as in `Observation`.
    """

    market: str
    event_time_ns: int
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_index: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ValidateState:
    """A dump of the restarted exchange's state, before it is published. Each market at most once."""

    at_ns: int
    rows: tuple[StateRow, ...]
    actor: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class EndMaintenance:
    """The exchange is about to publish: what was validated as clean goes on, everything else latches.

    `unvalidated`: end it although nothing was validated; every market then latches.
    """

    at_ns: int
    actor: str
    reason: str
    unvalidated: bool = False
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is the truth for a market as of a time, whatever was trusted before: its funding index, and what is given.

    With a `mark_price` the market starts on a new scale: no price from before counts any more. An `index_price` comes
    with it only; one that is not given is unknown. `funding_premium` as in `Observation`.
    """

    market: str
    funding_index: Decimal
    as_of_ns: int
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    funding_premium: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RebaselineCommand:
    """An operator says from which values on the guard is to judge.

    `checkpoint`: the sequence of the checkpoint that the exchange was rolled back to; what was published after it is
    discarded, and accounts that were settled with such a value are tainted. `repaired`: markets in which the exchange
    has repaired those accounts, so that nothing is tainted there any more. `identity` as in `ResumeCommand`.
    `factor`: everything in quote currency per 1 base unit is so many times what it was in the markets `rescaled` (a
    redenomination, another contract multiplier, a split): prices, funding index and premium. Sizes are the exchange's.
    """

    at_ns: int
    baselines: tuple[Baseline, ...]
    actor: str
    reason: str
    checkpoint: int | None = None
    repaired: tuple[str, ...] = ()
    identity: str = ""
    factor: Decimal | None = None
    rescaled: tuple[str, ...] = ()


Input = (
    Observation
    | Reference
    | PhaseCommand
    | HaltCommand
    | ResumeCommand
    | ResetCommand
    | BeginMaintenance
    | ValidateState
    | EndMaintenance
    | RebaselineCommand
    | PolicyCommand
    | Restarted
    | ClockMoved
    | ClockCorrected
    | Tick
)

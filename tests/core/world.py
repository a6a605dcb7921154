"""What the tests of the core are made of: a policy with the documented defaults, and a feed that publishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any

from circuit_guard.config.hours import calendar_of
from circuit_guard.config.policy import FOUNDING
from circuit_guard.core import policy as p
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.parameters import Parameters
from circuit_guard.core.references import SourceFacts
from circuit_guard.core.rulebook import GROUPS, RULES
from circuit_guard.core.types import SECOND_NS

MIDNIGHT_NS = int(datetime(2026, 1, 19, tzinfo=UTC).timestamp()) * SECOND_NS
"""Scenarios play on the day of the incident."""

BTC, ETH, SOL, PAXG, BERA = (f"{base}-USD-PERP" for base in ("BTC", "ETH", "SOL", "PAXG", "BERA"))
VENUES = ("binance", "bybit", "okx", "hyperliquid", "kraken")
EXACT = Context(prec=50)


def at(clock: str) -> int:
    """Return the time of a clock reading such as `10:00:00.5`, in ns."""
    hours, minutes, seconds = clock.split(":")
    return MIDNIGHT_NS + int((Decimal(hours) * 3600 + Decimal(minutes) * 60 + Decimal(seconds)) * SECOND_NS)


def clock(at_ns: int) -> str:
    """Return the clock reading of a time, with milliseconds only where there are any."""
    seconds, rest_ns = divmod(at_ns - MIDNIGHT_NS, SECOND_NS)
    reading = f"{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return reading + (f".{rest_ns // 1_000_000:03}" if rest_ns else "")


def duration_ns(text: str) -> int:
    """Return a duration such as `1.5s` or `-2s` in ns."""
    if not text.endswith("s"):
        raise ValueError(f"a duration ends in s: {text}")
    return int(Decimal(text[:-1]) * SECOND_NS)


LATER = {rule.parameters for rule in RULES.values() if rule.parameters and rule.parameters.TABLE not in FOUNDING}
"""The parameters of rules that came after version 0.2."""


def market_policy(*, later: bool = True) -> p.MarketPolicy:
    """Return the defaults that the core declares, with the cap of BTC, ETH and SOL; `later`: of later rules, too."""
    groups = {group: group() for group in GROUPS if later or group not in LATER}
    return p.MarketPolicy("major", {**groups, FundingParameters: FundingParameters(rate_max=Decimal("0.02"))})


def policy(markets: Iterable[str] = (BTC,), revision: str = "r1", *, later: bool = True) -> p.Policy:
    """Return a policy for these markets with every default."""
    return p.Policy(
        revision=revision,
        shadow=False,
        global_breaker=p.GlobalBreakerParameters(),
        remembered_requests_max=20_000,
        markets={market: market_policy(later=later) for market in markets},
    )


def changed(part: Any, changes: Mapping[str, str], since: str = "") -> Any:
    """Return a policy value with changes such as {"funding.gap": "10s", "references.quorum": "2"}; from a time on."""
    if since:
        before = part.changes[-1].groups if part.changes else part.groups
        change = p.Change(at(since), changed(replace(part, groups=before), changes).groups)
        return replace(part, changes=(*part.changes, change))
    for path, text in changes.items():
        table, _, name = path.rpartition(".")
        group = _group(table, name) if isinstance(part, p.MarketPolicy) and table else None
        if group is not None:
            given = changed(part.groups.get(group) or group(), {name: text})
            part = replace(part, groups={**part.groups, group: given})
        elif table:
            part = replace(part, **{table: changed(getattr(part, table), {name: text})})
        else:
            known = name if name in {one.name for one in fields(part)} else f"{name}_ns"
            part = replace(part, **{known: _like(getattr(part, known), text)})
    return part


def _group(table: str, name: str) -> type[Parameters]:
    """Return the group of parameters that has a name in a table of the policy file."""
    return next(
        group for group in GROUPS if table == group.TABLE and {name, f"{name}_ns"} & {one.name for one in fields(group)}
    )


def _facts(text: str) -> SourceFacts:
    """Return the facts of a source such as `okx/multiplier=1000/quoted_in=USDC-USD-PERP`."""
    source, *given = text.split("/")
    facts: SourceFacts = changed(SourceFacts(source), dict(one.split("=") for one in given))
    return facts


def _like(before: Any, text: str) -> Any:
    if isinstance(before, bool):
        return {"yes": True, "no": False}[text]
    if isinstance(before, frozenset):
        return frozenset(text.split(","))
    if before is None:
        return calendar_of("UTC", tuple(text.replace("@", " ").split(",")), ())
    if isinstance(before, tuple):
        return tuple(_facts(one) for one in text.split(","))
    if isinstance(before, int):
        return duration_ns(text) if text.endswith("s") else int(text)
    return type(before)(text)


@dataclass
class Feed:
    """An exchange's published state of one market, and the venues' prices for it. Funding accrues as time passes.

    With `settle_every` it is settled every so many seconds from midnight plus `settle_offset` on, and published
    `settle_late` seconds after that.
    """

    market: str
    mark: Decimal
    funding: Decimal
    rate: Decimal = Decimal("0.0001")
    index: Decimal = Decimal(0)
    premium: Decimal = Decimal(0)
    references: list[Decimal] = field(default_factory=list)
    epoch: int = 1
    sequence: int = 0
    source: str = "exchange"
    period: Decimal = Decimal(28_800)
    carries: Decimal = Decimal(0)
    """Whether its funding period, and its cap if there is one, are published with everything: 1 or 0."""
    cap: Decimal | None = None
    settle_every: Decimal = Decimal(0)
    settle_offset: Decimal = Decimal(0)
    settle_late: Decimal = Decimal(0)
    now_ns: int | None = None
    published: Observation | None = None
    average: str = ""
    """What the mark price is an average of the index over: `growing`, the time since then, or a time such as `600s`."""
    average_from_ns: int = 0
    indices: list[tuple[int, Decimal]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.move_to(self.mark)

    def move_to(self, price: Decimal) -> None:
        """Let mark, index and venues agree on a price, a little apart as they are."""
        self.mark = self.index = price
        self.references = [EXACT.multiply(price, Decimal(share)) for share in ("0.9999", "1", "1.0001")]
        self.premium = EXACT.multiply(self.rate, price)

    def accrue(self, now_ns: int) -> None:
        """Let funding accrue until now."""
        if self.now_ns is not None:
            step = EXACT.multiply(self.premium, self._periods(self.now_ns, now_ns))
            self.funding = EXACT.add(self.funding, step).quantize(Decimal("1e-12"), context=EXACT)
        self.now_ns = now_ns

    def _periods(self, since_ns: int, until_ns: int) -> Decimal:
        """Return for how many funding periods funding was paid."""
        if not self.settle_every:
            return EXACT.divide(Decimal(until_ns - since_ns), self.period * SECOND_NS)
        first_ns = MIDNIGHT_NS + int((self.settle_offset + self.settle_late) * SECOND_NS)
        every_ns = int(self.settle_every * SECOND_NS)
        return Decimal((until_ns - first_ns) // every_ns - (since_ns - first_ns) // every_ns)

    def average_mark(self, now_ns: int) -> None:
        """Let the mark price be the average of the indices that were published, as in a delisting."""
        self.indices.append((now_ns, self.index))
        if self.average:
            rolls = self.average != "growing"
            since_ns = now_ns - duration_ns(self.average) if rolls else self.average_from_ns
            spanned = [index for at_ns, index in self.indices if at_ns > since_ns or at_ns == now_ns]
            self.mark = EXACT.divide(sum(spanned, Decimal(0)), len(spanned)).quantize(Decimal("1e-8"), context=EXACT)

    def observation(self, now_ns: int, **given: Any) -> Observation:
        """Publish the state of now; `given` replaces what is published, and nothing else."""
        self.accrue(now_ns)
        self.average_mark(now_ns)
        self.epoch = given.get("epoch", self.epoch)
        self.sequence = given.get("feed_sequence", self.sequence + 1)
        honest = {
            "source": self.source,
            "epoch": self.epoch,
            "feed_sequence": self.sequence,
            "event_time_ns": now_ns,
            "mark_price": self.mark,
            "index_price": self.index,
            "funding_index": self.funding,
            "funding_rate": self.rate,
            "funding_premium": self.premium,
        }
        if self.carries:
            honest["funding_period_s"] = self.period
            honest["funding_rate_max"] = self.cap
        self.published = Observation(now_ns, self.market, **{**honest, **given})
        return self.published

    def quotes(self, now_ns: int, prices: Sequence[Decimal] = ()) -> list[Reference]:
        """Publish the prices of all venues, or other ones."""
        return [
            Reference(now_ns, self.market, venue, now_ns, price)
            for venue, price in zip(VENUES, prices or self.references, strict=False)
        ]


def feed_of(market: str) -> Feed:
    """Return the feed of a market with the magnitudes it really has."""
    magnitudes = {
        BTC: ("92600", "20511.93"),
        ETH: ("3200", "702.4"),
        SOL: ("133.5", "11.27"),
        PAXG: ("4670", "-61.3"),
        BERA: ("0.515", "-2.314983676759534478"),
    }
    mark, funding = magnitudes.get(market, ("10", "1"))
    return Feed(market, Decimal(mark), Decimal(funding))

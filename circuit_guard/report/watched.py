"""One market as its observations come in: what was published last, what was doubted, and for how long."""

from __future__ import annotations

from decimal import Decimal

from circuit_guard.core import taint
from circuit_guard.core.envelope import FundingParameters
from circuit_guard.core.facts import BreakerChanged, Fact, ObservationReconsidered
from circuit_guard.core.inputs import Observation, Position
from circuit_guard.core.market import FeedParameters, MarketState, Trusted, readable
from circuit_guard.core.policy import MarketPolicy
from circuit_guard.core.types import BreakerState, Finding, Severity
from circuit_guard.report.evidence import Corruption, Gap, Seen, Value
from circuit_guard.report.funding import FundingHistory, Published

OF_PRICES = frozenset({"mark_price", "index_price"})
OF_FUNDING = frozenset({"funding_index", "funding_rate", "funding_premium"})
OF_THE_RATE = frozenset({"funding_rate", "funding_premium"})


class WatchedMarket:
    """Follows one market through the run. `corruptions` has what is over; `finish` ends what is not."""

    def __init__(self, market: MarketState, policy: MarketPolicy) -> None:
        self.history = FundingHistory()
        self.funding = policy.of(FundingParameters)
        self.corruptions: list[Corruption] = []
        self.gaps: list[Gap] = []
        self.doubts: list[Corruption] = []
        """What was doubted and is not proved to be wrong."""
        self._name = market.market
        self._open: Corruption | None = None
        self._received_ns = market.feed.received_ns
        self._in_trouble = bool(market.rejections)
        trusted = market.trusted
        subjects = {finding.subject for finding in market.rejections}
        self._last = Seen(
            trusted.mark_price,
            subjects <= OF_FUNDING,
            trusted.funding_index,
            subjects <= OF_PRICES,
            market.feed.event_time_ns or trusted.funding_seen_ns,
            None,
        )
        if trusted.funding_index is not None:
            point = Published(trusted.funding_seen_ns, trusted.funding_index, trusted.funding_premium, True)
            self.history.add(point, policy.of(FundingParameters))

    def observe(
        self, sequence: int, observed: Observation, findings: tuple[Finding, ...], before: Trusted, policy: MarketPolicy
    ) -> None:
        """Take an observation and what was found of it; `before`: what was trusted until then."""
        self._note_gap(observed.at_ns, policy)
        self.funding = policy.of(FundingParameters)
        doubts = [f for f in findings if f.severity >= Severity.DENY and not f.shadow]
        subjects = {finding.subject for finding in doubts}
        mark, index = readable(observed.mark_price), readable(observed.funding_index)
        last = self._last
        self._last = last._replace(
            mark=last.mark if mark is None else mark,
            mark_trusted=last.mark_trusted if observed.mark_price is None else subjects <= OF_FUNDING,
            funding_index=last.funding_index if index is None else index,
            index_trusted=last.index_trusted if observed.funding_index is None else subjects <= OF_PRICES,
            event_ns=last.event_ns if index is None else observed.event_time_ns,
        )
        if index is not None:
            premium = None if subjects & OF_THE_RATE else readable(observed.funding_premium)
            point = Published(observed.event_time_ns, index, premium, subjects <= OF_PRICES)
            self.history.add(point, policy.of(FundingParameters))
        if doubts:
            self._doubt(sequence, observed, doubts, before)

    def hear(self, market: MarketState, facts: list[Fact]) -> None:
        """Take what came of an input: a breaker that opens over doubted values proves them wrong.

        So does a mark price that comes back without the references ever having followed it.
        """
        if self._open is not None and not market.rejections:
            self._open.proved |= (market.reverted_ns or 0) > self._open.last_at_ns
            self._open.ended_ns = self._received_ns
            self._keep(self._open)
            self._open = None
        self._in_trouble &= bool(market.rejections)
        for fact in facts:
            match fact:
                case BreakerChanged(scope=scope, after=BreakerState.OPEN) if scope == self._name and self._open:
                    self._open.proved = True
                case ObservationReconsidered(market=name) if name == self._name:
                    self._last = self._last._replace(mark_trusted=True)

    def seen(self, market: MarketState, policy: MarketPolicy, positions: tuple[Position, ...], now_ns: int) -> Seen:
        """Return what there is to know now, for a closure of an account with these positions here."""
        price = market.references.view(now_ns, policy).price
        tainted = any(taint.of(market, position.cached_funding_index) for position in positions)
        return self._last._replace(reference_price=price, tainted=tainted)

    def finish(self, policy: MarketPolicy, end_ns: int) -> None:
        """Take the end of the window."""
        if self._received_ns is not None and end_ns - self._received_ns > policy.of(FeedParameters).recovering_after_ns:
            self.gaps.append(Gap(self._name, self._received_ns, None))
        if self._open is not None:
            self._keep(self._open)

    def _note_gap(self, at_ns: int, policy: MarketPolicy) -> None:
        if self._received_ns is not None and at_ns - self._received_ns > policy.of(FeedParameters).recovering_after_ns:
            self.gaps.append(Gap(self._name, self._received_ns, at_ns))
        self._received_ns = at_ns

    def _doubt(self, sequence: int, observed: Observation, doubts: list[Finding], before: Trusted) -> None:
        gravest = max(doubts, key=lambda finding: finding.severity)
        if self._open is None:
            known = _values(before, {finding.subject for finding in doubts})
            self._open = Corruption(
                self._name, sequence, observed, gravest, known, observed.at_ns, begun_before=self._in_trouble
            )
        else:
            self._open.observations += 1
            self._open.last_at_ns = observed.at_ns
        self._open.proved |= gravest.severity >= Severity.TRIP

    def _keep(self, found: Corruption) -> None:
        (self.corruptions if found.proved else self.doubts).append(found)


def _values(before: Trusted, subjects: set[str]) -> tuple[Value, ...]:
    """Return what was trusted of the values in doubt; of both where it is the order that is in doubt."""
    values: list[Value] = []
    both = not subjects & (OF_PRICES | OF_FUNDING)

    def add(name: str, value: Decimal | None, seen_ns: int) -> None:
        if value is not None:
            values.append(Value(name, value, seen_ns))

    if both or subjects & OF_PRICES:
        add("mark_price", before.mark_price, before.mark_seen_ns)
    if both or subjects & OF_FUNDING:
        add("funding_index", before.funding_index, before.funding_seen_ns)
    return tuple(values)

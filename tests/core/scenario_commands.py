"""What the commands of the scenarios do: each feeds the core, and yields its facts as lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from circuit_guard.core import guard
from circuit_guard.core import inputs as i
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import Policy
from circuit_guard.core.status import guard_status
from circuit_guard.core.types import CheckKind, Phase
from tests.core import world
from tests.core.sentences import fact_lines, is_news, status_lines, summary

FIELDS = {
    "mark": "mark_price",
    "index": "index_price",
    "funding": "funding_index",
    "rate": "funding_rate",
    "premium": "funding_premium",
    "period": "funding_period_s",
    "cap": "funding_rate_max",
}
BASIS = ("mark", "funding")
OF_THE_GUARD = ("global_breaker", "shadow", "two_actors", "two_actors_within", "remembered_allow_max")


@dataclass
class Command:
    """What one line of a scenario says, after its time and the name of the command."""

    words: list[str]
    given: dict[str, str]

    def markets(self, known: dict[str, world.Feed]) -> list[str]:
        """Return the markets among the words."""
        return [word for word in self.words if word in known or word.endswith("-PERP")]


@dataclass
class Scenario:
    """The guard, the simulated exchange, and the time, as one file moves them on."""

    later: bool = False
    """Whether rules that came after version 0.2 run; without it only those of which the scenario names a parameter."""
    rules: Policy = field(init=False)
    now_ns: int = world.at("10:00:00")
    state: guard.GuardState | None = None
    feeds: dict[str, world.Feed] = field(default_factory=lambda: {world.BTC: world.feed_of(world.BTC)})
    last: dict[str, i.Observation] = field(default_factory=dict)
    asked: int = 0

    def __post_init__(self) -> None:
        self.rules = world.policy(later=self.later)

    def _guard(self) -> guard.GuardState:
        if self.state is None:
            self.state = guard.new_state(self.rules, self.now_ns)
        return self.state

    def take(self, input_: i.Input) -> list[Fact]:
        """Feed the core."""
        if isinstance(input_, i.Observation):
            self.last[input_.market] = input_
        return guard.step(self._guard(), input_, self.rules)

    def tell(self, facts: list[Fact]) -> Iterator[str]:
        """Return facts as lines."""
        return (line for fact in facts for line in fact_lines(fact))

    def _market(self, command: Command) -> str:
        named = command.markets(self.feeds)
        return named[0] if named else next(iter(self.feeds))

    def policy(self, command: Command) -> Iterator[str]:
        """`policy [MARKET...] key=value [from=T]`: at first it is what the guard starts with, then a reload.

        With `from` the values hold from that time on.
        """
        named = command.markets(self.feeds)
        given = dict(command.given)
        since = given.pop("from", "")
        if "markets" in given:
            names = given.pop("markets").split(",")
            kept = {name: self.rules.markets.get(name, world.market_policy(later=self.later)) for name in names}
            self.rules = replace(self.rules, markets=kept)
            self.feeds = {name: self.feeds.get(name) or world.feed_of(name) for name in names}
        own = {key: given.pop(key) for key in list(given) if key.partition(".")[0] in OF_THE_GUARD}
        markets = {
            name: world.changed(part, given, since) if name in (named or self.rules.markets) else part
            for name, part in self.rules.markets.items()
        }
        self.rules = replace(world.changed(self.rules, own), markets=markets)
        if self.state is not None:
            self.rules = replace(self.rules, revision=f"r{int(self.rules.revision[1:]) + 1}")
            yield from self.tell(self.take(i.PolicyCommand(self.now_ns, self.rules.revision)))

    def feed(self, command: Command) -> Iterator[str]:
        """`feed [MARKET] price= mark= index= funding= rate= premium= references=a,b epoch=`: what is true from now.

        `average=growing|600s` has the mark price be an average of the index, from now on or over the last 600 s.
        `times=F` puts everything on another scale: prices, funding index and premium are F times what they were.
        """
        feed = self.feeds[self._market(command)]
        feed.accrue(self.now_ns)
        given = dict(command.given)
        if "rate" in given:
            feed.rate = Decimal(given.pop("rate"))
            feed.premium = world.EXACT.multiply(feed.rate, feed.index)
        if "average" in given:
            feed.average, feed.average_from_ns = given.pop("average"), self.now_ns
        if "times" in given:
            factor = Decimal(given.pop("times"))
            feed.funding = world.EXACT.multiply(feed.funding, factor)
            feed.move_to(world.EXACT.multiply(feed.index, factor))
        if "price" in given:
            feed.move_to(Decimal(given.pop("price")))
        if "references" in given:
            feed.references = [Decimal(price) for price in given.pop("references").split(",") if price]
        for key, text in given.items():
            setattr(feed, key, int(text) if key in ("epoch", "sequence") else Decimal(text))
        yield from ()

    def steady(self, command: Command) -> Iterator[str]:
        """`steady until=T [every=5s] [to=PRICE [lag=2s]] [walk=] [without=observations|references] [checking]`.

        `to` moves the price there in a straight line; with `lag` the venues follow later. `walk=0..-0.02` moves the
        mark price alone, by these shares. `checking` asks each time whether a long may be closed.
        """
        until_ns, every_ns = world.at(command.given["until"]), world.duration_ns(command.given.get("every", "1s"))
        start_ns, without = self.now_ns, command.given.get("without", "")
        named = command.markets(self.feeds) or list(self.feeds)
        starts = {name: self.feeds[name].index for name in named}
        heard: list[Fact] = []
        while self.now_ns < until_ns:
            for name in named:
                feed = self.feeds[name]
                if "to" in command.given:
                    way = (start_ns, until_ns, starts[name], Decimal(command.given["to"]))
                    feed.move_to(_on_the_way(way, self.now_ns - world.duration_ns(command.given.get("lag", "0s"))))
                    feed.mark = _on_the_way(way, self.now_ns)
                if "walk" in command.given:
                    before, after = map(Decimal, command.given["walk"].split(".."))
                    feed.mark = feed.index * (1 + _on_the_way((start_ns, until_ns, before, after), self.now_ns))
                heard += self._publish(feed, without)
                if "checking" in command.words:
                    heard += guard.decide(self._guard(), self._question(Command(["long", name], {})), self.rules)
            self.now_ns += every_ns
        self.now_ns = until_ns
        news = (fact for fact in heard if is_news(fact))
        yield from (f"{world.clock(fact.at_ns)} {line}" for fact in news for line in fact_lines(fact))
        yield from summary(heard)

    def _publish(self, feed: world.Feed, without: str) -> list[Fact]:
        heard: list[Fact] = []
        if without != "references":
            heard += [fact for quote in feed.quotes(self.now_ns) for fact in self.take(quote)]
        if without != "observations":
            heard += self.take(feed.observation(self.now_ns))
        return heard

    def observe(self, command: Command) -> Iterator[str]:
        """`observe [MARKET] [mark= index= funding= rate= premium= period= cap=] [epoch= seq= source= event=-3s]`."""
        given: dict[str, Any] = {}
        for key, text in command.given.items():
            if key == "event":
                given["event_time_ns"] = self.now_ns + world.duration_ns(text)
            elif key in ("epoch", "seq"):
                given["epoch" if key == "epoch" else "feed_sequence"] = int(text)
            elif key == "source":
                given[key] = text
            else:
                given[FIELDS[key]] = None if text == "none" else Decimal(text)
        market = self._market(command)
        feed = self.feeds.get(market) or world.feed_of(market)
        yield from self.tell(self.take(feed.observation(self.now_ns, **given)))

    def redeliver(self, command: Command) -> Iterator[str]:
        """`redeliver [MARKET]`: the last observation once more."""
        again = replace(self.last[self._market(command)], at_ns=self.now_ns)
        yield from self.tell(self.take(again))

    def references(self, command: Command) -> Iterator[str]:
        """`references [MARKET] [PRICE...]`: every venue's price, one after the other as `world.VENUES` names them."""
        prices = [Decimal(word) for word in command.words if not word.endswith("-PERP")]
        quotes = self.feeds[self._market(command)].quotes(self.now_ns, prices)
        told = [self.take(quote) for quote in quotes]
        yield from self.tell([fact for facts in told for fact in facts if is_news(fact)])

    def reference(self, command: Command) -> Iterator[str]:
        """`reference [MARKET] VENUE PRICE [event=-3s]`."""
        venue, price = [word for word in command.words if not word.endswith("-PERP")]
        event_ns = self.now_ns + world.duration_ns(command.given.get("event", "0s"))
        quote = i.Reference(self.now_ns, self._market(command), venue, event_ns, Decimal(price))
        yield from self.tell(self.take(quote))

    def check(self, command: Command) -> Iterator[str]:
        """`check long|short [MARKET] [size=1] [mark= funding=] [price=] [kind=] [id=] [account=POSITION,...]`.

        POSITION is `MARKET[:CACHED[:SIZE[:ENTRY]]]`. The account has `held=1` in each without a size, bought at
        `entry=` (far above any price), and `collateral=100`; `assets=MARKET:QUANTITY[:HAIRCUT],...` besides.
        The caller computes with what was published last, right or wrong, unless `mark` and `funding` say otherwise.
        """
        yield from self.tell(guard.decide(self._guard(), self._question(command), self.rules))

    def _question(self, command: Command) -> i.Check:
        self.asked += 1
        given, market = command.given, self._market(command)
        size = Decimal(given.get("size", "1")) * (-1 if "long" in command.words else 1)
        last = self.last.get(market)
        mark, funding = (_number(given[key]) if key in given else getattr(last, FIELDS[key], None) for key in BASIS)
        positions = tuple(_position(text, given) for text in given.get("account", "").split(",") if text)
        assets = tuple(_asset(text) for text in given.get("assets", "").split(",") if text)
        return i.Check(
            at_ns=self.now_ns,
            request_id=given.get("id", f"check-{self.asked}"),
            account_id=given.get("by", "account-1"),
            market=market,
            size=size,
            kind=CheckKind(given.get("kind", "LIQUIDATION")),
            execution_price=_number(given.get("price")),
            basis=i.Basis(mark, funding),
            account=i.Account(Decimal(given.get("collateral", "100")), positions, assets) if positions else None,
        )

    def order(self, command: Command) -> Iterator[str]:
        """`order buy|sell PRICE|market [new|modify|resting] [post_only] [tpsl] [created=T] [MARKET]`."""
        words, created = command.words, command.given.get("created")
        action = next((word for word in words if word in ("modify", "resting")), "new")
        order = i.Order(
            order_id=" ".join(word for word in words if not word.endswith("-PERP")),
            market=self._market(command),
            side=i.Side(words[0].upper()),
            action=i.OrderAction(action.upper()),
            price=None if words[1] == "market" else Decimal(words[1]),
            post_only="post_only" in words,
            take_profit_or_stop_loss="tpsl" in words,
            created_at_ns=world.at(created) if created else None,
        )
        yield from self.tell(guard.decide_orders(self._guard(), i.OrdersCheck(self.now_ns, (order,)), self.rules))

    def phase(self, command: Command) -> Iterator[str]:
        """`phase NAME [MARKET...] [rollback]`."""
        markets, rollback = tuple(command.markets(self.feeds)), "rollback" in command.words
        phase = i.PhaseCommand(self.now_ns, Phase(command.words[0]), markets, "exchange", rollback=rollback)
        yield from self.tell(self.take(phase))

    def restart(self, command: Command) -> Iterator[str]:
        """`restart`: the guard itself restarts with the state it had."""
        return self.tell(self.take(i.Restarted(self.now_ns)))

    def tick(self, command: Command) -> Iterator[str]:
        return self.tell(self.take(i.Tick(self.now_ns)))

    def status(self, command: Command) -> Iterator[str]:
        return status_lines(guard_status(self._guard(), self.rules, self.now_ns))


def _on_the_way(way: tuple[int, int, Decimal, Decimal], now_ns: int) -> Decimal:
    start_ns, until_ns, start, end = way
    share = Decimal(min(max(now_ns - start_ns, 0), until_ns - start_ns)) / (until_ns - start_ns)
    return (start + (end - start) * share).quantize(Decimal("1e-8"))


def _position(text: str, given: dict[str, str]) -> i.Position:
    """Return a position from `MARKET[:CACHED_FUNDING_INDEX[:SIZE[:ENTRY_PRICE]]]`."""
    market, cached, held, entry, *_ = (*text.split(":"), "", "", "")
    held, entry = held or given.get("held", "1"), entry or given.get("entry", "1000000")
    return i.Position(market, Decimal(held), Decimal(entry), Decimal(cached or "0"), Decimal("0.01"))


def _asset(text: str) -> i.Asset:
    """Return a collateral asset from `MARKET:QUANTITY[:HAIRCUT]`."""
    market, quantity, haircut, *_ = (*text.split(":"), "")
    return i.Asset(market, Decimal(quantity), Decimal(haircut or "0"))


def _number(text: str | None) -> Decimal | None:
    return None if text in (None, "none") else Decimal(text)

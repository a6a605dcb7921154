"""Outlooks: a guard that keeps what checks have worked out decides exactly as one that works out everything anew."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, localcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Phases
from hypothesis import strategies as st

from circuit_guard.core import guard, inputs
from circuit_guard.core import inputs as i
from circuit_guard.core.facts import Fact
from circuit_guard.core.policy import Policy
from circuit_guard.core.progress import view_for_check, view_of
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import ARITHMETIC, SECOND_NS, CheckKind, Phase
from circuit_guard.journal.checkpoint import copied
from circuit_guard.journal.codec import decode_as, encode
from tests.core import hostile, world
from tests.core.test_invariants import plain

HOUR_NS = 3600 * SECOND_NS
AGES_S = ("0", "0.000000001", "0.3", "1", "5", "10", "15", "20", "30", "60")
"""Among them all that anything a check rests on may be old: the interesting instants are those, and those beside."""
passed_ns = st.builds(
    lambda age, beside_ns: max(int(Decimal(age) * SECOND_NS) + beside_ns, 0),
    st.sampled_from(AGES_S),
    st.sampled_from((-1, 0, 0, 0, 1)),
)
moves = st.sampled_from([Decimal(text) for text in ("0", "0", "0.0001", "-0.0004", "0.002", "-0.008", "0.03", "-0.3")])
checks = st.tuples(st.just("check"), hostile.markets, moves)
steps = st.one_of(
    checks,
    checks,
    st.tuples(st.just("check twice"), hostile.markets, moves),
    st.tuples(st.just("order"), hostile.markets, moves),
    st.tuples(st.just("reference"), hostile.markets, moves),
    st.tuples(st.just("observation"), hostile.markets, moves),
    st.tuples(st.just("observation"), hostile.markets, moves),
    st.tuples(st.just("honest"), hostile.markets, moves),
    st.tuples(st.sampled_from(("unannounced policy", "policy")), hostile.markets, moves),
    st.tuples(st.sampled_from(("rebaseline", "rescale", "reset", "phase")), hostile.markets, moves),
)


Played = tuple[int, tuple[str, str, Decimal]]
"""After how many ns what happens, in which market, with which share of its price."""


class Guard:
    """A guard that has seen a few seconds of honest data, and what the exchange publishes to it."""

    def __init__(self) -> None:
        self.policy: Policy
        self.state: GuardState
        self.policy, self.state, self.feeds = pickle.loads(hostile.WARM)  # noqa: S301  # our own bytes
        self.now_ns = self.state.now_ns
        self.asked = 0

    def play(self, kind: str, market: str, move: Decimal) -> list[Fact]:
        """Let one thing happen, and return what came of it."""
        feed, now_ns = self.feeds[market], self.now_ns
        price = (feed.mark * (1 + move)).quantize(feed.mark)
        match kind:
            case "check" | "check twice":
                facts = [*self.ask(market, price), *self.ask(market, feed.mark)]
                return facts if kind == "check" else facts + self.ask(market, price)
            case "order":
                order = i.Order("o", market, i.Side.BUY, i.OrderAction.NEW, price, post_only=True)
                return guard.decide_orders(self.state, i.OrdersCheck(now_ns, (order, order)), self.policy)
            case "reference":
                return self.step(i.Reference(now_ns, market, world.VENUES[now_ns % 3], now_ns, price))
            case "observation":
                return self.step(feed.observation(now_ns, mark_price=price))
            case "honest":
                feed.move_to(price)
                quoted = [fact for quote in feed.quotes(now_ns) for fact in self.step(quote)]
                return quoted + self.step(feed.observation(now_ns))
            case "rebaseline":
                baseline = inputs.Baseline(market, feed.funding * (1 + move), now_ns)
                return self.step(inputs.RebaselineCommand(now_ns, (baseline,), "alice", "a test"))
            case "rescale":
                names, factor = (market,), 1 + abs(move) + Decimal("0.5")
                act = inputs.RebaselineCommand(now_ns, (), "alice", "a test", factor=factor, rescaled=names)
                return self.step(act)
            case "reset":
                return self.step(i.ResetCommand(now_ns, (market,), "alice", "a test"))
            case "phase":
                return self.step(i.PhaseCommand(now_ns, Phase.OPEN if move else Phase.POST_ONLY, (market,)))
            case _:
                given = {"divergence.base": str(abs(move) + 1 / Decimal(100)), "basis.window": "20s"}
                own = {name: world.changed(part, given) for name, part in self.policy.markets.items()}
                self.policy = replace(self.policy, markets=own)
                return self.step(i.PolicyCommand(now_ns, "r2")) if kind == "policy" else []

    def ask(self, market: str, price: Decimal) -> list[Fact]:
        """Ask about an account with positions in every market; what it says shows every bound to the last digit."""
        self.asked += 1
        held = [i.Position(name, Decimal(2), it.mark, it.funding, Decimal("0.05")) for name, it in self.feeds.items()]
        basis = i.Basis(price, self.feeds[market].funding)
        account = i.Account(Decimal(500), tuple(held))
        check = i.Check(
            self.now_ns, f"{self.asked}", f"a{self.asked % 3}", market, Decimal(-1), CheckKind.LIQUIDATION, price, basis
        )
        plain_check = replace(check, request_id=f"{self.asked} without")
        with_account = replace(check, account=account)
        return [
            *guard.decide(self.state, with_account, self.policy),
            *guard.decide(self.state, plain_check, self.policy),
        ]

    def step(self, input_: i.Input) -> list[Fact]:
        """Let the guard take an input."""
        return guard.step(self.state, input_, self.policy)


def pickled(state: GuardState) -> GuardState:
    copied: GuardState = pickle.loads(pickle.dumps(state))  # noqa: S301  # our own bytes
    return copied


def drop_outlooks(state: GuardState) -> GuardState:
    for market in state.markets.values():
        market.outlook = None
    return state


def through_a_checkpoint(state: GuardState) -> GuardState:
    return decode_as(GuardState, encode(copied(state)))


def play_both(played: Sequence[Played], before: Callable[[GuardState, int], GuardState]) -> None:
    """Play to a guard that keeps its outlooks, and to one whose state goes through `before` before each step."""
    keeping, anew = Guard(), Guard()
    for number, (step_ns, step) in enumerate(played):
        for each in (keeping, anew):
            each.now_ns += step_ns
        anew.state = before(anew.state, number)
        expect_nothing_stale(keeping)
        assert [repr(fact) for fact in keeping.play(*step)] == [repr(fact) for fact in anew.play(*step)]
        expect_nothing_stale(keeping)
    assert plain(keeping.state) == plain(anew.state)


def expect_nothing_stale(played: Guard) -> None:
    """Expect of all that is kept what comes out when it is worked out anew, now and at the last instant it is for."""
    for name, market in played.state.markets.items():
        kept, policy = market.outlook, played.policy.markets[name]
        if kept is None:
            continue
        for at_ns in (played.now_ns, max(played.now_ns, min(kept.until_ns - 1, played.now_ns + HOUR_NS))):
            market.outlook = kept
            with localcontext(ARITHMETIC):
                view, anew = view_for_check(market, policy, at_ns), view_of(market, policy, at_ns)
                assert repr(view.references) == repr(anew.references)
                for work_out in tuple(kept.worked_out):
                    assert repr(view.once(work_out)) == repr(anew.once(work_out)), work_out
        market.outlook = kept


QUIET = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phases.explicit, Phases.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@QUIET
@given(played=st.lists(st.tuples(passed_ns, steps), min_size=5, max_size=25))
def test_decisions_when_outlooks_are_kept_then_they_are_those_of_a_guard_that_keeps_none(
    played: list[Played],
) -> None:
    play_both(played, lambda state, _: drop_outlooks(state))


@settings(QUIET, max_examples=25)
@given(played=st.lists(st.tuples(passed_ns, steps), min_size=3, max_size=10))
def test_decisions_when_the_state_comes_from_a_checkpoint_then_they_are_the_same(
    played: list[Played],
) -> None:
    play_both(played, lambda state, number: through_a_checkpoint(state) if number == 2 else state)


@pytest.mark.parametrize(
    ("what", "after_s", "path"),
    [
        ("the references are too old", "10", "references.age_max"),
        ("the medians leave the window", "30", "divergence.window"),
        ("the marks leave the caller's window", "30", "basis.window"),
    ],
)
def test_outlook_when_time_alone_changes_what_it_says_then_it_ends_at_that_instant(
    what: str, after_s: str, path: str
) -> None:
    """Nothing is published after the fifth second; the check before the instant fills the outlook."""
    played = Guard()
    given = {"references.age_max": "1000s", "divergence.window": "1000s", "basis.window": "1000s"}
    given |= {path: f"{after_s}s"}
    own = {name: world.changed(part, given) for name, part in played.policy.markets.items()}
    played.policy = replace(played.policy, markets=own)
    seen_ns = played.state.now_ns
    ended = []
    for at_ns in (seen_ns + int(Decimal(after_s) * SECOND_NS) - 1, seen_ns + int(Decimal(after_s) * SECOND_NS) + 1):
        played.now_ns = at_ns
        played.ask(world.BTC, played.feeds[world.BTC].mark)
        outlook = played.state.markets[world.BTC].outlook
        assert outlook is not None, what
        ended.append(outlook)
    before, after = ended
    assert before is not after, what
    assert before.until_ns <= after_ns(seen_ns, after_s), what


def after_ns(seen_ns: int, after_s: str) -> int:
    return seen_ns + int(Decimal(after_s) * SECOND_NS) + 1


def test_outlook_when_nothing_happens_between_two_checks_then_the_second_uses_that_of_the_first() -> None:
    played = Guard()
    played.ask(world.BTC, Decimal(92600))
    first = played.state.markets[world.BTC].outlook
    played.now_ns += 1_000_000
    played.ask(world.BTC, Decimal(92601))
    assert first is not None
    assert played.state.markets[world.BTC].outlook is first


@pytest.mark.parametrize("kind", ["reference", "observation", "rebaseline", "rescale", "policy", "reset", "phase"])
def test_outlook_when_an_input_may_change_the_data_then_it_is_dropped(kind: str) -> None:
    played = Guard()
    played.ask(world.BTC, Decimal(92600))
    played.play(kind, world.BTC, Decimal("0.0001"))
    assert played.state.markets[world.BTC].outlook is None


def test_outlook_when_an_input_is_about_another_market_then_it_stays() -> None:
    played = Guard()
    played.ask(world.BTC, Decimal(92600))
    kept = played.state.markets[world.BTC].outlook
    played.play("observation", world.ETH, Decimal(0))
    assert kept is not None
    assert played.state.markets[world.BTC].outlook is kept


@pytest.mark.parametrize("copied", [copied, copy.deepcopy, pickled])
def test_state_when_copied_or_recorded_then_outlooks_are_no_part_of_it(
    copied: Callable[[GuardState], GuardState],
) -> None:
    asked, text = Guard(), []
    for kept in (True, False):
        if kept:
            asked.ask(world.BTC, Decimal(92600))
            assert asked.state.markets[world.BTC].outlook is not None
        else:
            drop_outlooks(asked.state)
        twin = copied(asked.state)
        assert twin == asked.state
        assert [market.outlook for market in twin.markets.values()] == [None] * len(twin.markets)
        text.append(encode(twin))
    assert text[0] == text[1]


def test_outlook_when_the_policy_is_another_one_then_it_is_not_used() -> None:
    played = Guard()
    played.ask(world.BTC, Decimal(92600))
    first = played.state.markets[world.BTC].outlook
    played.play("unannounced policy", world.BTC, Decimal("0.0001"))
    played.ask(world.BTC, Decimal(92600))
    assert first is not None
    assert played.state.markets[world.BTC].outlook is not first

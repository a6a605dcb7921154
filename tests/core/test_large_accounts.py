"""An account with a thousand positions costs no more than is stated, in its answer and in what is kept of it."""

from __future__ import annotations

import pickle
from decimal import Decimal

from circuit_guard.core import guard
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.guard import ACCOUNT_FINDINGS_MAX
from circuit_guard.core.inputs import POSITIONS_MAX, Account, Basis, Check, Position
from circuit_guard.core.remembered import UNCONFIRMED_BYTES_MAX, account_bytes
from circuit_guard.core.types import SECOND_NS, Decision, Explanation, Verdict
from tests.core import hostile, world


def held(market: str) -> Position:
    return Position(market, Decimal("0.001"), Decimal(90_000), Decimal("20511.93"), Decimal("0.01"))


class Asking:
    """A warm guard that is asked about accounts in BTC-USD-PERP."""

    def __init__(self) -> None:
        self.policy, self.state, self.feeds = pickle.loads(hostile.WARM)  # noqa: S301
        self.basis = Basis(self.feeds[world.BTC].mark, self.feeds[world.BTC].funding)

    def ask(self, account_id: str, account: Account) -> Decision:
        at_ns = self.state.now_ns
        size = Decimal("-0.001")
        check = Check(at_ns, account_id, account_id, world.BTC, size, basis=self.basis, account=account)
        facts = guard.decide(self.state, check, self.policy)
        return next(fact.decision for fact in facts if isinstance(fact, DecisionMade))


def test_answer_when_a_thousand_positions_are_in_trouble_then_it_names_a_bounded_number_of_them() -> None:
    elsewhere = tuple(held(f"M{number}-USD-PERP") for number in range(POSITIONS_MAX - 1))
    decision = Asking().ask("a", Account(Decimal(1), (held(world.BTC), *elsewhere)))
    assert decision.verdict is Verdict.DENY
    assert 2 <= len(decision.findings) <= ACCOUNT_FINDINGS_MAX + 2


def test_state_when_many_large_healthy_accounts_are_asked_about_then_the_newest_are_kept_within_the_bound() -> None:
    asking = Asking()
    large = Account(Decimal(1_000_000), (held(world.BTC),) * POSITIONS_MAX)
    names = [f"account-{number}" for number in range(UNCONFIRMED_BYTES_MAX // account_bytes(large) + 3)]
    for name in names:
        explained = asking.ask(name, large).explained
        assert explained is not None
        assert explained.verdict is Explanation.UNEXPLAINED
    kept = list(asking.state.markets[world.BTC].unconfirmed)
    assert kept == names[-len(kept) :]
    assert UNCONFIRMED_BYTES_MAX * 3 // 4 < len(kept) * account_bytes(large) <= UNCONFIRMED_BYTES_MAX


def test_check_when_large_accounts_wait_to_be_looked_at_again_then_it_looks_at_one_and_at_several_small_ones() -> None:
    asking = Asking()
    sizes = [POSITIONS_MAX, POSITIONS_MAX, 1, 1, 1]
    for number, count in enumerate(sizes):
        asking.ask(f"waiting-{number}", Account(Decimal(1_000_000), (held(world.BTC),) * count))
    waiting = asking.state.markets[world.BTC].unconfirmed
    asking.state.now_ns += 6 * SECOND_NS
    left = []
    for number in range(3):
        asking.ask(f"later-{number}", Account(Decimal(-1_000_000), (held(world.BTC),)))
        left.append(len(waiting))
    assert left == [4, 3, 0]

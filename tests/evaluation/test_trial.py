"""One judge on one run: what is asked, when again, and how the answers count."""

from __future__ import annotations

from decimal import Decimal

import pytest

from circuit_guard.config.policy import MarketFacts, PolicyFile
from circuit_guard.core.inputs import Check, Observation, Tick
from circuit_guard.core.policy import Policy
from circuit_guard.core.types import SECOND_NS
from circuit_guard.evaluation.feed import WARM_UP_NS
from circuit_guard.evaluation.judge import GUARD_DOWN, Answer, GuardJudge, hidden_max
from circuit_guard.evaluation.outcome import Tally, total
from circuit_guard.evaluation.population import true_surplus
from circuit_guard.evaluation.trial import EXAMPLES_PER_RUN_MAX, Noticing, Trial
from circuit_guard.recording.format import Fault, Label
from tests.evaluation.evaluating import FEED, Puppet, moved, run_of, with_closures

RESET = run_of("reset")
HONEST = run_of("none")
MARKET = FEED.markets[0]


def play(judge: Puppet | GuardJudge, run: object = RESET, limits: dict[str, Decimal | None] | None = None) -> Tally:
    return Trial(judge, run, limits or {}).play()  # type: ignore[arg-type]


@pytest.fixture(name="policy", scope="module")
def _policy(policy_file: PolicyFile) -> Policy:
    facts = dict.fromkeys(FEED.markets, MarketFacts(Decimal("0.02")))
    return policy_file.with_markets(facts)


def test_trial_when_the_judge_allows_all_then_recall_is_0_and_nothing_is_held() -> None:
    tally = play(Puppet("all", 1))

    assert tally.wrongful == tally.wrongful_beyond == tally.wrongful_outside > 0
    assert tally.recall == 0
    assert tally.genuine == tally.genuine_at_once > 0
    assert tally.genuine_held == 0
    assert tally.bad_debt == 0
    assert tally.loss_outside > 0


def test_trial_when_the_judge_denies_all_then_everything_is_held_and_it_costs() -> None:
    tally = play(Puppet("none", 0))

    assert tally.recall == 1
    assert tally.wrongful_outside == tally.wrongful_inside == 0
    assert tally.genuine == tally.genuine_denied + tally.genuine_lapsed > 0
    assert tally.genuine_at_once == tally.genuine_on_retry == 0
    assert tally.bad_debt > 0
    assert len(tally.examples) == EXAMPLES_PER_RUN_MAX


def test_trial_when_the_guard_judges_then_wrongful_is_denied_and_genuine_flows(policy: Policy) -> None:
    guard = GuardJudge("guard", policy, FEED.start_ns)
    faulted = play(guard)
    honest = play(GuardJudge("guard", policy, FEED.start_ns), HONEST)

    assert (faulted.wrongful_outside, faulted.recall) == (0, 1)
    assert faulted.observations_before == [0], "the first faulty observation is not believed"
    assert faulted.honest_trips == honest.honest_trips == honest.halted_market_ns == 0
    assert honest.genuine == honest.genuine_at_once + honest.genuine_lapsed > 0
    assert 0 < faulted.halted_market_ns < faulted.market_ns


def test_trial_when_denied_then_asks_again_each_second_for_12_seconds() -> None:
    closure = next(c for c in HONEST.closures if c.wanted_until_ns is None)
    never, third = Puppet("never", 0), Puppet("third", 3)
    run = with_closures(HONEST, [closure])

    denied, allowed = play(never, run), play(third, run)

    assert len(never.asked) == 13
    assert never.asked[1] == f"{closure.check.request_id}#retry-1"
    assert (denied.genuine_denied, allowed.genuine_denied, allowed.genuine_on_retry) == (1, 0, 1)
    assert allowed.bad_debt < denied.bad_debt
    two_seconds_later = true_surplus(run.faulted, closure.account, closure.at_ns + 2 * SECOND_NS)
    assert allowed.bad_debt == max(closure.true_surplus - two_seconds_later, Decimal(0))


def test_trial_when_asked_again_then_with_the_values_that_the_engine_sees_by_then() -> None:
    closure = next(c for c in HONEST.closures if c.wanted_until_ns is None)
    asked: list[Check] = []

    class Recorder(Puppet):
        def ask(self, check: Check) -> Answer:
            asked.append(check)
            return super().ask(check)

    play(Recorder("third", 8), with_closures(HONEST, [closure]))

    last, market = asked[-1], closure.check.market
    assert last.at_ns == closure.at_ns + 7 * SECOND_NS
    assert last.basis.mark_price == HONEST.faulted.seen.mark(market, last.at_ns) != closure.check.basis.mark_price
    assert last.execution_price == HONEST.faulted.truth.mark(market, last.at_ns)
    assert last.account == closure.check.account


def test_trial_when_the_engine_no_longer_wants_it_then_it_lapses_and_is_not_asked_again() -> None:
    closure = HONEST.closures[0]
    judge = Puppet("never", 0)

    tally = play(judge, with_closures(HONEST, [moved(closure, wanted_until_ns=closure.at_ns + 2 * SECOND_NS)]))

    assert len(judge.asked) == 2
    assert (tally.genuine, tally.genuine_lapsed, tally.genuine_denied) == (1, 1, 0)


def test_trial_when_an_account_was_closed_then_nobody_asks_about_it_again() -> None:
    closure = HONEST.closures[0]
    later = moved(closure, check=moved(closure.check, request_id="later", at_ns=closure.at_ns + SECOND_NS))  # type: ignore[arg-type]
    run = with_closures(HONEST, [closure, later])

    assert play(Puppet("all", 1), run).genuine == 1
    assert play(Puppet("never", 0), run).genuine == 2


def test_trial_when_a_closure_falls_into_the_warm_up_then_its_account_was_closed_before() -> None:
    closure = HONEST.closures[0]
    early = moved(closure, check=moved(closure.check, at_ns=FEED.start_ns + WARM_UP_NS - 1))  # type: ignore[arg-type]
    judge = Puppet("all", 1)

    play(judge, with_closures(HONEST, [early, closure]))

    assert judge.asked == []


def test_trial_when_a_wrongful_one_is_below_the_limit_then_it_counts_as_inside() -> None:
    closure = next(c for c in RESET.closures if c.label is Label.WRONGFUL and c.true_surplus > 0)
    run, request_id = with_closures(RESET, [closure]), closure.check.request_id
    judge = Puppet("all", 1)

    above = play(judge, run, {request_id: closure.true_surplus})
    below = play(judge, run, {request_id: closure.true_surplus + 1})
    unknown = play(judge, run, {request_id: None})

    assert (above.wrongful_inside, above.wrongful_outside, above.recall) == (0, 1, 0)
    assert (below.wrongful_inside, below.wrongful_outside, below.recall) == (1, 0, None)
    assert below.loss_inside == above.loss_outside == closure.loss
    [example] = unknown.examples
    assert (unknown.wrongful_outside, example["limit"]) == (1, None), "without an envelope nothing is excused"


def test_trial_when_a_wrongful_one_has_become_genuine_by_the_time_then_allowing_it_is_no_wrong() -> None:
    closure = next(c for c in HONEST.closures if c.wanted_until_ns is None)
    run = with_closures(HONEST, [moved(closure, label=Label.WRONGFUL, true_surplus=Decimal(1))])

    assert play(Puppet("all", 1), run).wrongful_outside == 1
    assert play(Puppet("third", 3), run).wrongful_outside == 0


def test_trial_when_a_market_is_halted_then_its_seconds_trips_and_flow_are_counted() -> None:
    judge = Puppet("all", 1, [MARKET])

    honest, faulted = play(judge, HONEST), play(judge, RESET)

    seconds = (FEED.end_ns - FEED.start_ns) // SECOND_NS
    assert honest.halted_market_ns == pytest.approx(seconds * SECOND_NS, abs=SECOND_NS)
    assert honest.market_ns == len(FEED.markets) * honest.halted_market_ns
    assert honest.honest_trips == 1
    in_it = [closure for closure in HONEST.closures if closure.check.market == MARKET]
    assert honest.halted_asked == honest.halted_allowed <= len(in_it)
    assert faulted.honest_trips == 1, "it was halted before the fault began"


def test_noticing_when_something_is_doubted_then_counts_what_was_believed_and_allowed_until_then() -> None:
    fault = Fault(10 * SECOND_NS, "reset", (MARKET,), 20 * SECOND_NS)
    noticing, other = Noticing(fault), Noticing(fault)

    def observation(second: int, market: str = MARKET) -> Observation:
        return Observation(second * SECOND_NS, market, "exchange", 1, second, second * SECOND_NS)

    noticing.observed(observation(9), believed=False)
    noticing.observed(observation(10), believed=True)
    noticing.observed(observation(11, "another"), believed=False)
    noticing.answered(MARKET, 12 * SECOND_NS, Answer(allowed=True))
    noticing.answered(MARKET, 13 * SECOND_NS, Answer(allowed=False, reasons=("phase_denies",)))
    noticing.observed(observation(15), believed=True)
    noticing.answered(MARKET, 16 * SECOND_NS, Answer(allowed=False, doubts=True))
    noticing.observed(observation(17), believed=True)
    other.observed(observation(21), believed=False)
    tally = Tally()
    noticing.report(tally)
    other.report(tally)

    assert (tally.faults, tally.observations_before, tally.closures_before) == (2, [2], [1])


def test_guard_judge_when_the_guard_is_away_then_nothing_passes_and_it_hears_nothing(policy: Policy) -> None:
    start_ns = FEED.start_ns
    away = (start_ns + 10 * SECOND_NS, start_ns + 20 * SECOND_NS)
    judge = GuardJudge("guard", policy, start_ns, [away])
    check = moved(HONEST.closures[0].check, at_ns=away[0])  # type: ignore[arg-type]

    judge.tell(Tick(start_ns + 9 * SECOND_NS))
    judge.tell(Tick(start_ns + 15 * SECOND_NS))

    assert judge.state.now_ns == start_ns + 9 * SECOND_NS
    assert judge.ask(check) == Answer(allowed=False, reasons=(GUARD_DOWN,))  # type: ignore[arg-type]
    judge.tell(Tick(away[1]))
    assert judge.state.now_ns == away[1]


def test_limit_when_the_market_is_calm_then_it_is_a_small_share_of_the_exposure(policy: Policy) -> None:
    judge = GuardJudge("guard", policy, FEED.start_ns)
    for entry in FEED.entries:
        judge.tell(entry)
    closure = HONEST.closures[0]
    account = closure.account.account

    limit = hidden_max(judge.state, account, policy, FEED.end_ns, truth=None)
    without = hidden_max(judge.state, account, policy, FEED.end_ns, truth=None, carried=False)

    assert limit is not None
    assert without is not None
    assert 0 < limit < closure.exposure / 50
    assert without > limit, "without the account the guard sees less"
    later_ns = FEED.end_ns + 3600 * SECOND_NS
    assert hidden_max(judge.state, account, policy, later_ns, truth=None) is None, "no reference"


def test_total_when_tallies_are_added_then_every_count_is_the_sum() -> None:
    one, two = play(Puppet("all", 1)), play(Puppet("never", 0))

    summed = total([one, two])

    assert summed.runs == 2
    assert summed.wrongful == one.wrongful + two.wrongful
    assert summed.bad_debt == two.bad_debt
    shown = [*one.examples, *two.examples]
    shown.sort(key=lambda example: example["label"] == Label.GENUINE)
    assert summed.examples == shown[:20], "a wrongful closure that was allowed comes before a genuine one that was held"
    assert total([]).as_json() == Tally().as_json()

"""A guard restarted in the middle of a recording: nothing wrongful passes, and genuine closures soon flow again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from circuit_guard.config.policy import read_policy_file
from circuit_guard.core.facts import DecisionMade
from circuit_guard.core.guard import step
from circuit_guard.core.inputs import Observation, PhaseCommand, Restarted
from circuit_guard.core.market import MarketState
from circuit_guard.core.policy import Policy
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import SECOND_NS, BreakerState, Phase, Verdict
from circuit_guard.journal.codec import decode_as, encode
from circuit_guard.recording.file import read_recording
from circuit_guard.recording.format import Entry, Fault
from circuit_guard.recording.replay import RETRY_FOR_S, Replay, policy_for
from circuit_guard.recording.score import Asked

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "config" / "policy.toml"
BUNDLED = ROOT / "examples" / "incident.jsonl.gz"
RECORDINGS = ROOT.parent / "shared" / "data" / "recordings"
SMALL = "genuine-2020-03-12"
NAMES = [
    "fault-funding-reset-in-a-crash",
    "fault-funding-swap",
    "fault-mark-zero",
    "fault-post-only-skew",
    "fault-restart-funding-reset",
    "fault-two-writers",
    "fault-venue-wick",
    "genuine-2021-05-19",
    "genuine-2022-05-11",
    "genuine-2024-08-05",
    "genuine-2025-10-10",
    "genuine-calm-2026-01-07",
]
RESTARTS = 3
DOWN_S = (0, 2, 10)
BACK_WITHIN_NS = 60 * SECOND_NS
"""The stated time: `band.agreement_s`, 30 s, and a few observations of the slowest feed, one in 5 s."""


class Run(Replay):
    """A replay that can restart, and that keeps what it answered."""

    def __init__(self, policy: Policy, start_ns: int) -> None:
        super().__init__(policy, policy.markets, start_ns, RETRY_FOR_S)
        self.answers: dict[str, tuple[int, str, Verdict]] = {}

    def restart(self, at_ns: int) -> None:
        """Go through the journal's form of the state, as a restart does."""
        self._pass_time(at_ns)
        self._state = decode_as(GuardState, encode(self._state))
        self.score.add_facts(step(self._state, Restarted(at_ns), self._policy))

    def miss(self, entry: Entry) -> None:
        """Let an entry happen while the guard is down: an engine knows what was published all the same."""
        if isinstance(entry, Observation):
            self._marks |= {entry.market: entry.mark_price} if entry.mark_price is not None else {}
            self._funding_indices |= {entry.market: entry.funding_index} if entry.funding_index is not None else {}

    def sound(self) -> set[str]:
        """Return the markets that are warm, in OPEN, with nothing held against them."""
        return {name for name, market in self._state.markets.items() if is_sound(market)}

    def agreeing(self) -> set[str]:
        """Return the sound markets whose latest mark price is next to their references."""
        return {name for name in self.sound() if self._state.markets[name].agreeing is not None}

    def _follow_up(self, asked: Asked, at_ns: int, made: DecisionMade) -> None:
        decision = made.decision
        self.answers[decision.request_id] = (at_ns, decision.market, decision.verdict)
        super()._follow_up(asked, at_ns, made)


class Comeback:
    """One restart, and when each market was back.

    A market is back in the stated time if its mark price stays next to its references all the while. Where it does not,
    as in a crash, no evidence holds: such a market, or one that is at fault or not OPEN meanwhile, is `disturbed`.
    """

    def __init__(self, at_ns: int, markets: Iterable[str], sound: set[str]) -> None:
        self.at_ns = at_ns
        self.disturbed = set(markets) - sound
        self.back_ns: dict[str, int] = {}
        self._awaited = set(markets)

    def look(self, at_ns: int, uninterrupted: Run, restarted: Run) -> None:
        """Take note of who is back. Raise AssertionError where one that nothing disturbed is not, in time."""
        sound = restarted.sound()
        self.disturbed |= self._awaited - uninterrupted.agreeing()
        self.back_ns |= dict.fromkeys(self._awaited & sound, at_ns)
        self._awaited -= sound
        late = self._awaited - self.disturbed if at_ns - self.at_ns > BACK_WITHIN_NS else set()
        assert not late, f"not back in time: {sorted(late)}"

    def excuses(self, at_ns: int, market: str) -> bool:
        """Return whether this restart may still be why a closure is denied."""
        not_back = market in self.disturbed and at_ns <= self.back_ns.get(market, at_ns)
        return at_ns >= self.at_ns and (not_back or at_ns <= self.at_ns + BACK_WITHIN_NS)

    def __str__(self) -> str:
        took_s = {market: (at_ns - self.at_ns) // SECOND_NS for market, at_ns in self.back_ns.items()}
        calm = [took_s[market] for market in took_s.keys() - self.disturbed]
        disturbed = sorted(took_s[market] for market in took_s.keys() & self.disturbed)
        return f"{len(calm)} in {min(calm, default=0)} to {max(calm, default=0)} s, disturbed {disturbed}"


def is_sound(market: MarketState) -> bool:
    """Return whether closures flow in a market by its state alone."""
    breaker_closed, in_open = market.breaker.state is BreakerState.CLOSED, market.phase.effective() is Phase.OPEN
    return market.warm and in_open and breaker_closed and not market.rejections


def instants(path: Path, random: Random) -> list[tuple[int, int]]:
    """Return when the guard goes down and comes back: at random, once during a fault where there is one."""
    entries = list(read_recording(path).entries())
    first_ns, latest_ns = entries[0].at_ns, entries[-1].at_ns - BACK_WITHIN_NS
    faults = [(entry.at_ns, min(entry.until_ns, latest_ns)) for entry in entries if isinstance(entry, Fault)]
    while True:
        downs = sorted(random.randrange(first_ns, latest_ns) for _ in range(RESTARTS))
        spans = [(down_ns, down_ns + random.choice(DOWN_S) * SECOND_NS) for down_ns in downs]
        apart = all(other[0] - one[1] > BACK_WITHIN_NS for one, other in pairwise(spans))
        during = any(fault[0] <= span[0] <= fault[1] for fault in faults for span in spans)
        if apart and (during or not faults):
            return spans


def played(path: Path, spans: list[tuple[int, int]]) -> tuple[Run, Run, list[Comeback]]:
    """Play a recording twice side by side: never restarted, and down in these spans."""
    recording = read_recording(path)
    policy = policy_for(recording.header, read_policy_file(POLICY))
    due, comebacks, runs = iter(spans), [], None
    span = next(due, None)
    for entry in recording.entries():
        uninterrupted, restarted = runs = runs or (Run(policy, entry.at_ns), Run(policy, entry.at_ns))
        uninterrupted.take(entry)
        if span is not None and entry.at_ns > span[1]:
            restarted.restart(span[1])
            comebacks.append(Comeback(span[1], policy.markets, uninterrupted.sound()))
            span = next(due, None)
        down = span is not None and entry.at_ns >= span[0] and not isinstance(entry, PhaseCommand)
        restarted.miss(entry) if down else restarted.take(entry)
        if comebacks and not down:
            comebacks[-1].look(entry.at_ns, uninterrupted, restarted)
    assert runs is not None
    return *runs, comebacks


def wrongly_denied(uninterrupted: Run, restarted: Run, comebacks: list[Comeback]) -> Iterator[str]:
    """Return the checks that are allowed without the restarts, and denied although every market should be back."""
    for request_id, (at_ns, market, verdict) in restarted.answers.items():
        before = uninterrupted.answers.get(request_id)
        if before is None or before[2] is verdict or verdict is Verdict.ALLOW:
            continue
        if not any(comeback.excuses(at_ns, market) for comeback in comebacks):
            yield f"{request_id} in {market}"


def held(path: Path) -> list[Comeback]:
    """Hold a recording against the promises, and return how the restarts went."""
    spans = instants(path, Random(path.name))  # noqa: S311  # any instant will do
    uninterrupted, restarted, comebacks = played(path, spans)
    before, after = uninterrupted.finish(), restarted.finish()
    for result in (before, after):
        assert set(result.wrongful) <= {"deny"}, result.examples
    assert list(wrongly_denied(uninterrupted, restarted, comebacks)) == []
    assert {trip.scope for trip in after.trips} <= {trip.scope for trip in before.trips}
    assert len(comebacks) == RESTARTS
    print(path.name, *comebacks, sep="; ")  # noqa: T201  # the measured times, for `pytest -s`
    return comebacks


def test_incident_when_the_guard_restarts_in_it_then_nothing_wrongful_passes_and_genuine_closures_flow_again() -> None:
    assert any(comeback.back_ns for comeback in held(BUNDLED))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES)])
def test_recording_when_the_guard_restarts_in_it_then_nothing_wrongful_passes_and_genuine_closures_flow_again(
    name: str,
) -> None:
    path = RECORDINGS / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    assert any(comeback.back_ns for comeback in held(path))

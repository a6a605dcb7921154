"""How the contract's values read for a person: enumerations, times, durations, who lifts a denial."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from circuit_guard.core.types import show
from circuit_guard.v1 import liquidation_pb2, status_pb2, types_pb2

LIFTED_BY = {
    types_pb2.LIFTED_BY_FRESH_DATA: "the next good data",
    types_pb2.LIFTED_BY_EVIDENCE: "good data that last",
    types_pb2.LIFTED_BY_EXCHANGE: "the exchange, by entering another phase",
    types_pb2.LIFTED_BY_CALLER: "the caller, by asking another question",
    types_pb2.LIFTED_BY_OPERATOR: "an operator",
}
SCOPES_SHOWN_MAX = 6
_BREAKERS = {
    types_pb2.BREAKER_STATE_CLOSED: "CLOSED",
    types_pb2.BREAKER_STATE_OPEN: "OPEN (denying)",
    types_pb2.BREAKER_STATE_HALF_OPEN: "HALF_OPEN (at a rising rate)",
}


def phase(value: types_pb2.Phase) -> str:
    """Return a phase, such as `POST_ONLY`."""
    return types_pb2.Phase.Name(value).removeprefix("PHASE_")


def outcome_name(value: types_pb2.Outcome) -> str:
    """Return the name of an outcome of a validation, such as `funding_jump`."""
    return types_pb2.Outcome.Name(value).removeprefix("OUTCOME_").lower()


def outcome(found: types_pb2.MarketOutcome) -> str:
    """Return what was found of one market: `BTC-USD-PERP funding_jump: the sentence`."""
    return f"{found.market} {outcome_name(found.outcome)}: {found.sentence}"


def markets(count: int) -> str:
    """Return a number of markets."""
    return f"{count} market{'' if count == 1 else 's'}"


def scopes(named: Sequence[str]) -> str:
    """Return the first few of some scopes, and how many more there are."""
    more = len(named) - SCOPES_SHOWN_MAX
    return ", ".join(named[:SCOPES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def verdict(value: types_pb2.Verdict) -> str:
    """Return a verdict: `ALLOW` or `DENY`."""
    return types_pb2.Verdict.Name(value).removeprefix("VERDICT_")


def kind(value: liquidation_pb2.CheckKind) -> str:
    """Return the kind of a closure, such as `LIQUIDATION`."""
    return liquidation_pb2.CheckKind.Name(value).removeprefix("CHECK_KIND_")


def explanation(value: liquidation_pb2.Explanation) -> str:
    """Return what trusted values say of a loss, such as `UNEXPLAINED`."""
    return liquidation_pb2.Explanation.Name(value).removeprefix("EXPLANATION_")


def explained_loss(loss: liquidation_pb2.ExplainedLoss) -> str:
    """Return what trusted values say of an account: whether it is under water, and by how much at either end."""
    what, everywhere = explanation(loss.verdict), "at every value that can honestly be"
    if loss.verdict == liquidation_pb2.EXPLANATION_EXPLAINED:
        return f"{what}: under water by at least {_size(loss.high)} {everywhere}, at worst by {_size(loss.low)}"
    if loss.verdict == liquidation_pb2.EXPLANATION_UNEXPLAINED:
        return f"{what}: healthy by at least {_size(loss.low)} {everywhere}, at best by {_size(loss.high)}"
    if loss.verdict == liquidation_pb2.EXPLANATION_INDETERMINATE:
        under, over = _size(loss.low), _size(loss.high)
        return f"{what}: under water by {under} at the worst values that can honestly be, healthy by {over} at the best"
    return f"{what}: nothing can be said, as nothing is trusted of {scopes(loss.unknown_markets)}"


def _size(bound: str) -> str:
    """Return the size of a bound of the surplus; its sign is in the words."""
    return show(abs(Decimal(bound)))


def breaker_state(state: types_pb2.BreakerState, *, latched: bool = False) -> str:
    """Return a breaker's state with what it does: markets use the words OPEN and CLOSED the other way round."""
    return f"breaker {_BREAKERS[state]}{', latched' if latched else ''}"


def breaker(status: status_pb2.BreakerStatus) -> str:
    """Return a breaker as it stands."""
    return breaker_state(status.state, latched=status.latched)


def lifted_by(value: types_pb2.LiftedBy) -> str:
    """Return who or what ends a denial."""
    return LIFTED_BY.get(value, "nobody: nothing is denied")


def ask_again(after: Duration | None) -> str:
    """Return when asking again can help; None: not before somebody has acted."""
    return "not before somebody has acted" if after is None else f"in {seconds(after):g} s"


def seconds(duration: Duration) -> float:
    """Return a protobuf duration in seconds."""
    return duration.seconds + duration.nanos / 1e9


def time(stamp: Timestamp) -> str:
    """Return an instant in UTC to the second: `2026-01-19 04:33:00Z`."""
    return f"{stamp.ToDatetime():%Y-%m-%d %H:%M:%S}Z"


def clock_time(stamp: Timestamp) -> str:
    """Return the time of day of an instant in UTC to the millisecond."""
    return f"{stamp.ToDatetime():%H:%M:%S.%f}"[:-3]


def between(since: Timestamp, at: Timestamp) -> str:
    """Return the time from one instant to another in its two largest units: `1 min 40 s`."""
    return lasting(at.ToDatetime() - since.ToDatetime())


def lasting(duration: timedelta) -> str:
    """Return a duration in its two largest units."""
    total_s = max(int(duration.total_seconds()), 0)
    parts = [(total_s // 86_400, "d"), (total_s // 3600 % 24, "h"), (total_s // 60 % 60, "min"), (total_s % 60, "s")]
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount or unit == "s")

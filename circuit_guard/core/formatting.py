"""How values read for people: decimals, instants, durations, counts, scopes, breakers, losses, endings of a denial."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from circuit_guard.core.types import SECOND_NS, BreakerState, ExplainedLoss, Explanation, Lift, show

SCOPES_SHOWN_MAX = 6

LIFTED_BY = {
    Lift.FRESH_DATA: "the next good data",
    Lift.EVIDENCE: "good data that last",
    Lift.EXCHANGE: "the exchange, by entering another phase",
    Lift.CALLER: "the caller, by asking with other values",
    Lift.OPERATOR: "an operator",
}
"""Who or what ends a denial."""

ENDINGS = {
    Lift.FRESH_DATA: "The next good data will end this",
    Lift.EVIDENCE: "Good data must last for a while",
    Lift.EXCHANGE: "The exchange must enter another phase",
    Lift.CALLER: "The caller must ask with other values",
    Lift.OPERATOR: "An operator must act",
}
"""What has to happen before a denial ends, as a sentence."""

_BREAKERS = {
    BreakerState.CLOSED: "CLOSED",
    BreakerState.OPEN: "OPEN (denying)",
    BreakerState.HALF_OPEN: "HALF_OPEN (at a rising rate)",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant(at_ns: int) -> str:
    """Return an instant in UTC to the second: `2026-01-19 04:33:00Z`."""
    return f"{_moment(at_ns):%Y-%m-%d %H:%M:%S}Z"


def instant_ms(at_ns: int) -> str:
    """Return an instant in UTC to the millisecond: `2026-01-19 04:33:00.250Z`."""
    return f"{_moment(at_ns):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"


def time_of_day(at_ns: int) -> str:
    """Return the time of day in UTC to the second: `04:33:00`."""
    return f"{_moment(at_ns):%H:%M:%S}"


def time_of_day_ms(at_ns: int) -> str:
    """Return the time of day in UTC to the millisecond: `04:33:00.250`."""
    return f"{_moment(at_ns):%H:%M:%S.%f}"[:-3]


def rfc3339(at_ns: int) -> str:
    """Return an instant as RFC 3339 in UTC, to the microsecond."""
    return _moment(at_ns).isoformat()


def format_time(at_ns: int) -> str:
    """Return an instant as RFC 3339 in UTC, with as many decimals as it needs: `2026-01-19T04:33:00.25Z`."""
    second, fraction_ns = divmod(at_ns, SECOND_NS)
    decimals = f"{fraction_ns:09d}".rstrip("0")
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}{'.' if decimals else ''}{decimals}Z"


def lasting(duration_ns: int) -> str:
    """Return a duration in its two largest units: `1 min 40 s`."""
    total_s = max(duration_ns // SECOND_NS, 0)
    parts = [(total_s // 86_400, "d"), (total_s // 3600 % 24, "h"), (total_s // 60 % 60, "min"), (total_s % 60, "s")]
    first = next((index for index, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2] if amount or unit == "s")


def counted(count: int, noun: str) -> str:
    """Return a number of things: `1 market`, `1,200 markets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def markets(count: int) -> str:
    """Return a number of markets."""
    return counted(count, "market")


def scopes(named: Sequence[str]) -> str:
    """Return the first few of some scopes, and how many more there are."""
    more = len(named) - SCOPES_SHOWN_MAX
    return ", ".join(named[:SCOPES_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def breaker(state: BreakerState, *, latched: bool = False) -> str:
    """Return a breaker's state with what it does: markets use the words OPEN and CLOSED the other way round."""
    return f"{_BREAKERS[state]}{', latched' if latched else ''}"


def explained_loss(loss: ExplainedLoss) -> str:
    """Return whether an account is under water at trusted values, and by how much at either end."""
    if loss.low is None or loss.high is None:
        why = f"no value of {scopes(loss.unknown)} is trusted" if loss.unknown else "a value is no finite number"
        return f"{loss.verdict}: {why}, so nothing can be said"
    low, high = show(abs(loss.low)), show(abs(loss.high))
    if loss.verdict is Explanation.EXPLAINED:
        return f"{loss.verdict}: under water at every admissible value, by at least {high} and at most {low}"
    if loss.verdict is Explanation.UNEXPLAINED:
        return f"{loss.verdict}: healthy at every admissible value, by at least {low} and at most {high}"
    unknown = f"; no value of {scopes(loss.unknown)} is trusted" if loss.unknown else ""
    return (
        f"{loss.verdict}: under water by {low} at the worst admissible values, healthy by {high} at the best{unknown}"
    )


def ask_again(wait_ns: int | None) -> str:
    """Return when asking again can help. None: somebody has to act first."""
    return "retrying will not help" if wait_ns is None else f"ask again in {wait_ns / SECOND_NS:g} s"


def ending(lift: Lift, wait_ns: int | None, act: str = "act") -> str:
    """Return how a denial ends: `An operator must act; retrying will not help.` `act`: what an operator has to do."""
    what = f"An operator must {act}" if lift is Lift.OPERATOR else ENDINGS[lift]
    return f"{what}; {ask_again(wait_ns)}."


def rounded(value: Decimal | None, like: Decimal | None) -> str:
    """Return a computed price with the decimals of a published one, which are all anybody reads; empty for None."""
    if value is None:
        return ""
    exponent = like.as_tuple().exponent if like is not None else None
    return show(round(value, max(-exponent, 0) if isinstance(exponent, int) else 8))


def _moment(at_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_ns // 1000)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Return a text for a CSV file that a spreadsheet does not run as a formula: with an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_cell(text: str) -> str:
    """Return the text that `cell` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text

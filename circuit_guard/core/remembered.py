"""What is remembered of checks, bounded by bytes: answers by request_id, and accounts that are to be looked at again.

A state is kept in memory and in every checkpoint, and a restart reads it whole. So its size must not depend on how
long the names are that callers give.
"""

from __future__ import annotations

from operator import itemgetter

from circuit_guard.core.evidence import key_of
from circuit_guard.core.inputs import Account, Check
from circuit_guard.core.market import MarketState
from circuit_guard.core.state import GuardState
from circuit_guard.core.types import Decision

ANSWERS_MAX = 65_536
"""More answers are never remembered, whatever a policy says."""
ANSWERS_BYTES_MAX = 64 * 1024 * 1024
"""What those that all rules gave may take in a checkpoint: of usual ones there is room for some 50,000."""
UNCONFIRMED_MAX = 1_000
"""Accounts of one market that are kept to be looked at again."""
UNCONFIRMED_BYTES_MAX = 32 * 1024 * 1024
"""What these accounts may take, over all markets: some 40,000 positions."""
_ANSWER_BYTES = 700
_FINDING_BYTES = 150
_ACCOUNT_BYTES = 200
_HOLDING_BYTES = 700
_ESCAPED = 12
"""A character that is not ASCII takes up to so many bytes in a checkpoint."""


def text_bytes(text: str) -> int:
    """Return how many bytes a text takes in a checkpoint, at most."""
    return len(text) if text.isascii() else len(text) * _ESCAPED


def answer_bytes(decision: Decision) -> int:
    """Return about how many bytes an answer takes in a checkpoint: its request and account stand there twice."""
    names = decision.request_id + decision.account_id + decision.market
    size = _ANSWER_BYTES + 2 * (len(names) if names.isascii() else len(names) * _ESCAPED)
    for finding in decision.findings:
        size += _FINDING_BYTES + text_bytes(finding.observed) + text_bytes(finding.limit)
    if decision.explained is not None and decision.explained.unknown:
        size += sum(map(text_bytes, decision.explained.unknown))
    return size


def account_bytes(account: Account) -> int:
    """Return about how many bytes an account takes in memory, and at most in a checkpoint."""
    size = _ACCOUNT_BYTES + _HOLDING_BYTES * (len(account.positions) + len(account.assets))
    size += sum(text_bytes(held.market) for held in account.positions)
    return size + sum(text_bytes(asset.market) for asset in account.assets)


def remember(state: GuardState, check: Check, decision: Decision, most: int) -> None:
    """Remember an answer for whoever asks the same again, and forget the oldest beyond `most` or beyond the bytes."""
    size = _answers_bytes(state) + answer_bytes(decision)
    state.remembered[check.request_id] = (check.content(), decision)
    _shorten(state, size, most)


def forget(state: GuardState, request_id: str) -> None:
    """Forget the answer to a request, whoever gave it."""
    state.allowed.pop(request_id, None)
    if request_id in state.remembered:
        size = _answers_bytes(state)
        _, decision = state.remembered.pop(request_id)
        state.remembered_bytes = size - answer_bytes(decision)


def shorten(state: GuardState, most: int) -> None:
    """Forget the oldest answers beyond `most`, and beyond the bytes that they may take."""
    _shorten(state, _answers_bytes(state), most)


def _shorten(state: GuardState, size: int, most: int) -> None:
    remembered, allowed = state.remembered, state.allowed
    while (long := size > ANSWERS_BYTES_MAX) or len(remembered) + len(allowed) > most:
        if not long and allowed and _permitted_first(state):
            allowed.popitem(last=False)
        else:
            _, (_, oldest) = remembered.popitem(last=False)
            size -= answer_bytes(oldest)
    state.remembered_bytes = size


def _permitted_first(state: GuardState) -> bool:
    """Return whether the oldest answer is one that a permit gave."""
    judged = next(iter(state.remembered.values()), None)
    return judged is None or next(iter(state.allowed.values())).at_ns < judged[1].at_ns


def keep(state: GuardState, market: MarketState, account_id: str, at_ns: int, account: Account) -> None:
    """Keep an account to be looked at again. Beyond the bounds those kept longest go first, of whatever market."""
    key = key_of(account_id)
    if key in market.unconfirmed:
        return
    state.unconfirmed_bytes = _accounts_bytes(state) + account_bytes(account)
    market.unconfirmed[key] = (at_ns, account)
    if len(market.unconfirmed) > UNCONFIRMED_MAX:
        drop(state, market, next(iter(market.unconfirmed)))
    if state.unconfirmed_bytes > UNCONFIRMED_BYTES_MAX:
        _make_room(state)


def drop(state: GuardState, market: MarketState, account_id: str) -> None:
    """Look at an account no more."""
    key = key_of(account_id)
    if key in market.unconfirmed:
        size = _accounts_bytes(state)
        _, account = market.unconfirmed.pop(key)
        state.unconfirmed_bytes = size - account_bytes(account)


def _make_room(state: GuardState) -> None:
    """Drop the oldest accounts of all markets, more than is needed now: ordering them takes a while."""
    markets = state.markets.items()
    kept = [(at_ns, name, one) for name, market in markets for one, (at_ns, _) in market.unconfirmed.items()]
    for _, name, account_id in sorted(kept, key=itemgetter(0)):
        if _accounts_bytes(state) <= UNCONFIRMED_BYTES_MAX * 7 // 8:
            return
        drop(state, state.markets[name], account_id)


def _answers_bytes(state: GuardState) -> int:
    if state.remembered_bytes is None:
        state.remembered_bytes = sum(answer_bytes(decision) for _, decision in state.remembered.values())
    return state.remembered_bytes


def _accounts_bytes(state: GuardState) -> int:
    if state.unconfirmed_bytes is None:
        kept = (account for market in state.markets.values() for _, account in market.unconfirmed.values())
        state.unconfirmed_bytes = sum(map(account_bytes, kept))
    return state.unconfirmed_bytes

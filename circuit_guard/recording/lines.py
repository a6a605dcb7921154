"""One line of a recording, read strictly: known fields only, decimals as strings, time never back."""

from __future__ import annotations

from collections import Counter

from circuit_guard.core.inputs import Basis, Check, Observation, PhaseCommand, Reference
from circuit_guard.core.types import CheckKind, Phase
from circuit_guard.recording import fields
from circuit_guard.recording.accounts import read_account
from circuit_guard.recording.entries import Entry, Fault, Label, LabelledCheck
from circuit_guard.recording.fields import FieldError, JsonObject
from circuit_guard.recording.json_line import decode

_OBSERVATION_VALUES = ("mark_price", "index_price", "funding_index", "funding_rate", "funding_premium")
_OBSERVATION_KEYS = frozenset({"market", "source", "epoch", "feed_sequence", "event_time", *_OBSERVATION_VALUES})
_REFERENCE_KEYS = frozenset({"market", "source", "event_time", "price"})
_PHASE_KEYS = frozenset({"phase", "markets"})
_CHECK_KEYS = frozenset({"request_id", "account_id", "market", "size", "kind", "execution_price", "basis", "account"})
_BASIS_KEYS = frozenset({"mark_price", "funding_index"})
_FAULT_KEYS = frozenset({"kind", "markets", "until"})

_COMMANDED = tuple(phase for phase in Phase if phase is not Phase.RECOVERING)


class EntryParser:
    """Turns the lines after the header into entries. It remembers what one line promises about the next."""

    def __init__(self) -> None:
        self._last_at_ns = 0
        self._counted: bool | None = None
        """Whether this recording's observations lack epoch and feed_sequence, so that they are counted here."""
        self._counts: Counter[tuple[str, str]] = Counter()

    def parse(self, text: str) -> Entry:
        """Return the entry that a line spells. Raises FieldError."""
        line = decode(text)
        at_ns = fields.required_time_ns(line, "at", "")
        if at_ns < self._last_at_ns:
            fields.refuse(line, "at", "", f"not before the line above it, {fields.format_time(self._last_at_ns)}")
        self._last_at_ns = at_ns
        if len(line) == 2 and "observation" in line:
            return self._observation(at_ns, fields.required_object(line, "observation", ""))
        if len(line) == 2 and "reference" in line:
            return _reference(at_ns, fields.required_object(line, "reference", ""))
        return _rare_entry(at_ns, line)

    def _observation(self, at_ns: int, body: JsonObject) -> Observation:
        fields.refuse_unknown(body, _OBSERVATION_KEYS, "observation")
        market = fields.required_name(body, "market", "observation")
        source = fields.required_name(body, "source", "observation")
        epoch, feed_sequence = self._identity(body, market, source)
        event_time_ns = fields.required_time_ns(body, "event_time", "observation")
        values = [fields.optional_decimal(body, key, "observation") for key in _OBSERVATION_VALUES]
        return Observation(at_ns, market, source, epoch, feed_sequence, event_time_ns, *values)

    def _identity(self, body: JsonObject, market: str, source: str) -> tuple[int, int]:
        """Return epoch and feed sequence. A feed without any is counted, if the whole recording is like that."""
        if self._counted is None:
            self._counted = "epoch" not in body and "feed_sequence" not in body
        if not self._counted:
            epoch = fields.required_integer(body, "epoch", "observation")
            return epoch, fields.required_integer(body, "feed_sequence", "observation")
        for key in ("epoch", "feed_sequence"):
            if key in body:
                fields.refuse(body, key, "observation", "none, as the first observation of this recording has none")
        self._counts[market, source] += 1
        return 1, self._counts[market, source]


def _reference(at_ns: int, body: JsonObject) -> Reference:
    fields.refuse_unknown(body, _REFERENCE_KEYS, "reference")
    return Reference(
        at_ns,
        fields.required_name(body, "market", "reference"),
        fields.required_name(body, "source", "reference"),
        fields.required_time_ns(body, "event_time", "reference"),
        fields.required_decimal(body, "price", "reference"),
    )


def _rare_entry(at_ns: int, line: JsonObject) -> Entry:
    """Return what a line holds that is not market data, or refuse it."""
    kinds = [kind for kind in _ENTRY_KEYS if kind in line]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise FieldError(f"holds {found} of {', '.join(_ENTRY_KEYS)}, expected exactly one")
    kind = kinds[0]
    fields.refuse_unknown(line, _ENTRY_KEYS[kind], "")
    body = fields.required_object(line, kind, "")
    if kind == "phase":
        return _phase(at_ns, body)
    if kind == "fault":
        return _fault(at_ns, body)
    return LabelledCheck(_check(at_ns, body), _label(line), fields.optional_decimal(line, "loss", ""))


_ENTRY_KEYS = {
    "observation": frozenset({"at", "observation"}),
    "reference": frozenset({"at", "reference"}),
    "phase": frozenset({"at", "phase"}),
    "check": frozenset({"at", "check", "label", "loss"}),
    "fault": frozenset({"at", "fault"}),
}


def _phase(at_ns: int, body: JsonObject) -> PhaseCommand:
    fields.refuse_unknown(body, _PHASE_KEYS, "phase")
    phase = Phase(fields.required_word(body, "phase", "phase", _COMMANDED))
    markets = fields.required_names(body, "markets", "phase") if "markets" in body else ()
    return PhaseCommand(at_ns, phase, markets)


def _fault(at_ns: int, body: JsonObject) -> Fault:
    fields.refuse_unknown(body, _FAULT_KEYS, "fault")
    until_ns = fields.required_time_ns(body, "until", "fault")
    if until_ns < at_ns:
        fields.refuse(body, "until", "fault", f"not before the fault's own time, {fields.format_time(at_ns)}")
    markets = fields.required_names(body, "markets", "fault")
    return Fault(at_ns, fields.required_name(body, "kind", "fault"), markets, until_ns)


def _label(line: JsonObject) -> Label | None:
    return Label(fields.required_word(line, "label", "", tuple(Label))) if "label" in line else None


def _check(at_ns: int, body: JsonObject) -> Check:
    fields.refuse_unknown(body, _CHECK_KEYS, "check")
    return Check(
        at_ns,
        fields.required_name(body, "request_id", "check"),
        fields.required_name(body, "account_id", "check"),
        fields.required_name(body, "market", "check"),
        fields.required_size(body, "size", "check"),
        _kind(body),
        fields.optional_decimal(body, "execution_price", "check"),
        _basis(fields.required_object(body, "basis", "check")) if "basis" in body else Basis(),
        read_account(fields.required_object(body, "account", "check"), "check.account") if "account" in body else None,
    )


def _kind(body: JsonObject) -> CheckKind:
    if "kind" not in body:
        return CheckKind.LIQUIDATION
    return CheckKind(fields.required_word(body, "kind", "check", tuple(CheckKind)))


def _basis(body: JsonObject) -> Basis:
    fields.refuse_unknown(body, _BASIS_KEYS, "check.basis")
    mark_price = fields.optional_decimal(body, "mark_price", "check.basis")
    return Basis(mark_price, fields.optional_decimal(body, "funding_index", "check.basis"))

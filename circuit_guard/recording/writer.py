"""Writing a recording: exactly what the reader reads, the same bytes for the same entries."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from circuit_guard.core.formatting import format_time
from circuit_guard.core.inputs import Basis, Check, Observation, PhaseCommand, Reference
from circuit_guard.core.types import CheckKind
from circuit_guard.errors import RecordingError
from circuit_guard.recording.format import (
    RECORDING_VERSION,
    Entry,
    EntryParser,
    Fault,
    FieldError,
    Header,
    JsonObject,
    LabelledCheck,
    account_object,
    parse_header,
)

_GZIP_LEVEL = 9


def write_recording(path: Path, header: Header, entries: Iterable[Entry]) -> int:
    """Write a recording, gzipped where the name ends in .gz, and return how many entries it has.

    Every line is held against the reader before it is written. Raises RecordingError for the first that the reader
    would refuse, and where the file cannot be written; whatever was at `path` is then still there.
    """
    parser = EntryParser()
    number = 1
    try:
        with _sink(path) as file:
            file.write(_checked(header_line(header), parse_header))
            for entry in entries:
                number += 1
                file.write(_checked(entry_line(entry), parser.parse))
    except FieldError as error:
        raise RecordingError(str(path), number, str(error)) from None
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be written ({error.strerror}), expected a writable file") from None
    return number - 1


@contextmanager
def _sink(path: Path) -> Iterator[gzip.GzipFile | BufferedWriter]:
    """Give a file to write to, which takes its name only once all has been written."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _checked(line: JsonObject, read: Callable[[str], object]) -> bytes:
    text = json.dumps(line, separators=(",", ":"))
    read(text)
    return text.encode() + b"\n"


def header_line(header: Header) -> JsonObject:
    """Return the first line."""
    markets = {name: _given(max_funding_rate=rate) for name, rate in header.markets.items()}
    return {
        "circuit_guard_recording": RECORDING_VERSION,
        "description": header.description,
        **_given(funding_period_s=header.funding_period_s, funding_gap_mode=header.funding_gap_mode),
        "markets": markets,
    }


def entry_line(entry: Entry) -> JsonObject:
    """Return one line. Raises FieldError for a phase command that says more than a recording can."""
    match entry:
        case Observation():
            return {"at": format_time(entry.at_ns), "observation": _observation(entry)}
        case Reference():
            return {"at": format_time(entry.at_ns), "reference": _reference(entry)}
        case PhaseCommand():
            return {"at": format_time(entry.at_ns), "phase": _phase(entry)}
        case Fault():
            return {"at": format_time(entry.at_ns), "fault": _fault(entry)}
        case LabelledCheck():
            line: JsonObject = {"at": format_time(entry.check.at_ns), "check": _check(entry.check)}
            return line | _given(label=entry.label, loss=entry.loss)


def _observation(observation: Observation) -> JsonObject:
    return {
        "market": observation.market,
        "source": observation.source,
        "epoch": observation.epoch,
        "feed_sequence": observation.feed_sequence,
        "event_time": format_time(observation.event_time_ns),
        **_given(
            mark_price=observation.mark_price,
            index_price=observation.index_price,
            funding_index=observation.funding_index,
            funding_rate=observation.funding_rate,
            funding_premium=observation.funding_premium,
        ),
    }


def _reference(reference: Reference) -> JsonObject:
    return {
        "market": reference.market,
        "source": reference.source,
        "event_time": format_time(reference.event_time_ns),
        "price": str(reference.price),
    }


def _phase(command: PhaseCommand) -> JsonObject:
    if command.actor or command.reason or command.rollback:
        raise FieldError(f"phase was {command}, expected no actor, reason or rollback: a recording cannot hold them")
    return {"phase": command.phase.value, "markets": list(command.markets)}


def _fault(fault: Fault) -> JsonObject:
    return {"kind": fault.kind, "markets": list(fault.markets), "until": format_time(fault.until_ns)}


def _check(check: Check) -> JsonObject:
    body: JsonObject = {
        "request_id": check.request_id,
        "account_id": check.account_id,
        "market": check.market,
        "size": str(check.size),
        **_given(execution_price=check.execution_price),
    }
    if check.kind is not CheckKind.LIQUIDATION:
        body["kind"] = check.kind.value
    if check.basis != Basis():
        body["basis"] = _given(mark_price=check.basis.mark_price, funding_index=check.basis.funding_index)
    if check.account is not None:
        body["account"] = account_object(check.account)
    return body


def _given(**values: object) -> JsonObject:
    """Return the values that were given: whole numbers as they are, everything else as text."""
    return {key: value if isinstance(value, int) else str(value) for key, value in values.items() if value is not None}

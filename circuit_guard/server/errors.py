"""gRPC errors: google.rpc.Status with ErrorInfo.

Each means that the guard could not decide. None is an answer: a DENY is an OK response.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from circuit_guard.core.facts import CommandRefused
from circuit_guard.engine.engine import EngineFailed, EngineRefuses
from circuit_guard.engine.subscriptions import EventsLost, TooManyWatchers
from circuit_guard.errors import SHOWN_CHARACTERS_MAX, CircuitGuardError, PolicyError, SettingsError, WireError
from circuit_guard.journal.errors import CheckpointGone, JournalError, JournalStalled
from circuit_guard.server.convert.answers import MALFORMED_REQUEST, REQUEST_ID_CONFLICT, cut, reason_of

DOMAIN = "circuit_guard"
DETAILS_KEY = "grpc-status-details-bin"

CODES = {
    MALFORMED_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,  # a field cannot be used
    REQUEST_ID_CONFLICT: grpc.StatusCode.ALREADY_EXISTS,  # known request_id, another content
    "UNKNOWN_MARKET": grpc.StatusCode.NOT_FOUND,
    "UNKNOWN_CHECKPOINT": grpc.StatusCode.NOT_FOUND,
    "COMMAND_REFUSED": grpc.StatusCode.FAILED_PRECONDITION,  # a command changes nothing that it could change
    "POLICY_INVALID": grpc.StatusCode.FAILED_PRECONDITION,
    "SETTINGS_INVALID": grpc.StatusCode.FAILED_PRECONDITION,
    "NO_JOURNAL": grpc.StatusCode.FAILED_PRECONDITION,
    "CHECKPOINT_GONE": grpc.StatusCode.FAILED_PRECONDITION,  # its state is not kept any more
    "CHECKPOINT_UNREADABLE": grpc.StatusCode.DATA_LOSS,
    "TOO_MANY_WATCHERS": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "EVENTS_LOST": grpc.StatusCode.ABORTED,  # a watcher was too slow
    "NOT_AUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "ROLE_MISSING": grpc.StatusCode.PERMISSION_DENIED,
    "SOURCE_NOT_PERMITTED": grpc.StatusCode.PERMISSION_DENIED,  # the source belongs to another publisher
    "RATE_LIMITED": grpc.StatusCode.RESOURCE_EXHAUSTED,  # with RetryInfo
    "OVERLOADED": grpc.StatusCode.RESOURCE_EXHAUSTED,  # too many checks are waiting; with RetryInfo
    "EXPIRED": grpc.StatusCode.DEADLINE_EXCEEDED,  # the caller's deadline has passed
    "ENGINE_FAILED": grpc.StatusCode.UNAVAILABLE,  # the engine has stopped, or could not start
    "JOURNAL_STALLED": grpc.StatusCode.UNAVAILABLE,  # the disk does not write; with RetryInfo
    "INTERNAL": grpc.StatusCode.INTERNAL,  # a defect
}
"""The reason in ErrorInfo, and the code that goes with it."""

MESSAGE_CHARACTERS_MAX = 2_400
"""gRPC clients take 8 KiB of trailing metadata, in which the message stands twice, once in base64."""


class RefusalError(CircuitGuardError):
    """A request has no answer: the stable reason, a key of `CODES`, and the sentence that the client is told.

    `code` in place of the reason's own; `retry_after_s`: when asking again can help.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        code: grpc.StatusCode | None = None,
    ) -> None:
        super().__init__(reason, message)
        self.code = code or CODES[reason]
        self.reason = reason
        self.message = _fit(message, MESSAGE_CHARACTERS_MAX)
        self.metadata = {key: _fit(value, SHOWN_CHARACTERS_MAX) for key, value in (metadata or {}).items()}
        self.retry_after_s = retry_after_s

    def details(self) -> bytes:
        """Return the google.rpc.Status of the trailing metadata."""
        status = Status(code=self.code.value[0], message=self.message)
        status.details.add().Pack(ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata))
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromMicroseconds(int(self.retry_after_s * 1e6))
            status.details.add().Pack(RetryInfo(retry_delay=delay))
        serialized: bytes = status.SerializeToString()
        return serialized


def refusal(error: Exception) -> RefusalError | None:
    """Return what a client is told of an error; None for a defect, of which it is told nothing but that."""
    match error:
        case RefusalError():
            return error
        case WireError():
            return _field_refusal(reason_of(error), error)
        case PolicyError() | SettingsError():
            metadata = {"origin": error.origin, "violations": str(len(error.problems))}
            reason = "POLICY_INVALID" if isinstance(error, PolicyError) else "SETTINGS_INVALID"
            return RefusalError(reason, str(error), metadata)
        case CheckpointGone():
            return RefusalError("CHECKPOINT_GONE", str(error), {"checkpoint_id": str(error.sequence)})
        case JournalStalled():
            message = f"{error}. An answer could not be recorded, so none is given: treat this as a deny"
            return RefusalError("JOURNAL_STALLED", message, retry_after_s=1)
        case JournalError():
            return RefusalError("CHECKPOINT_UNREADABLE", str(error))
        case TooManyWatchers():
            return RefusalError("TOO_MANY_WATCHERS", str(error))
        case EventsLost():
            return RefusalError(
                "EVENTS_LOST", f"{error}; watch again, then read the status", {"count": str(error.count)}
            )
        case EngineFailed():
            refuses = f"{error}. Nothing of before is known, so nothing is answered"
            stopped = refuses if isinstance(error, EngineRefuses) else "the engine has stopped"
            return RefusalError("ENGINE_FAILED", f"{stopped}: treat this as a deny")
        case _:
            return None


def defect() -> RefusalError:
    """Return what a client is told of a defect; the log has the rest."""
    return RefusalError("INTERNAL", "a defect of the guard, see its log: treat this as a deny")


def command_refusal(fact: CommandRefused, field: str = "scopes", *, unknown_market: bool) -> RefusalError:
    """Return the refusal of an operator's command; `field` is where its request names markets."""
    named = field if fact.subject in ("markets", "scopes") else fact.subject
    error = WireError(named, fact.observed, fact.expected)
    message = f"{error}; nothing was changed"
    return _field_refusal("UNKNOWN_MARKET" if unknown_market else "COMMAND_REFUSED", error, message)


def no_journal() -> RefusalError:
    """Return the refusal of a command that needs the journal, where the guard keeps none."""
    expected = "a state directory in the settings: without a journal there is nowhere to keep a checkpoint"
    message = f"journal.directory was not given, expected {expected}; nothing was changed"
    return _field_refusal("NO_JOURNAL", WireError("journal.directory", "", expected), message)


def unknown_checkpoint(checkpoint_id: int) -> RefusalError:
    """Return the refusal of a command that names a checkpoint which the journal does not have."""
    expected = "a checkpoint of the journal: `circuit-guard checkpoint list` shows them"
    message = f"checkpoint_id was {checkpoint_id}, expected {expected}; nothing was changed"
    return _field_refusal("UNKNOWN_CHECKPOINT", WireError("checkpoint_id", str(checkpoint_id), expected), message)


def _field_refusal(reason: str, error: WireError, message: str = "") -> RefusalError:
    metadata = {"field": error.field, "value": error.value, "expected": error.expected}
    return RefusalError(reason, message or str(error), metadata)


def _fit(text: str, characters_max: int) -> str:
    """Return text in ASCII, cut to a length that fits into metadata."""
    return cut(text.encode("ascii", "backslashreplace").decode("ascii"), characters_max)

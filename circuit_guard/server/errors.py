"""gRPC errors: google.rpc.Status with ErrorInfo.

    what                                       code                  ErrorInfo.reason
    a field cannot be used                     INVALID_ARGUMENT      MALFORMED_REQUEST
    known request_id, another content          ALREADY_EXISTS        REQUEST_ID_CONFLICT
    command names an unknown market            NOT_FOUND             UNKNOWN_MARKET
    command names an unknown checkpoint        NOT_FOUND             UNKNOWN_CHECKPOINT
    command changes nothing it could change    FAILED_PRECONDITION   COMMAND_REFUSED
    the policy file is not valid               FAILED_PRECONDITION   POLICY_INVALID
    the guard keeps no journal                 FAILED_PRECONDITION   NO_JOURNAL
    the checkpoint's state is not kept         FAILED_PRECONDITION   CHECKPOINT_GONE
    the checkpoint cannot be read              DATA_LOSS             CHECKPOINT_UNREADABLE
    no room for another watcher                RESOURCE_EXHAUSTED    TOO_MANY_WATCHERS
    the caller is not known                    UNAUTHENTICATED       NOT_AUTHENTICATED
    the caller has not the role for it         PERMISSION_DENIED     ROLE_MISSING
    the source belongs to another publisher    PERMISSION_DENIED     SOURCE_NOT_PERMITTED
    the identity asks for too much a second    RESOURCE_EXHAUSTED    RATE_LIMITED, with RetryInfo
    too many checks wait already               RESOURCE_EXHAUSTED    OVERLOADED, with RetryInfo
    the caller's deadline has passed           DEADLINE_EXCEEDED     EXPIRED
    a watcher was too slow                     ABORTED               EVENTS_LOST
    the engine has stopped, or could not start UNAVAILABLE           ENGINE_FAILED
    anything else, a defect                    INTERNAL              INTERNAL

Each means that the guard could not decide. None is an answer: a DENY is an OK response.
"""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from circuit_guard.core.facts import CheckRefused, CommandRefused
from circuit_guard.engine.engine import EngineFailed, EngineRefuses
from circuit_guard.engine.subscriptions import EventsLost, TooManyWatchers
from circuit_guard.errors import SHOWN_CHARACTERS_MAX, CircuitGuardError, PolicyError, WireError, shown
from circuit_guard.journal.errors import CheckpointGone, JournalError
from circuit_guard.server.convert.answers import MALFORMED_REQUEST, REQUEST_ID_CONFLICT, cut

DOMAIN = "circuit_guard"
DETAILS_KEY = "grpc-status-details-bin"

MESSAGE_CHARACTERS_MAX = 2_400
"""gRPC clients take 8 KiB of trailing metadata, in which the message stands twice, once in base64."""


class RefusalError(CircuitGuardError):
    """A request has no answer: the code, the stable reason and the sentence that the client is told."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.reason = reason
        self.message = _fit(message, MESSAGE_CHARACTERS_MAX)
        self.metadata = {key: _fit(value, SHOWN_CHARACTERS_MAX) for key, value in (metadata or {}).items()}
        self.retry_after_s = retry_after_s

    def details(self) -> bytes:
        """Return the google.rpc.Status of the trailing metadata."""
        info = Any()
        info.Pack(ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=self.metadata))
        details = [info]
        if self.retry_after_s is not None:
            delay = Duration()
            delay.FromMicroseconds(int(self.retry_after_s * 1e6))
            after = Any()
            after.Pack(RetryInfo(retry_delay=delay))
            details.append(after)
        status = Status(code=self.code.value[0], message=self.message, details=details)
        serialized: bytes = status.SerializeToString()
        return serialized


def refusal(error: Exception) -> RefusalError | None:
    """Return what a client is told of an error; None for a defect, of which it is told nothing but that."""
    match error:
        case RefusalError():
            return error
        case WireError():
            metadata = {"field": error.field, "value": error.value, "expected": error.expected}
            return RefusalError(grpc.StatusCode.INVALID_ARGUMENT, MALFORMED_REQUEST, str(error), metadata)
        case PolicyError():
            metadata = {"origin": error.origin, "violations": str(len(error.problems))}
            return RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "POLICY_INVALID", str(error), metadata)
        case CheckpointGone():
            metadata = {"checkpoint_id": str(error.sequence)}
            return RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "CHECKPOINT_GONE", str(error), metadata)
        case JournalError():
            return RefusalError(grpc.StatusCode.DATA_LOSS, "CHECKPOINT_UNREADABLE", str(error))
        case TooManyWatchers():
            return RefusalError(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHERS", str(error))
        case EventsLost():
            message = f"{error}; watch again, then read the status"
            return RefusalError(grpc.StatusCode.ABORTED, "EVENTS_LOST", message, {"count": str(error.count)})
        case EngineRefuses():
            message = f"{error}. Nothing of before is known, so nothing is answered: treat this as a deny"
            return RefusalError(grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED", message)
        case EngineFailed():
            return RefusalError(
                grpc.StatusCode.UNAVAILABLE, "ENGINE_FAILED", "the engine has stopped: treat this as a deny"
            )
        case _:
            return None


def defect() -> RefusalError:
    """Return what a client is told of a defect; the log has the rest."""
    return RefusalError(
        grpc.StatusCode.INTERNAL, "INTERNAL", "a defect of the guard, see its log: treat this as a deny"
    )


def conflict(fact: CheckRefused, path: str) -> WireError:
    """Return the error for a check whose request_id is known with another content."""
    expected = f"a new request_id, or the content first sent with it; it differs in {fact.differing}"
    return WireError(f"{path}.request_id", fact.request_id, expected)


def conflict_refusal(error: WireError) -> RefusalError:
    """Return the refusal of a single check for what `conflict` describes."""
    metadata = {"field": error.field, "value": error.value, "expected": error.expected}
    return RefusalError(grpc.StatusCode.ALREADY_EXISTS, REQUEST_ID_CONFLICT, str(error), metadata)


def command_refusal(fact: CommandRefused, field: str = "scopes", *, unknown_market: bool) -> RefusalError:
    """Return the refusal of an operator's command; `field` is where its request names markets."""
    code = grpc.StatusCode.NOT_FOUND if unknown_market else grpc.StatusCode.FAILED_PRECONDITION
    reason = "UNKNOWN_MARKET" if unknown_market else "COMMAND_REFUSED"
    named = field if fact.subject in ("markets", "scopes") else fact.subject
    message = f"{named} was {shown(fact.observed)}, expected {fact.expected}; nothing was changed"
    return RefusalError(code, reason, message, {"field": named, "value": fact.observed, "expected": fact.expected})


def no_journal() -> RefusalError:
    """Return the refusal of a command that needs the journal, where the guard keeps none."""
    expected = "a state directory in the settings: without a journal there is nowhere to keep a checkpoint"
    message = f"journal.directory was not given, expected {expected}; nothing was changed"
    metadata = {"field": "journal.directory", "value": "", "expected": expected}
    return RefusalError(grpc.StatusCode.FAILED_PRECONDITION, "NO_JOURNAL", message, metadata)


def unknown_checkpoint(checkpoint_id: int) -> RefusalError:
    """Return the refusal of a command that names a checkpoint which the journal does not have."""
    expected = "a checkpoint of the journal: `circuit-guard checkpoint list` shows them"
    message = f"checkpoint_id was {checkpoint_id}, expected {expected}; nothing was changed"
    metadata = {"field": "checkpoint_id", "value": str(checkpoint_id), "expected": expected}
    return RefusalError(grpc.StatusCode.NOT_FOUND, "UNKNOWN_CHECKPOINT", message, metadata)


def _fit(text: str, characters_max: int) -> str:
    """Return text in ASCII, cut to a length that fits into metadata."""
    return cut(text.encode("ascii", "backslashreplace").decode("ascii"), characters_max)

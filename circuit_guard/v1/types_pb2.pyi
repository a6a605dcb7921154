import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_ALLOW: _ClassVar[Verdict]
    VERDICT_DENY: _ClassVar[Verdict]

class Severity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SEVERITY_UNSPECIFIED: _ClassVar[Severity]
    SEVERITY_WARN: _ClassVar[Severity]
    SEVERITY_DENY: _ClassVar[Severity]
    SEVERITY_TRIP: _ClassVar[Severity]
    SEVERITY_LATCH: _ClassVar[Severity]

class LiftedBy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LIFTED_BY_UNSPECIFIED: _ClassVar[LiftedBy]
    LIFTED_BY_FRESH_DATA: _ClassVar[LiftedBy]
    LIFTED_BY_EVIDENCE: _ClassVar[LiftedBy]
    LIFTED_BY_EXCHANGE: _ClassVar[LiftedBy]
    LIFTED_BY_CALLER: _ClassVar[LiftedBy]
    LIFTED_BY_OPERATOR: _ClassVar[LiftedBy]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_OPEN: _ClassVar[Phase]
    PHASE_POST_ONLY: _ClassVar[Phase]
    PHASE_CANCEL_ONLY: _ClassVar[Phase]
    PHASE_MAINTENANCE: _ClassVar[Phase]
    PHASE_RECOVERING: _ClassVar[Phase]

class BreakerState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKER_STATE_UNSPECIFIED: _ClassVar[BreakerState]
    BREAKER_STATE_CLOSED: _ClassVar[BreakerState]
    BREAKER_STATE_OPEN: _ClassVar[BreakerState]
    BREAKER_STATE_HALF_OPEN: _ClassVar[BreakerState]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_OK: _ClassVar[Outcome]
    OUTCOME_FUNDING_JUMP: _ClassVar[Outcome]
    OUTCOME_PRICE: _ClassVar[Outcome]
    OUTCOME_SWAPPED: _ClassVar[Outcome]
    OUTCOME_INVALID: _ClassVar[Outcome]
    OUTCOME_STALE: _ClassVar[Outcome]
    OUTCOME_MISSING: _ClassVar[Outcome]
    OUTCOME_EXTRA: _ClassVar[Outcome]
    OUTCOME_NO_BASELINE: _ClassVar[Outcome]
VERDICT_UNSPECIFIED: Verdict
VERDICT_ALLOW: Verdict
VERDICT_DENY: Verdict
SEVERITY_UNSPECIFIED: Severity
SEVERITY_WARN: Severity
SEVERITY_DENY: Severity
SEVERITY_TRIP: Severity
SEVERITY_LATCH: Severity
LIFTED_BY_UNSPECIFIED: LiftedBy
LIFTED_BY_FRESH_DATA: LiftedBy
LIFTED_BY_EVIDENCE: LiftedBy
LIFTED_BY_EXCHANGE: LiftedBy
LIFTED_BY_CALLER: LiftedBy
LIFTED_BY_OPERATOR: LiftedBy
PHASE_UNSPECIFIED: Phase
PHASE_OPEN: Phase
PHASE_POST_ONLY: Phase
PHASE_CANCEL_ONLY: Phase
PHASE_MAINTENANCE: Phase
PHASE_RECOVERING: Phase
BREAKER_STATE_UNSPECIFIED: BreakerState
BREAKER_STATE_CLOSED: BreakerState
BREAKER_STATE_OPEN: BreakerState
BREAKER_STATE_HALF_OPEN: BreakerState
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_OK: Outcome
OUTCOME_FUNDING_JUMP: Outcome
OUTCOME_PRICE: Outcome
OUTCOME_SWAPPED: Outcome
OUTCOME_INVALID: Outcome
OUTCOME_STALE: Outcome
OUTCOME_MISSING: Outcome
OUTCOME_EXTRA: Outcome
OUTCOME_NO_BASELINE: Outcome

class Finding(_message.Message):
    __slots__ = ("reason", "rule", "severity", "subject", "observed", "limit", "sentence", "shadow", "lifted_by", "ask_again_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    LIFTED_BY_FIELD_NUMBER: _ClassVar[int]
    ASK_AGAIN_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    rule: str
    severity: Severity
    subject: str
    observed: str
    limit: str
    sentence: str
    shadow: bool
    lifted_by: LiftedBy
    ask_again_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[str] = ..., rule: _Optional[str] = ..., severity: _Optional[_Union[Severity, str]] = ..., subject: _Optional[str] = ..., observed: _Optional[str] = ..., limit: _Optional[str] = ..., sentence: _Optional[str] = ..., shadow: _Optional[bool] = ..., lifted_by: _Optional[_Union[LiftedBy, str]] = ..., ask_again_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class RequestError(_message.Message):
    __slots__ = ("reason", "field", "value", "expected", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    field: str
    value: str
    expected: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., field: _Optional[str] = ..., value: _Optional[str] = ..., expected: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class MarketOutcome(_message.Message):
    __slots__ = ("market", "outcome", "subject", "observed", "limit", "swapped_with", "sentence", "also")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    SWAPPED_WITH_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    ALSO_FIELD_NUMBER: _ClassVar[int]
    market: str
    outcome: Outcome
    subject: str
    observed: str
    limit: str
    swapped_with: str
    sentence: str
    also: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, market: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., subject: _Optional[str] = ..., observed: _Optional[str] = ..., limit: _Optional[str] = ..., swapped_with: _Optional[str] = ..., sentence: _Optional[str] = ..., also: _Optional[_Iterable[str]] = ...) -> None: ...

class Proposal(_message.Message):
    __slots__ = ("act", "scopes", "actor", "reason", "expires_at", "identity")
    ACT_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    act: str
    scopes: _containers.RepeatedScalarFieldContainer[str]
    actor: str
    reason: str
    expires_at: _timestamp_pb2.Timestamp
    identity: str
    def __init__(self, act: _Optional[str] = ..., scopes: _Optional[_Iterable[str]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identity: _Optional[str] = ...) -> None: ...

import datetime

from circuit_guard.v1 import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GuardStatus(_message.Message):
    __slots__ = ("at", "policy_revision", "shadow", "ready", "not_ready_reasons", "global_breaker", "global_halt", "markets", "maintenance", "proposals", "other_global_halts", "clock", "refused_files")
    AT_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    NOT_READY_REASONS_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_BREAKER_FIELD_NUMBER: _ClassVar[int]
    GLOBAL_HALT_FIELD_NUMBER: _ClassVar[int]
    MARKETS_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_FIELD_NUMBER: _ClassVar[int]
    PROPOSALS_FIELD_NUMBER: _ClassVar[int]
    OTHER_GLOBAL_HALTS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FILES_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    policy_revision: str
    shadow: bool
    ready: bool
    not_ready_reasons: _containers.RepeatedScalarFieldContainer[str]
    global_breaker: BreakerStatus
    global_halt: Halt
    markets: _containers.RepeatedCompositeFieldContainer[MarketStatus]
    maintenance: MaintenanceStatus
    proposals: _containers.RepeatedCompositeFieldContainer[_types_pb2.Proposal]
    other_global_halts: _containers.RepeatedCompositeFieldContainer[Halt]
    clock: str
    refused_files: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., policy_revision: _Optional[str] = ..., shadow: _Optional[bool] = ..., ready: _Optional[bool] = ..., not_ready_reasons: _Optional[_Iterable[str]] = ..., global_breaker: _Optional[_Union[BreakerStatus, _Mapping]] = ..., global_halt: _Optional[_Union[Halt, _Mapping]] = ..., markets: _Optional[_Iterable[_Union[MarketStatus, _Mapping]]] = ..., maintenance: _Optional[_Union[MaintenanceStatus, _Mapping]] = ..., proposals: _Optional[_Iterable[_Union[_types_pb2.Proposal, _Mapping]]] = ..., other_global_halts: _Optional[_Iterable[_Union[Halt, _Mapping]]] = ..., clock: _Optional[str] = ..., refused_files: _Optional[_Iterable[str]] = ...) -> None: ...

class MaintenanceStatus(_message.Message):
    __slots__ = ("actor", "reason", "since", "checkpoint_name", "validated_at", "clean_count", "not_clean_count", "identity")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_NAME_FIELD_NUMBER: _ClassVar[int]
    VALIDATED_AT_FIELD_NUMBER: _ClassVar[int]
    CLEAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOT_CLEAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    since: _timestamp_pb2.Timestamp
    checkpoint_name: str
    validated_at: _timestamp_pb2.Timestamp
    clean_count: int
    not_clean_count: int
    identity: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., checkpoint_name: _Optional[str] = ..., validated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., clean_count: _Optional[int] = ..., not_clean_count: _Optional[int] = ..., identity: _Optional[str] = ...) -> None: ...

class BreakerStatus(_message.Message):
    __slots__ = ("state", "latched", "since", "generation", "findings")
    STATE_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    state: _types_pb2.BreakerState
    latched: bool
    since: _timestamp_pb2.Timestamp
    generation: int
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    def __init__(self, state: _Optional[_Union[_types_pb2.BreakerState, str]] = ..., latched: _Optional[bool] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., generation: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ...) -> None: ...

class Halt(_message.Message):
    __slots__ = ("actor", "reason", "since", "expires_at", "identity")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    since: _timestamp_pb2.Timestamp
    expires_at: _timestamp_pb2.Timestamp
    identity: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identity: _Optional[str] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: str
    high: str
    def __init__(self, low: _Optional[str] = ..., high: _Optional[str] = ...) -> None: ...

class Headroom(_message.Message):
    __slots__ = ("rule", "left_ratio")
    RULE_FIELD_NUMBER: _ClassVar[int]
    LEFT_RATIO_FIELD_NUMBER: _ClassVar[int]
    rule: str
    left_ratio: float
    def __init__(self, rule: _Optional[str] = ..., left_ratio: _Optional[float] = ...) -> None: ...

class MarketStatus(_message.Message):
    __slots__ = ("market", "market_class", "required", "warm", "phase", "commanded_phase", "phase_since", "phase_note", "breaker", "halt", "denying", "mark_price", "mark_age", "index_price", "funding_index", "funding_age", "funding_envelope", "reference_price", "references_fresh", "mark_limits", "headroom", "held_since", "overdue", "ramp_share", "discarded_intervals", "other_halts", "next_change")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    MARKET_CLASS_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_FIELD_NUMBER: _ClassVar[int]
    WARM_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    COMMANDED_PHASE_FIELD_NUMBER: _ClassVar[int]
    PHASE_SINCE_FIELD_NUMBER: _ClassVar[int]
    PHASE_NOTE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    DENYING_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    MARK_AGE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    FUNDING_AGE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FRESH_FIELD_NUMBER: _ClassVar[int]
    MARK_LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_FIELD_NUMBER: _ClassVar[int]
    HELD_SINCE_FIELD_NUMBER: _ClassVar[int]
    OVERDUE_FIELD_NUMBER: _ClassVar[int]
    RAMP_SHARE_FIELD_NUMBER: _ClassVar[int]
    DISCARDED_INTERVALS_FIELD_NUMBER: _ClassVar[int]
    OTHER_HALTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    market: str
    market_class: str
    required: bool
    warm: bool
    phase: _types_pb2.Phase
    commanded_phase: _types_pb2.Phase
    phase_since: _timestamp_pb2.Timestamp
    phase_note: str
    breaker: BreakerStatus
    halt: Halt
    denying: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    mark_price: str
    mark_age: _duration_pb2.Duration
    index_price: str
    funding_index: str
    funding_age: _duration_pb2.Duration
    funding_envelope: Interval
    reference_price: str
    references_fresh: int
    mark_limits: Interval
    headroom: _containers.RepeatedCompositeFieldContainer[Headroom]
    held_since: _timestamp_pb2.Timestamp
    overdue: bool
    ramp_share: float
    discarded_intervals: int
    other_halts: _containers.RepeatedCompositeFieldContainer[Halt]
    next_change: str
    def __init__(self, market: _Optional[str] = ..., market_class: _Optional[str] = ..., required: _Optional[bool] = ..., warm: _Optional[bool] = ..., phase: _Optional[_Union[_types_pb2.Phase, str]] = ..., commanded_phase: _Optional[_Union[_types_pb2.Phase, str]] = ..., phase_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., phase_note: _Optional[str] = ..., breaker: _Optional[_Union[BreakerStatus, _Mapping]] = ..., halt: _Optional[_Union[Halt, _Mapping]] = ..., denying: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ..., mark_price: _Optional[str] = ..., mark_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., index_price: _Optional[str] = ..., funding_index: _Optional[str] = ..., funding_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., funding_envelope: _Optional[_Union[Interval, _Mapping]] = ..., reference_price: _Optional[str] = ..., references_fresh: _Optional[int] = ..., mark_limits: _Optional[_Union[Interval, _Mapping]] = ..., headroom: _Optional[_Iterable[_Union[Headroom, _Mapping]]] = ..., held_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., overdue: _Optional[bool] = ..., ramp_share: _Optional[float] = ..., discarded_intervals: _Optional[int] = ..., other_halts: _Optional[_Iterable[_Union[Halt, _Mapping]]] = ..., next_change: _Optional[str] = ...) -> None: ...

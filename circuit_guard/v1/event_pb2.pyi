import datetime

from circuit_guard.v1 import liquidation_pb2 as _liquidation_pb2
from circuit_guard.v1 import order_pb2 as _order_pb2
from circuit_guard.v1 import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("at", "observation_rejected", "reference_rejected", "breaker_changed", "phase_changed", "halt_changed", "market_warm", "shadow_would", "policy_changed", "command_refused", "decision", "check_refused", "order_denied", "observation_reconsidered", "market_reopened", "maintenance_began", "state_validated", "maintenance_ended", "rebaselined", "act_proposed", "clock_changed")
    AT_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_REJECTED_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_REJECTED_FIELD_NUMBER: _ClassVar[int]
    BREAKER_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PHASE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    HALT_CHANGED_FIELD_NUMBER: _ClassVar[int]
    MARKET_WARM_FIELD_NUMBER: _ClassVar[int]
    SHADOW_WOULD_FIELD_NUMBER: _ClassVar[int]
    POLICY_CHANGED_FIELD_NUMBER: _ClassVar[int]
    COMMAND_REFUSED_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    CHECK_REFUSED_FIELD_NUMBER: _ClassVar[int]
    ORDER_DENIED_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_RECONSIDERED_FIELD_NUMBER: _ClassVar[int]
    MARKET_REOPENED_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_BEGAN_FIELD_NUMBER: _ClassVar[int]
    STATE_VALIDATED_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_ENDED_FIELD_NUMBER: _ClassVar[int]
    REBASELINED_FIELD_NUMBER: _ClassVar[int]
    ACT_PROPOSED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_CHANGED_FIELD_NUMBER: _ClassVar[int]
    at: _timestamp_pb2.Timestamp
    observation_rejected: ItemRejected
    reference_rejected: ItemRejected
    breaker_changed: BreakerChanged
    phase_changed: PhaseChanged
    halt_changed: HaltChanged
    market_warm: MarketWarm
    shadow_would: ShadowWould
    policy_changed: PolicyChanged
    command_refused: CommandRefused
    decision: _liquidation_pb2.LiquidationDecision
    check_refused: CheckRefused
    order_denied: _order_pb2.OrderJudgement
    observation_reconsidered: ObservationReconsidered
    market_reopened: MarketReopened
    maintenance_began: MaintenanceBegan
    state_validated: StateValidated
    maintenance_ended: MaintenanceEnded
    rebaselined: Rebaselined
    act_proposed: _types_pb2.Proposal
    clock_changed: ClockChanged
    def __init__(self, at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., observation_rejected: _Optional[_Union[ItemRejected, _Mapping]] = ..., reference_rejected: _Optional[_Union[ItemRejected, _Mapping]] = ..., breaker_changed: _Optional[_Union[BreakerChanged, _Mapping]] = ..., phase_changed: _Optional[_Union[PhaseChanged, _Mapping]] = ..., halt_changed: _Optional[_Union[HaltChanged, _Mapping]] = ..., market_warm: _Optional[_Union[MarketWarm, _Mapping]] = ..., shadow_would: _Optional[_Union[ShadowWould, _Mapping]] = ..., policy_changed: _Optional[_Union[PolicyChanged, _Mapping]] = ..., command_refused: _Optional[_Union[CommandRefused, _Mapping]] = ..., decision: _Optional[_Union[_liquidation_pb2.LiquidationDecision, _Mapping]] = ..., check_refused: _Optional[_Union[CheckRefused, _Mapping]] = ..., order_denied: _Optional[_Union[_order_pb2.OrderJudgement, _Mapping]] = ..., observation_reconsidered: _Optional[_Union[ObservationReconsidered, _Mapping]] = ..., market_reopened: _Optional[_Union[MarketReopened, _Mapping]] = ..., maintenance_began: _Optional[_Union[MaintenanceBegan, _Mapping]] = ..., state_validated: _Optional[_Union[StateValidated, _Mapping]] = ..., maintenance_ended: _Optional[_Union[MaintenanceEnded, _Mapping]] = ..., rebaselined: _Optional[_Union[Rebaselined, _Mapping]] = ..., act_proposed: _Optional[_Union[_types_pb2.Proposal, _Mapping]] = ..., clock_changed: _Optional[_Union[ClockChanged, _Mapping]] = ...) -> None: ...

class ItemRejected(_message.Message):
    __slots__ = ("market", "source", "findings")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    market: str
    source: str
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    def __init__(self, market: _Optional[str] = ..., source: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ...) -> None: ...

class ObservationReconsidered(_message.Message):
    __slots__ = ("market", "source")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    market: str
    source: str
    def __init__(self, market: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class BreakerChanged(_message.Message):
    __slots__ = ("scope", "before", "after", "latched", "generation", "findings", "actor", "note", "identity")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    scope: str
    before: _types_pb2.BreakerState
    after: _types_pb2.BreakerState
    latched: bool
    generation: int
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    actor: str
    note: str
    identity: str
    def __init__(self, scope: _Optional[str] = ..., before: _Optional[_Union[_types_pb2.BreakerState, str]] = ..., after: _Optional[_Union[_types_pb2.BreakerState, str]] = ..., latched: _Optional[bool] = ..., generation: _Optional[int] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class PhaseChanged(_message.Message):
    __slots__ = ("market", "before", "after", "actor", "note", "identity")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    market: str
    before: _types_pb2.Phase
    after: _types_pb2.Phase
    actor: str
    note: str
    identity: str
    def __init__(self, market: _Optional[str] = ..., before: _Optional[_Union[_types_pb2.Phase, str]] = ..., after: _Optional[_Union[_types_pb2.Phase, str]] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class HaltChanged(_message.Message):
    __slots__ = ("scope", "halted", "actor", "reason", "expires_at", "stays", "identity")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    HALTED_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    STAYS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    scope: str
    halted: bool
    actor: str
    reason: str
    expires_at: _timestamp_pb2.Timestamp
    stays: bool
    identity: str
    def __init__(self, scope: _Optional[str] = ..., halted: _Optional[bool] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stays: _Optional[bool] = ..., identity: _Optional[str] = ...) -> None: ...

class MarketWarm(_message.Message):
    __slots__ = ("market",)
    MARKET_FIELD_NUMBER: _ClassVar[int]
    market: str
    def __init__(self, market: _Optional[str] = ...) -> None: ...

class ShadowWould(_message.Message):
    __slots__ = ("scope", "findings")
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    scope: str
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    def __init__(self, scope: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ...) -> None: ...

class PolicyChanged(_message.Message):
    __slots__ = ("revision", "added", "removed")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ADDED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    revision: str
    added: _containers.RepeatedScalarFieldContainer[str]
    removed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, revision: _Optional[str] = ..., added: _Optional[_Iterable[str]] = ..., removed: _Optional[_Iterable[str]] = ...) -> None: ...

class CommandRefused(_message.Message):
    __slots__ = ("subject", "observed", "expected")
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    subject: str
    observed: str
    expected: str
    def __init__(self, subject: _Optional[str] = ..., observed: _Optional[str] = ..., expected: _Optional[str] = ...) -> None: ...

class CheckRefused(_message.Message):
    __slots__ = ("request_id", "differing")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    DIFFERING_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    differing: str
    def __init__(self, request_id: _Optional[str] = ..., differing: _Optional[str] = ...) -> None: ...

class MarketReopened(_message.Message):
    __slots__ = ("market", "held")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    market: str
    held: _duration_pb2.Duration
    def __init__(self, market: _Optional[str] = ..., held: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class MaintenanceBegan(_message.Message):
    __slots__ = ("actor", "reason", "checkpoint_name", "identity")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_NAME_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    checkpoint_name: str
    identity: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., checkpoint_name: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class StateValidated(_message.Message):
    __slots__ = ("actor", "clean_count", "not_clean", "identity")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CLEAN_COUNT_FIELD_NUMBER: _ClassVar[int]
    NOT_CLEAN_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    actor: str
    clean_count: int
    not_clean: _containers.RepeatedCompositeFieldContainer[_types_pb2.MarketOutcome]
    identity: str
    def __init__(self, actor: _Optional[str] = ..., clean_count: _Optional[int] = ..., not_clean: _Optional[_Iterable[_Union[_types_pb2.MarketOutcome, _Mapping]]] = ..., identity: _Optional[str] = ...) -> None: ...

class MaintenanceEnded(_message.Message):
    __slots__ = ("actor", "reason", "clean", "latched", "identity")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    clean: _containers.RepeatedScalarFieldContainer[str]
    latched: _containers.RepeatedScalarFieldContainer[str]
    identity: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., clean: _Optional[_Iterable[str]] = ..., latched: _Optional[_Iterable[str]] = ..., identity: _Optional[str] = ...) -> None: ...

class Rebaselined(_message.Message):
    __slots__ = ("market", "funding_index_before", "funding_index_after", "actor", "reason", "checkpoint_id", "factor", "mark_price_before", "mark_price_after", "identity")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_BEFORE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_AFTER_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_AFTER_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    market: str
    funding_index_before: str
    funding_index_after: str
    actor: str
    reason: str
    checkpoint_id: int
    factor: str
    mark_price_before: str
    mark_price_after: str
    identity: str
    def __init__(self, market: _Optional[str] = ..., funding_index_before: _Optional[str] = ..., funding_index_after: _Optional[str] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., checkpoint_id: _Optional[int] = ..., factor: _Optional[str] = ..., mark_price_before: _Optional[str] = ..., mark_price_after: _Optional[str] = ..., identity: _Optional[str] = ...) -> None: ...

class ClockChanged(_message.Message):
    __slots__ = ("off", "corrected")
    OFF_FIELD_NUMBER: _ClassVar[int]
    CORRECTED_FIELD_NUMBER: _ClassVar[int]
    off: _duration_pb2.Duration
    corrected: _duration_pb2.Duration
    def __init__(self, off: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., corrected: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

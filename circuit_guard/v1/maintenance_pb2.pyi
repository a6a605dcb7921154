import datetime

from circuit_guard.v1 import event_pb2 as _event_pb2
from circuit_guard.v1 import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BeginMaintenanceRequest(_message.Message):
    __slots__ = ("actor", "reason")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class BeginMaintenanceResponse(_message.Message):
    __slots__ = ("checkpoint_id", "checkpoint_name", "checkpoint_digest", "events")
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_NAME_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    checkpoint_id: int
    checkpoint_name: str
    checkpoint_digest: str
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, checkpoint_id: _Optional[int] = ..., checkpoint_name: _Optional[str] = ..., checkpoint_digest: _Optional[str] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class ValidateStateRequest(_message.Message):
    __slots__ = ("actor", "rows")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    actor: str
    rows: _containers.RepeatedCompositeFieldContainer[StateRow]
    def __init__(self, actor: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[StateRow, _Mapping]]] = ...) -> None: ...

class StateRow(_message.Message):
    __slots__ = ("market", "event_time", "mark_price", "index_price", "funding_index")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    market: str
    event_time: _timestamp_pb2.Timestamp
    mark_price: str
    index_price: str
    funding_index: str
    def __init__(self, market: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., mark_price: _Optional[str] = ..., index_price: _Optional[str] = ..., funding_index: _Optional[str] = ...) -> None: ...

class ValidateStateResponse(_message.Message):
    __slots__ = ("clean", "outcomes")
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    clean: bool
    outcomes: _containers.RepeatedCompositeFieldContainer[_types_pb2.MarketOutcome]
    def __init__(self, clean: _Optional[bool] = ..., outcomes: _Optional[_Iterable[_Union[_types_pb2.MarketOutcome, _Mapping]]] = ...) -> None: ...

class EndMaintenanceRequest(_message.Message):
    __slots__ = ("actor", "reason", "unvalidated")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    UNVALIDATED_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    unvalidated: bool
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., unvalidated: _Optional[bool] = ...) -> None: ...

class EndMaintenanceResponse(_message.Message):
    __slots__ = ("clean", "latched", "events")
    CLEAN_FIELD_NUMBER: _ClassVar[int]
    LATCHED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    clean: _containers.RepeatedScalarFieldContainer[str]
    latched: _containers.RepeatedScalarFieldContainer[str]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, clean: _Optional[_Iterable[str]] = ..., latched: _Optional[_Iterable[str]] = ..., events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class RebaselineRequest(_message.Message):
    __slots__ = ("actor", "reason", "baselines", "checkpoint_id", "scopes", "repaired", "factor")
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BASELINES_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_ID_FIELD_NUMBER: _ClassVar[int]
    SCOPES_FIELD_NUMBER: _ClassVar[int]
    REPAIRED_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    actor: str
    reason: str
    baselines: _containers.RepeatedCompositeFieldContainer[Baseline]
    checkpoint_id: int
    scopes: _containers.RepeatedScalarFieldContainer[str]
    repaired: _containers.RepeatedScalarFieldContainer[str]
    factor: str
    def __init__(self, actor: _Optional[str] = ..., reason: _Optional[str] = ..., baselines: _Optional[_Iterable[_Union[Baseline, _Mapping]]] = ..., checkpoint_id: _Optional[int] = ..., scopes: _Optional[_Iterable[str]] = ..., repaired: _Optional[_Iterable[str]] = ..., factor: _Optional[str] = ...) -> None: ...

class Baseline(_message.Message):
    __slots__ = ("market", "funding_index", "mark_price", "index_price", "funding_premium")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_PREMIUM_FIELD_NUMBER: _ClassVar[int]
    market: str
    funding_index: str
    mark_price: str
    index_price: str
    funding_premium: str
    def __init__(self, market: _Optional[str] = ..., funding_index: _Optional[str] = ..., mark_price: _Optional[str] = ..., index_price: _Optional[str] = ..., funding_premium: _Optional[str] = ...) -> None: ...

class RebaselineResponse(_message.Message):
    __slots__ = ("events", "proposal")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    PROPOSAL_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    proposal: _types_pb2.Proposal
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., proposal: _Optional[_Union[_types_pb2.Proposal, _Mapping]] = ...) -> None: ...

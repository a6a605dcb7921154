import datetime

from circuit_guard.v1 import types_pb2 as _types_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PublishStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PUBLISH_STATUS_UNSPECIFIED: _ClassVar[PublishStatus]
    PUBLISH_STATUS_ACCEPTED: _ClassVar[PublishStatus]
    PUBLISH_STATUS_REJECTED: _ClassVar[PublishStatus]
    PUBLISH_STATUS_REFUSED: _ClassVar[PublishStatus]
PUBLISH_STATUS_UNSPECIFIED: PublishStatus
PUBLISH_STATUS_ACCEPTED: PublishStatus
PUBLISH_STATUS_REJECTED: PublishStatus
PUBLISH_STATUS_REFUSED: PublishStatus

class Observation(_message.Message):
    __slots__ = ("market", "source", "epoch", "feed_sequence", "event_time", "mark_price", "index_price", "funding_index", "funding_rate", "funding_premium", "funding_period_s", "funding_rate_max")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    FEED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    INDEX_PRICE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    FUNDING_RATE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_PREMIUM_FIELD_NUMBER: _ClassVar[int]
    FUNDING_PERIOD_S_FIELD_NUMBER: _ClassVar[int]
    FUNDING_RATE_MAX_FIELD_NUMBER: _ClassVar[int]
    market: str
    source: str
    epoch: int
    feed_sequence: int
    event_time: _timestamp_pb2.Timestamp
    mark_price: str
    index_price: str
    funding_index: str
    funding_rate: str
    funding_premium: str
    funding_period_s: str
    funding_rate_max: str
    def __init__(self, market: _Optional[str] = ..., source: _Optional[str] = ..., epoch: _Optional[int] = ..., feed_sequence: _Optional[int] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., mark_price: _Optional[str] = ..., index_price: _Optional[str] = ..., funding_index: _Optional[str] = ..., funding_rate: _Optional[str] = ..., funding_premium: _Optional[str] = ..., funding_period_s: _Optional[str] = ..., funding_rate_max: _Optional[str] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("market", "source", "event_time", "price")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    market: str
    source: str
    event_time: _timestamp_pb2.Timestamp
    price: str
    def __init__(self, market: _Optional[str] = ..., source: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., price: _Optional[str] = ...) -> None: ...

class PublishResult(_message.Message):
    __slots__ = ("status", "redelivered", "findings", "error")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    status: PublishStatus
    redelivered: bool
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    error: _types_pb2.RequestError
    def __init__(self, status: _Optional[_Union[PublishStatus, str]] = ..., redelivered: _Optional[bool] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ..., error: _Optional[_Union[_types_pb2.RequestError, _Mapping]] = ...) -> None: ...

class PublishObservationsRequest(_message.Message):
    __slots__ = ("observations",)
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[Observation]
    def __init__(self, observations: _Optional[_Iterable[_Union[Observation, _Mapping]]] = ...) -> None: ...

class PublishObservationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PublishResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PublishResult, _Mapping]]] = ...) -> None: ...

class PublishReferencesRequest(_message.Message):
    __slots__ = ("references",)
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    references: _containers.RepeatedCompositeFieldContainer[Reference]
    def __init__(self, references: _Optional[_Iterable[_Union[Reference, _Mapping]]] = ...) -> None: ...

class PublishReferencesResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[PublishResult]
    def __init__(self, results: _Optional[_Iterable[_Union[PublishResult, _Mapping]]] = ...) -> None: ...

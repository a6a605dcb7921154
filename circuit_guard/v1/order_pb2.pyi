import datetime

from circuit_guard.v1 import types_pb2 as _types_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OrderSide(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_SIDE_UNSPECIFIED: _ClassVar[OrderSide]
    ORDER_SIDE_BUY: _ClassVar[OrderSide]
    ORDER_SIDE_SELL: _ClassVar[OrderSide]

class OrderAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_ACTION_UNSPECIFIED: _ClassVar[OrderAction]
    ORDER_ACTION_NEW: _ClassVar[OrderAction]
    ORDER_ACTION_MODIFY: _ClassVar[OrderAction]
    ORDER_ACTION_RESTING: _ClassVar[OrderAction]
ORDER_SIDE_UNSPECIFIED: OrderSide
ORDER_SIDE_BUY: OrderSide
ORDER_SIDE_SELL: OrderSide
ORDER_ACTION_UNSPECIFIED: OrderAction
ORDER_ACTION_NEW: OrderAction
ORDER_ACTION_MODIFY: OrderAction
ORDER_ACTION_RESTING: OrderAction

class Order(_message.Message):
    __slots__ = ("order_id", "market", "side", "action", "price", "post_only", "take_profit_or_stop_loss", "created_at")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    TAKE_PROFIT_OR_STOP_LOSS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    market: str
    side: OrderSide
    action: OrderAction
    price: str
    post_only: bool
    take_profit_or_stop_loss: bool
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[str] = ..., market: _Optional[str] = ..., side: _Optional[_Union[OrderSide, str]] = ..., action: _Optional[_Union[OrderAction, str]] = ..., price: _Optional[str] = ..., post_only: _Optional[bool] = ..., take_profit_or_stop_loss: _Optional[bool] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class OrderJudgement(_message.Message):
    __slots__ = ("order_id", "market", "verdict", "findings", "lifted_by", "ask_again_after", "explanation", "judged_at")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    LIFTED_BY_FIELD_NUMBER: _ClassVar[int]
    ASK_AGAIN_AFTER_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    JUDGED_AT_FIELD_NUMBER: _ClassVar[int]
    order_id: str
    market: str
    verdict: _types_pb2.Verdict
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    lifted_by: _types_pb2.LiftedBy
    ask_again_after: _duration_pb2.Duration
    explanation: str
    judged_at: _timestamp_pb2.Timestamp
    def __init__(self, order_id: _Optional[str] = ..., market: _Optional[str] = ..., verdict: _Optional[_Union[_types_pb2.Verdict, str]] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ..., lifted_by: _Optional[_Union[_types_pb2.LiftedBy, str]] = ..., ask_again_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., explanation: _Optional[str] = ..., judged_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CheckOrdersRequest(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ...) -> None: ...

class CheckOrdersResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[OrderResult]
    def __init__(self, results: _Optional[_Iterable[_Union[OrderResult, _Mapping]]] = ...) -> None: ...

class OrderResult(_message.Message):
    __slots__ = ("judgement", "error")
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    judgement: OrderJudgement
    error: _types_pb2.RequestError
    def __init__(self, judgement: _Optional[_Union[OrderJudgement, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.RequestError, _Mapping]] = ...) -> None: ...

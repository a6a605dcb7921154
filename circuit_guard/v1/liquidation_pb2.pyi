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

class CheckKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHECK_KIND_UNSPECIFIED: _ClassVar[CheckKind]
    CHECK_KIND_LIQUIDATION: _ClassVar[CheckKind]
    CHECK_KIND_AUTO_DELEVERAGE: _ClassVar[CheckKind]
    CHECK_KIND_INSURANCE_TRANSFER: _ClassVar[CheckKind]
    CHECK_KIND_TRIGGER: _ClassVar[CheckKind]
    CHECK_KIND_SETTLEMENT: _ClassVar[CheckKind]

class Explanation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPLANATION_UNSPECIFIED: _ClassVar[Explanation]
    EXPLANATION_EXPLAINED: _ClassVar[Explanation]
    EXPLANATION_UNEXPLAINED: _ClassVar[Explanation]
    EXPLANATION_INDETERMINATE: _ClassVar[Explanation]
    EXPLANATION_NOT_EVALUATED: _ClassVar[Explanation]
CHECK_KIND_UNSPECIFIED: CheckKind
CHECK_KIND_LIQUIDATION: CheckKind
CHECK_KIND_AUTO_DELEVERAGE: CheckKind
CHECK_KIND_INSURANCE_TRANSFER: CheckKind
CHECK_KIND_TRIGGER: CheckKind
CHECK_KIND_SETTLEMENT: CheckKind
EXPLANATION_UNSPECIFIED: Explanation
EXPLANATION_EXPLAINED: Explanation
EXPLANATION_UNEXPLAINED: Explanation
EXPLANATION_INDETERMINATE: Explanation
EXPLANATION_NOT_EVALUATED: Explanation

class Basis(_message.Message):
    __slots__ = ("mark_price", "funding_index")
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    mark_price: str
    funding_index: str
    def __init__(self, mark_price: _Optional[str] = ..., funding_index: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("market", "size", "entry_price", "cached_funding_index", "maintenance_margin_fraction", "maintenance_margin")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_PRICE_FIELD_NUMBER: _ClassVar[int]
    CACHED_FUNDING_INDEX_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_MARGIN_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MAINTENANCE_MARGIN_FIELD_NUMBER: _ClassVar[int]
    market: str
    size: str
    entry_price: str
    cached_funding_index: str
    maintenance_margin_fraction: str
    maintenance_margin: str
    def __init__(self, market: _Optional[str] = ..., size: _Optional[str] = ..., entry_price: _Optional[str] = ..., cached_funding_index: _Optional[str] = ..., maintenance_margin_fraction: _Optional[str] = ..., maintenance_margin: _Optional[str] = ...) -> None: ...

class Asset(_message.Message):
    __slots__ = ("market", "quantity", "haircut")
    MARKET_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    HAIRCUT_FIELD_NUMBER: _ClassVar[int]
    market: str
    quantity: str
    haircut: str
    def __init__(self, market: _Optional[str] = ..., quantity: _Optional[str] = ..., haircut: _Optional[str] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("collateral", "positions", "assets")
    COLLATERAL_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    ASSETS_FIELD_NUMBER: _ClassVar[int]
    collateral: str
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    assets: _containers.RepeatedCompositeFieldContainer[Asset]
    def __init__(self, collateral: _Optional[str] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., assets: _Optional[_Iterable[_Union[Asset, _Mapping]]] = ...) -> None: ...

class LiquidationCheck(_message.Message):
    __slots__ = ("request_id", "account_id", "market", "size", "kind", "execution_price", "basis", "account", "judge_anew")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_PRICE_FIELD_NUMBER: _ClassVar[int]
    BASIS_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    JUDGE_ANEW_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    account_id: str
    market: str
    size: str
    kind: CheckKind
    execution_price: str
    basis: Basis
    account: Account
    judge_anew: bool
    def __init__(self, request_id: _Optional[str] = ..., account_id: _Optional[str] = ..., market: _Optional[str] = ..., size: _Optional[str] = ..., kind: _Optional[_Union[CheckKind, str]] = ..., execution_price: _Optional[str] = ..., basis: _Optional[_Union[Basis, _Mapping]] = ..., account: _Optional[_Union[Account, _Mapping]] = ..., judge_anew: _Optional[bool] = ...) -> None: ...

class ExplainedLoss(_message.Message):
    __slots__ = ("verdict", "low", "high", "unknown_markets")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_MARKETS_FIELD_NUMBER: _ClassVar[int]
    verdict: Explanation
    low: str
    high: str
    unknown_markets: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, verdict: _Optional[_Union[Explanation, str]] = ..., low: _Optional[str] = ..., high: _Optional[str] = ..., unknown_markets: _Optional[_Iterable[str]] = ...) -> None: ...

class LiquidationDecision(_message.Message):
    __slots__ = ("decision_id", "request_id", "account_id", "market", "kind", "verdict", "shadow_verdict", "findings", "lifted_by", "ask_again_after", "explanation", "phase", "breaker", "policy_revision", "decided_at", "repeated", "explained_loss", "age")
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_ID_FIELD_NUMBER: _ClassVar[int]
    MARKET_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_VERDICT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    LIFTED_BY_FIELD_NUMBER: _ClassVar[int]
    ASK_AGAIN_AFTER_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    BREAKER_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    REPEATED_FIELD_NUMBER: _ClassVar[int]
    EXPLAINED_LOSS_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    decision_id: str
    request_id: str
    account_id: str
    market: str
    kind: CheckKind
    verdict: _types_pb2.Verdict
    shadow_verdict: _types_pb2.Verdict
    findings: _containers.RepeatedCompositeFieldContainer[_types_pb2.Finding]
    lifted_by: _types_pb2.LiftedBy
    ask_again_after: _duration_pb2.Duration
    explanation: str
    phase: _types_pb2.Phase
    breaker: _types_pb2.BreakerState
    policy_revision: str
    decided_at: _timestamp_pb2.Timestamp
    repeated: bool
    explained_loss: ExplainedLoss
    age: _duration_pb2.Duration
    def __init__(self, decision_id: _Optional[str] = ..., request_id: _Optional[str] = ..., account_id: _Optional[str] = ..., market: _Optional[str] = ..., kind: _Optional[_Union[CheckKind, str]] = ..., verdict: _Optional[_Union[_types_pb2.Verdict, str]] = ..., shadow_verdict: _Optional[_Union[_types_pb2.Verdict, str]] = ..., findings: _Optional[_Iterable[_Union[_types_pb2.Finding, _Mapping]]] = ..., lifted_by: _Optional[_Union[_types_pb2.LiftedBy, str]] = ..., ask_again_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., explanation: _Optional[str] = ..., phase: _Optional[_Union[_types_pb2.Phase, str]] = ..., breaker: _Optional[_Union[_types_pb2.BreakerState, str]] = ..., policy_revision: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., repeated: _Optional[bool] = ..., explained_loss: _Optional[_Union[ExplainedLoss, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CheckLiquidationRequest(_message.Message):
    __slots__ = ("check",)
    CHECK_FIELD_NUMBER: _ClassVar[int]
    check: LiquidationCheck
    def __init__(self, check: _Optional[_Union[LiquidationCheck, _Mapping]] = ...) -> None: ...

class CheckLiquidationResponse(_message.Message):
    __slots__ = ("decision",)
    DECISION_FIELD_NUMBER: _ClassVar[int]
    decision: LiquidationDecision
    def __init__(self, decision: _Optional[_Union[LiquidationDecision, _Mapping]] = ...) -> None: ...

class CheckLiquidationsRequest(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[LiquidationCheck]
    def __init__(self, checks: _Optional[_Iterable[_Union[LiquidationCheck, _Mapping]]] = ...) -> None: ...

class CheckLiquidationsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[LiquidationResult]
    def __init__(self, results: _Optional[_Iterable[_Union[LiquidationResult, _Mapping]]] = ...) -> None: ...

class LiquidationResult(_message.Message):
    __slots__ = ("decision", "error")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    decision: LiquidationDecision
    error: _types_pb2.RequestError
    def __init__(self, decision: _Optional[_Union[LiquidationDecision, _Mapping]] = ..., error: _Optional[_Union[_types_pb2.RequestError, _Mapping]] = ...) -> None: ...

class CheckLiquidationStreamRequest(_message.Message):
    __slots__ = ("check",)
    CHECK_FIELD_NUMBER: _ClassVar[int]
    check: LiquidationCheck
    def __init__(self, check: _Optional[_Union[LiquidationCheck, _Mapping]] = ...) -> None: ...

class CheckLiquidationStreamResponse(_message.Message):
    __slots__ = ("request_id", "result")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    result: LiquidationResult
    def __init__(self, request_id: _Optional[str] = ..., result: _Optional[_Union[LiquidationResult, _Mapping]] = ...) -> None: ...

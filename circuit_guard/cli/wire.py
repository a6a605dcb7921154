"""Core types as the requests that a publisher, an operator and a liquidation engine send.

The fields of a recording are named as those of the contract, so its lines are messages in JSON.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeVar, cast

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from circuit_guard.cli import state_dump
from circuit_guard.core.inputs import Account, Check, Observation, PhaseCommand, Reference, StateRow
from circuit_guard.core.types import GLOBAL_SCOPE, CheckKind
from circuit_guard.recording.format import LabelledCheck, entry_line
from circuit_guard.v1 import admin_pb2, liquidation_pb2, maintenance_pb2, market_data_pb2

Filled = TypeVar("Filled", bound=Message)


def observation(observed: Observation) -> market_data_pb2.Observation:
    """Return an observation as its publisher sends it."""
    return _filled(market_data_pb2.Observation(), entry_line(observed)["observation"])


def reference(referred: Reference) -> market_data_pb2.Reference:
    """Return an independent price as it is sent."""
    return _filled(market_data_pb2.Reference(), entry_line(referred)["reference"])


def phase(command: PhaseCommand, actor: str) -> admin_pb2.SetPhaseRequest:
    """Return a change of phase as the exchange's deploy script sends it."""
    return admin_pb2.SetPhaseRequest(
        phase=f"PHASE_{command.phase}",
        scopes=command.markets or (GLOBAL_SCOPE,),
        actor=actor,
        reason=f"the exchange enters {command.phase}",
    )


def check(asked: Check) -> liquidation_pb2.LiquidationCheck:
    """Return a question as a liquidation engine asks it."""
    without_kind = LabelledCheck(replace(asked, kind=CheckKind.LIQUIDATION))  # a recording leaves out the usual kind
    message = liquidation_pb2.LiquidationCheck(kind=f"CHECK_KIND_{asked.kind}")
    return _filled(message, entry_line(without_kind)["check"])


def account(held: Account) -> liquidation_pb2.Account:
    """Return the account of a question."""
    return check(Check(0, "", "", "", Decimal(-1), account=held)).account


def state_row(row: StateRow) -> maintenance_pb2.StateRow:
    """Return one market of a dump as a deploy script sends it."""
    return _filled(maintenance_pb2.StateRow(), state_dump.plain(row))


def _filled(message: Filled, body: object) -> Filled:
    return ParseDict(cast("dict[str, Any]", body), message)

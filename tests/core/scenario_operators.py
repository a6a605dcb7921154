"""What operators do in scenarios: halts and resets, maintenance, a rebaseline. `by=` says who, alice unless given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from circuit_guard.core import inputs as i
from circuit_guard.core.inputs import (
    Baseline,
    BeginMaintenance,
    EndMaintenance,
    RebaselineCommand,
    StateRow,
    ValidateState,
)
from circuit_guard.core.types import GLOBAL_SCOPE
from tests.core import world
from tests.core.scenario_commands import FIELDS, Command, Scenario


def halt(scenario: Scenario, command: Command) -> Iterator[str]:
    """`halt [MARKET...] [for=60s] why=`."""
    expires = {}
    if "for" in command.given:
        expires = {"expires_ns": scenario.now_ns + world.duration_ns(command.given["for"])}
    return _act(scenario, i.HaltCommand, command, _scopes(command), **expires)


def resume(scenario: Scenario, command: Command) -> Iterator[str]:
    """`resume [MARKET...] why=`."""
    return _act(scenario, i.ResumeCommand, command, _scopes(command))


def reset(scenario: Scenario, command: Command) -> Iterator[str]:
    """`reset MARKET...|GLOBAL why=`."""
    return _act(scenario, i.ResetCommand, command, _scopes(command))


def begin(scenario: Scenario, command: Command) -> Iterator[str]:
    """`begin why=`: the exchange is about to restart."""
    return scenario.tell(
        scenario.take(BeginMaintenance(scenario.now_ns, *_who(command), checkpoint="before the upgrade"))
    )


def validate(scenario: Scenario, command: Command) -> Iterator[str]:
    """`validate [MARKET:field=value|none ...] [without=MARKET,...]`: a dump of what the feeds would publish.

    Fields are those of `observe`, and `event=-3s`; a market that no feed has is added with the values given.
    """
    without = command.given.get("without", "").split(",")
    changes: dict[str, dict[str, str]] = {}
    for key, text in command.given.items():
        market, _, name = key.rpartition(":")
        changes.setdefault(market, {})[name] = text
    names = [name for name in (*scenario.feeds, *changes) if name and name not in without]
    rows = tuple(_row(scenario, name, changes.get(name, {})) for name in dict.fromkeys(names))
    return scenario.tell(scenario.take(ValidateState(scenario.now_ns, rows, "deploy")))


def end(scenario: Scenario, command: Command) -> Iterator[str]:
    """`end [unvalidated] why=`: the exchange is about to publish."""
    ended = EndMaintenance(scenario.now_ns, *_who(command), unvalidated="unvalidated" in command.words)
    return scenario.tell(scenario.take(ended))


def rebaseline(scenario: Scenario, command: Command) -> Iterator[str]:
    """`rebaseline MARKET=VALUE ... [checkpoint=7 as_of=T] [repaired=MARKET,...] why=`; `rebaseline MARKET... factor=F`.

    VALUE is a funding index, or `INDEX/MARK_PRICE[/INDEX_PRICE[/PREMIUM]]` for all together.
    """
    as_of_ns = world.at(command.given["as_of"]) if "as_of" in command.given else scenario.now_ns
    baselines = tuple(
        _baseline(name, value, as_of_ns) for name, value in command.given.items() if name.endswith("-PERP")
    )
    act = RebaselineCommand(
        scenario.now_ns,
        baselines,
        *_who(command),
        checkpoint=int(command.given["checkpoint"]) if "checkpoint" in command.given else None,
        repaired=tuple(name for name in command.given.get("repaired", "").split(",") if name),
        factor=Decimal(command.given["factor"]) if "factor" in command.given else None,
        rescaled=_scopes(command),
    )
    return scenario.tell(scenario.take(act))


def _baseline(market: str, text: str, as_of_ns: int) -> Baseline:
    index, *more = text.split("/")
    return Baseline(market, Decimal(index), as_of_ns, *(Decimal(one) if one else None for one in more))


def _row(scenario: Scenario, market: str, changes: dict[str, str]) -> StateRow:
    feed = scenario.feeds.get(market) or world.feed_of(market)
    feed.accrue(scenario.now_ns)
    values: dict[str, Any] = {
        "mark_price": feed.mark, "index_price": feed.index, "funding_index": feed.funding
    }  # fmt: skip
    values |= {
        FIELDS[name]: None if text == "none" else Decimal(text) for name, text in changes.items() if name != "event"
    }
    return StateRow(market, scenario.now_ns + world.duration_ns(changes.get("event", "0s")), **values)


def _who(command: Command) -> tuple[str, str]:
    return command.given.get("by", "alice"), command.given.get("why", "a test")


def _scopes(command: Command) -> tuple[str, ...]:
    return tuple(word for word in command.words if word.endswith("-PERP") or word == GLOBAL_SCOPE)


def _act(
    scenario: Scenario, kind: Callable[..., i.Input], command: Command, scopes: tuple[str, ...], **more: object
) -> Iterator[str]:
    actor, reason = _who(command)
    return scenario.tell(scenario.take(kind(scenario.now_ns, scopes, actor, reason, **more)))

"""The language of the scenarios: blocks of commands, a line of dashes, and what the core answers to them.

    # why this is tested
    10:00:00 steady until=10:01:00
    10:01:00 observe funding=0
    check short
    ----
    BTC-USD-PERP: observation of exchange rejected
      funding_jump: ...

A command is `[TIME] NAME words key=value`; without a time it happens at the time of the one before. The exchange and
the venues are simulated by `world.Feed`: `steady` publishes every second what is honest, `observe` the same with the
values given replaced (`none`: not given), so every number in a scenario is there because it matters.
A scenario runs the rules of version 0.2; a later one runs in it once a `policy` line names one of its parameters, so a
new rule adds no line to the scenarios of others. That it turns none of their answers is a test of its own.
UPDATE_SCENARIOS=1 writes what the core answers now; read the diff as a change of the specification.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

from tests.core import scenario_operators, world
from tests.core.scenario_commands import Command, Scenario

DASHES = "----"

COMMANDS: dict[str, Callable[[Scenario, Command], Iterator[str]]] = {
    "policy": Scenario.policy,
    "feed": Scenario.feed,
    "steady": Scenario.steady,
    "observe": Scenario.observe,
    "redeliver": Scenario.redeliver,
    "references": Scenario.references,
    "reference": Scenario.reference,
    "check": Scenario.check,
    "order": Scenario.order,
    "phase": Scenario.phase,
    "halt": scenario_operators.halt,
    "resume": scenario_operators.resume,
    "reset": scenario_operators.reset,
    "begin": scenario_operators.begin,
    "validate": scenario_operators.validate,
    "end": scenario_operators.end,
    "rebaseline": scenario_operators.rebaseline,
    "restart": Scenario.restart,
    "tick": Scenario.tick,
    "status": Scenario.status,
}


def answers(scenario: Scenario, line: str) -> Iterator[str]:
    """Carry out one line and return what the core answers."""
    words = shlex.split(line, comments=True)
    if words[0][0].isdigit():
        scenario.now_ns = world.at(words.pop(0))
    given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    command = Command([word for word in words[1:] if "=" not in word], given)
    yield from COMMANDS[words[0]](scenario, command)


def rewritten(text: str, *, later: bool = False) -> str:
    """Return a scenario with every answer as the core gives it now. Comments and commands stay as they are.

    `later`: with all rules that came after version 0.2, not only those of which the scenario names a parameter.
    """
    scenario = Scenario(later=later)
    return "\n\n".join(_block(scenario, block) for block in text.strip("\n").split("\n\n")) + "\n"


def _block(scenario: Scenario, block: str) -> str:
    asked, dashes, _ = block.partition(f"\n{DASHES}")
    lines = [line for line in asked.splitlines() if not line.startswith("#")]
    if lines and not dashes:
        raise ValueError(f"commands without a line of dashes below them: {lines}")
    told = [answer for line in lines for answer in answers(scenario, line)]
    return "\n".join([asked, DASHES, *told]) if dashes else asked

"""The bundled incident played to a real guard over gRPC: the report from its journal has the true amounts."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from circuit_guard.cli.demo import StoryClock, _play, _settings
from circuit_guard.config.settings import JournalSettings
from circuit_guard.engine.clock import SystemClock
from circuit_guard.recording.file import read_recording
from circuit_guard.report.closures import CENT
from circuit_guard.report.incident import read_incident
from circuit_guard.runtime.app import build
from tests.report.recorded import BUNDLED, ROOT, WINDOW, losses

FAST = 10_000.0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["enforced", "shadow"])
async def test_incident_when_played_to_a_real_guard_then_its_journal_tells_the_truth(tmp_path: Path, mode: str) -> None:
    text = (ROOT / "config" / "policy.toml").read_text()
    policy = tmp_path / "policy.toml"
    policy.write_text(text.replace("shadow = false", "shadow = true", 1) if mode == "shadow" else text)
    entries = list(read_recording(BUNDLED).entries())
    settings = _settings(policy, FAST).model_copy(update={"journal": JournalSettings(directory=tmp_path / "state")})
    clock = StoryClock(SystemClock(), entries[0].at_ns, FAST)

    async with build(settings, clock).running() as app:
        await _play(Console(quiet=True), entries, app, clock)

    incident = read_incident(tmp_path / "state", WINDOW)
    found = incident.wrongful_allowed if mode == "shadow" else incident.wrongful_denied
    told = {closure.ask.check.account_id: closure.loss.quantize(CENT) for closure in found}
    assert told == {account_id: loss.quantize(CENT) for account_id, loss in losses().items()}
    assert (incident.wrongful_denied if mode == "shadow" else incident.wrongful_allowed) == []
    assert incident.evidence.different == 0

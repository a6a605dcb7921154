"""Write examples/incident_report: the report of the bundled incident, enforced and in shadow. `--check` only compares.

The journal is the one that a guard would have kept that had been there:

    circuit-guard replay examples/incident.jsonl.gz --policy config/policy.toml --journal-out state
    circuit-guard incident report --from 2026-01-19T04:27:00Z --to 2026-01-19T04:42:00Z --journal state

In shadow the policy has `shadow = true`. Digests, the policy's revision and the version are not compared: they change
with every field that the journal gains, and say nothing of the incident.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from circuit_guard.config.policy import parse_policy_file
from circuit_guard.recording.replay import record_replay
from circuit_guard.report.document import html, markdown
from circuit_guard.report.evidence import Window
from circuit_guard.report.exports import ledger
from circuit_guard.report.incident import Incident, read_incident
from circuit_guard.report.sections import compose

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples" / "incident_report"
RECORDING = ROOT / "examples" / "incident.jsonl.gz"
POLICY = ROOT / "config" / "policy.toml"
MINUTE_NS = 60_000_000_000
WINDOW = Window(1_768_796_820 * 1_000_000_000, 1_768_797_720 * 1_000_000_000)
"""04:27 to 04:42 UTC on 19 January 2026."""

_CHANGING = (
    re.compile(r"\b[0-9a-f]{64}\b"),
    re.compile(r"(?<=policy \| )[0-9a-f]{12}|(?<=policy</td><td>)[0-9a-f]{12}"),
    re.compile(r"(?<=circuit_guard \| )[0-9][^ <]*|(?<=circuit_guard</td><td>)[0-9][^ <]*"),
)


def main(arguments: list[str]) -> int:
    """Write or compare; return the exit code."""
    made = {path: text for mode in ("enforced", "shadow") for path, text in texts(mode).items()}
    if arguments != ["--check"]:
        for path, text in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in made.items() if not path.is_file() or constant(path.read_text()) != constant(text)]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is out of date: run python scripts/generate_incident_report.py")
    return 1 if stale else 0


def texts(mode: str) -> dict[Path, str]:
    """Return the files of one mode, by their paths."""
    incident = recorded(shadow=mode == "shadow")
    document = compose(incident)
    forms = {"report.md": markdown(document), "report.html": html(document), "ledger.csv": ledger(incident)}
    return {EXAMPLES / mode / name: text for name, text in forms.items()}


def recorded(*, shadow: bool) -> Incident:
    """Return the bundled incident, as the journal of a guard under the bundled policy tells it."""
    text = POLICY.read_text()
    text = text.replace("shadow = false", "shadow = true", 1) if shadow else text
    with TemporaryDirectory() as directory:
        asyncio.run(record_replay(RECORDING, parse_policy_file(text, "policy.toml"), Path(directory)))
        return read_incident(Path(directory), WINDOW)


def constant(text: str) -> str:
    """Return a file without what changes although the incident does not."""
    for changing in _CHANGING:
        text = changing.sub("...", text)
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

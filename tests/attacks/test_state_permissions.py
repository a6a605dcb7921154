"""State directories, journals and exports that others could have written, or could read."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from circuit_guard.cli.state_dump import write
from circuit_guard.journal.anchor import ANCHOR_NAME
from circuit_guard.journal.errors import JournalUnusable
from circuit_guard.journal.export import export_json_lines
from circuit_guard.journal.journal import Journal
from circuit_guard.journal.options import JournalOptions
from circuit_guard.journal.place import LOCK_NAME
from circuit_guard.journal.reader import JOURNAL_NAME
from circuit_guard.recording.file import _sink
from tests.driver import START_NS


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state directory that a guard has left."""
    directory = tmp_path / "state"
    Journal(directory, START_NS, JournalOptions()).close()
    return directory


def as_symlink(path: Path) -> None:
    real = path.with_name(f"{path.name}-elsewhere")
    path.rename(real)
    path.symlink_to(real)


def mode(value: int) -> Callable[[Path], None]:
    return lambda path: path.chmod(value)


BAD: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "directory, group": ("", mode(0o775), r"mode 0775, expected 0700 or 0755.*chmod go-w .*state"),
    "directory, others": ("", mode(0o757), "mode 0757"),
    "directory, as /tmp": ("", mode(0o1777), "mode 1777"),
    "directory, a symlink": ("", as_symlink, "is a symlink.*state-elsewhere"),
    "journal, group": (JOURNAL_NAME, mode(0o660), r"mode 0660, expected 0600 or 0644.*chmod go-w .*journal\.db"),
    "journal, others": (JOURNAL_NAME, mode(0o606), "mode 0606"),
    "journal, a symlink": (JOURNAL_NAME, as_symlink, "is a symlink"),
    "anchor, others": (ANCHOR_NAME, mode(0o602), "mode 0602"),
    "anchor, a symlink": (ANCHOR_NAME, as_symlink, "symlink|cannot be read"),
    "lock, others": (LOCK_NAME, mode(0o666), "mode 0666"),
    "lock, a symlink": (LOCK_NAME, as_symlink, "cannot be locked"),
}


@pytest.mark.parametrize("case", BAD)
def test_state_when_others_could_have_written_it_then_the_guard_does_not_go_on_from_it(state: Path, case: str) -> None:
    name, spoil, said = BAD[case]
    spoil(state / name if name else state)

    with pytest.raises(JournalUnusable, match=said):
        Journal(state, START_NS, JournalOptions())


@pytest.mark.parametrize("value", [0o700, 0o755, 0o750, 0o2775, 0o2770, 0o2777])
def test_state_when_its_directory_is_as_systemd_docker_or_kubernetes_make_it_then_it_is_used(
    state: Path, value: int
) -> None:
    state.chmod(value)
    if value & stat.S_ISGID:  # the kubelet gives the group all files of a volume that it mounts anew
        for name in (JOURNAL_NAME, ANCHOR_NAME, LOCK_NAME):
            (state / name).chmod(0o660)

    Journal(state, START_NS, JournalOptions()).close()


def test_state_when_a_volume_s_file_is_writable_by_all_then_it_is_refused(state: Path) -> None:
    state.chmod(0o2775)
    (state / JOURNAL_NAME).chmod(0o666)

    with pytest.raises(JournalUnusable, match="mode 0666, expected 0660 or less"):
        Journal(state, START_NS, JournalOptions())


EXPORTS: dict[str, Callable[[Path], object]] = {
    "journal export": lambda path: export_json_lines((), path),
    "state dump": lambda path: write((), path),
    "recording": lambda path: _recorded(path),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_export_when_it_is_written_then_only_its_owner_can_read_it(tmp_path: Path, case: str) -> None:
    path = tmp_path / "export.jsonl"
    EXPORTS[case](path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("case", ["journal export", "recording"])
def test_export_when_somebody_has_put_a_symlink_where_it_is_written_then_what_that_names_stays(
    tmp_path: Path, case: str
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "export.jsonl.partial").symlink_to(victim)
    (tmp_path / "export.jsonl").symlink_to(victim)
    EXPORTS[case](tmp_path / "export.jsonl")

    assert victim.read_text() == "mine"
    assert not (tmp_path / "export.jsonl").is_symlink()


def _recorded(path: Path) -> None:
    with _sink(path) as file:
        file.write(b"{}\n")

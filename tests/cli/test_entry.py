"""The entry of the command: the version without the rest of it, and everything else as the command line has it."""

from __future__ import annotations

import pytest

from circuit_guard import __version__
from circuit_guard.__main__ import main


def test_version_when_asked_for_then_it_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["circuit-guard", "--version"])

    main()

    assert capsys.readouterr().out == f"circuit-guard {__version__}\n"


def test_command_when_it_is_unknown_then_the_command_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["circuit-guard", "allow-everything"])

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 2
    assert "allow-everything" in capsys.readouterr().err

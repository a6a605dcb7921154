"""The account of a question as a file: one JSON object, as `account` in a recording.

{"collateral": "1000", "positions": [{"market": "BTC-USD-PERP", "size": "0.5", "entry_price": "94000",
"cached_funding_index": "20500", "maintenance_margin_fraction": "0.01"}]}
"""

from __future__ import annotations

from pathlib import Path

from circuit_guard.cli.output import CommandError, ExitCode
from circuit_guard.core.inputs import Account
from circuit_guard.recording.format import FieldError, decode, read_account

BYTES_MAX = 1024 * 1024


def read_file(file: Path) -> Account:
    """Return the account that a file holds. Raise CommandError for the first thing wrong in it."""
    try:
        return read_account(decode(_text(file)), "")
    except OSError as error:
        problem = f"cannot be read ({error.strerror}), expected an account as JSON"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 at byte {error.start + 1}, expected text in UTF-8"
    except FieldError as error:
        problem = str(error)
    raise CommandError(f"{file}: {problem}", ExitCode.BAD_INPUT)


def _text(file: Path) -> str:
    with file.open("rb") as opened:
        data = opened.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise FieldError(f"is larger than {BYTES_MAX} bytes, expected one account")
    return data.decode("utf-8-sig").strip()

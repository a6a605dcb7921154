"""`check --account-file`: what trusted values say of an account, and files that cannot be used."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import BTC, ETH, INDEX, PRICE, Guard, run

HONEST = ("check", "--market", BTC, "--size", "-0.5", "--mark", PRICE, "--funding-index", INDEX)
DECIMAL = 'a decimal as a string, such as "92600.1", of at most 40 digits and within 1e-30 .. 1e30'
REMOVED = object()
ACCOUNT: dict[str, Any] = {
    "collateral": "1000",
    "positions": [
        {
            "market": BTC,
            "size": "0.5",
            "entry_price": "94000",
            "cached_funding_index": "20500",
            "maintenance_margin_fraction": "0.01",
        }
    ],
}
"""Its surplus is 1000 + 0.5 * (92610 - 94000) - 463.05 - 0.5 * 11.934207715, -164.017 before any more funding."""


def changed(path: str, value: object) -> str:
    """Return the account as JSON with one field set to a value, or removed."""
    account = copy.deepcopy(ACCOUNT)
    *parents, key = [int(part) if part.isdigit() else part for part in path.split(".")]
    body: Any = account
    for parent in parents:
        body = body[parent]
    if value is REMOVED:
        del body[key]
    else:
        body[key] = value
    return json.dumps(account, indent=2)


def written(folder: Path, content: str | bytes) -> str:
    """Return the name of a file with this content."""
    file = folder / "account.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(file)


def loss_line(output: str) -> str:
    [line] = [line.strip() for line in output.splitlines() if line.startswith("  loss ")]
    return line.removeprefix("loss").strip()


def test_check_when_the_account_is_under_water_then_both_bounds_are_in_words(guard: Guard, tmp_path: Path) -> None:
    guard.observe(times=3)

    result = guard.run(*HONEST, "--account-file", written(tmp_path, json.dumps(ACCOUNT)))

    said = re.fullmatch(
        r"EXPLAINED: under water at every admissible value, by at least (\S+) and at most (\S+)",
        loss_line(result.stdout),
    )
    assert said is not None, result.stdout
    assert 150 < float(said[1]) < 164.017 < float(said[2]) < 178
    assert result.exit_code == 0


def test_check_when_the_account_is_healthy_then_it_is_unexplained(guard: Guard, tmp_path: Path) -> None:
    guard.observe(times=3)

    result = guard.run(*HONEST, "--account-file", written(tmp_path, changed("collateral", "90000")))

    assert loss_line(result.stdout).startswith("UNEXPLAINED: healthy at every admissible value, by at least 888")


def test_check_when_the_margin_is_an_amount_in_a_file_with_a_mark_of_its_encoding_then_it_counts(
    guard: Guard, tmp_path: Path
) -> None:
    guard.observe(times=3)
    account = json.loads(changed("positions.0.maintenance_margin_fraction", REMOVED))
    account["positions"][0]["maintenance_margin"] = "4000"
    content = b"\xef\xbb\xbf\n" + json.dumps(account).encode() + b"\n"

    result = guard.run(*HONEST, "--account-file", written(tmp_path, content))

    assert loss_line(result.stdout).startswith("EXPLAINED: under water at every admissible value, by at least 370")


def test_check_when_a_market_of_the_account_is_cold_then_it_leaves_it_undecided_and_is_named(
    untouched: Guard, tmp_path: Path
) -> None:
    account = changed("positions.0.market", ETH)

    result = untouched.run(*HONEST, "--account-file", written(tmp_path, account))

    assert loss_line(result.stdout) == (
        "INDETERMINATE: under water by 46000.000 at the worst admissible values, healthy by 47060.000 at the best; "
        f"no value of {ETH} is trusted"
    )
    assert result.exit_code == 1


def test_check_when_asked_for_json_then_the_loss_is_a_part_of_the_document(untouched: Guard, tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps(ACCOUNT))

    given = json.loads(untouched.run(*HONEST, "--account-file", file, "--json").stdout)
    absent = json.loads(untouched.run(*HONEST, "--json").stdout)

    assert given["explained_loss"] == {
        "verdict": "EXPLANATION_INDETERMINATE",
        "low": "-46000.000",
        "high": "47060.000",
        "unknown_markets": [BTC],
    }
    assert "explained_loss" not in absent


FILES = [
    ("", "is not JSON at column 1 (Expecting value), expected one JSON object"),
    ("{\n  x", "is not JSON at line 2, column 3 (Expecting property name enclosed in double quotes), expected one"),
    ("{}\n{}", "has more after its JSON object at line 1, column 3, expected nothing after it"),
    ("[]", "was [], expected one JSON object"),
    ('{"collateral": "1", "collateral": "2"}', 'has the key "collateral" twice, expected each key once'),
    ('{"collateral": NaN}', "holds NaN, expected decimals as strings and finite"),
    (b"{\xff}", "is not UTF-8 at byte 2, expected text in UTF-8"),
    (b" " * (1024 * 1024 + 1), "is larger than 1048576 bytes, expected one account"),
    ("{}", f"collateral is missing, expected {DECIMAL}"),
    (changed("collateral", 1000), f"collateral was 1000, expected {DECIMAL}"),
    (changed("collateral", ""), f'collateral was "", expected {DECIMAL}'),
    (changed("equity", "1"), '"equity" is not a field, expected only assets, collateral, positions'),
    (changed("positions", REMOVED), "positions is missing, expected a list of JSON objects"),
    (changed("positions.0", "x"), 'positions was ["x"], expected a list of JSON objects'),
    (changed("positions.0.market", ""), 'positions[0].market was "", expected a string of 1 to 128 printable'),
    (changed("positions.0.size", "0"), 'positions[0].size was "0", expected a signed amount in base units, not zero'),
    (changed("positions.0.entry_price", None), f"positions[0].entry_price was null, expected {DECIMAL}"),
    (
        changed("positions.0.cached_funding_index", REMOVED),
        f"positions[0].cached_funding_index is missing, expected {DECIMAL}",
    ),
    (
        changed("positions.0.maintenance_margin_fraction", "1 %"),
        f'positions[0].maintenance_margin_fraction was "1 %", expected {DECIMAL}',
    ),
    (
        changed("positions.0.maintenance_margin_fraction", REMOVED),
        "positions[0].maintenance_margin_fraction is missing, expected a share of the notional from 0 to 1, or",
    ),
    (
        changed("positions.0.maintenance_margin", "463"),
        'positions[0].maintenance_margin was "463", expected none where maintenance_margin_fraction is given',
    ),
    (changed("positions.0.leverage", "2"), '"positions[0].leverage" is not a field, expected only'),
]


@pytest.mark.parametrize(("content", "problem"), FILES, ids=range(len(FILES)))
def test_check_when_the_file_cannot_be_used_then_nothing_is_asked_and_the_field_is_named(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    file = written(tmp_path, content)

    result = run(*HONEST, "--account-file", file, "--address", "127.0.0.1:1")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"circuit-guard: {file}: {problem}")


def test_check_when_there_is_no_such_file_then_it_says_so(tmp_path: Path) -> None:
    for file, why in ((tmp_path / "none.json", "No such file or directory"), (tmp_path, "Is a directory")):
        result = run(*HONEST, "--account-file", str(file), "--address", "127.0.0.1:1")

        assert result.exit_code == 2
        assert result.stderr == f"circuit-guard: {file}: cannot be read ({why}), expected an account as JSON\n"


def test_check_when_one_side_of_a_market_stands_twice_in_the_file_then_nothing_is_asked(
    untouched: Guard, tmp_path: Path
) -> None:
    account = {**ACCOUNT, "positions": ACCOUNT["positions"] * 2}

    result = untouched.run(*HONEST, "--account-file", written(tmp_path, json.dumps(account)))

    assert result.exit_code == 2
    refused = f'positions[1].market was "{BTC}", expected at most one long and one short per market\n'
    assert result.stderr.endswith(f"account.json: {refused}")


def test_check_when_the_account_is_long_and_short_in_one_market_then_it_is_answered(
    untouched: Guard, tmp_path: Path
) -> None:
    long = ACCOUNT["positions"][0]
    account = {**ACCOUNT, "positions": [long, {**long, "size": "-0.1"}]}

    result = untouched.run(*HONEST, "--account-file", written(tmp_path, json.dumps(account)))

    assert result.exit_code in (0, 1)
    assert "was" not in result.stderr

"""`policy explain`: what the policy of a market cannot see, in sentences, tables and JSON."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from circuit_guard.config.policy import load_policy
from tests.cli.running import BTC, PAXG, run

BUNDLED = str(Path(__file__).parent.parent.parent / "config" / "policy.toml")


def test_policy_explain_when_the_market_is_unknown_then_the_known_ones_are_named() -> None:
    result = run("policy", "explain", "D", BUNDLED)

    assert result.exit_code == 2
    assert result.stderr.startswith(f"circuit-guard: market was D, expected one that the policy names: {BTC}, ")
    assert "meant" not in result.stderr


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the rows of the tables in a text by their first cell."""
    rows = (re.split(" {2,}", line) for line in text.splitlines())
    return {first: rest for first, *rest in rows if rest}


def test_policy_explain_when_no_policy_is_given_then_the_bundled_one_is_explained() -> None:
    result = run("policy", "explain", BTC)

    rows = rows_of(result.stdout)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"{BTC}: class major of {BUNDLED}, revision {load_policy(Path(BUNDLED)).revision}\n"
    )
    assert rows["5 s ago"] == ["0.0007293 %", "0.001076 %", "0.00001042 %"]
    assert rows["8 h ago"] == ["3 %", "5 %", "not predicted"]
    assert rows["the mark price, while the reference price stands still"] == ["1 %", "0.2026 %"]
    assert rows["the engine's own sums: its formula and its additions"] == ["any size", "0.2026 %"]
    assert rows["the references, if most are wrong in the same way"] == ["any size", "any size"]
    assert rows["1 %"] == ["3 %", "23 %", "2.2 %"]
    assert rows["a funding index that jumps"] == ["funding_continuity", "at once", "latches at once"]
    assert rows["a caller's mark price 1 % off the published ones, or a wrong funding index of a caller"][1:] == [
        "at once",
        "after 30 s, with 3 of them",
    ]
    assert "if 2 of 3 fresh ones (the quorum) are wrong in the same way, they are the reference price" in result.stdout


def test_policy_explain_when_a_price_is_given_then_amounts_are_shown_as_well() -> None:
    result = run("policy", "explain", PAXG, BUNDLED, "--price", "4670")

    rows = rows_of(result.stdout)
    assert rows["the mark price, while the reference price stands still"] == ["0.5 % (23.35)", "0.1065 % (4.97404)"]
    assert rows["the same in POST_ONLY"] == ["0.05 % (2.335)", "0.05 % (2.335)"]


def test_policy_explain_when_asked_for_json_then_every_figure_is_exact() -> None:
    document = json.loads(run("policy", "explain", PAXG, BUNDLED, "--price", "4670", "--json").stdout)

    assert (document["market"], document["class"], document["price"]) == (PAXG, "pegged", "4670")
    assert document["revision"] == load_policy(Path(BUNDLED)).revision
    assert [row["elapsed_s"] for row in document["funding"]] == [5, 60, 600, 3600, 28_800]
    assert document["funding"][0]["jump_beyond"] == {"share": "0.000018230167", "amount": "0.0851349"}
    assert document["funding"][2]["unpredicted_beyond"] is None
    assert document["mark"][0]["denied_beyond"] == {"share": "0.005", "amount": "23.35"}
    assert document["references"] == {"quorum": 3, "wrong_alike_that_decide": 2}
    taken = {what: entry["share"] for what, entry in document["taken_in_an_hour"].items()}
    assert (taken["funding_premium_wrong"], taken["execution_price"]) == ("0.0008", "0.1")
    assert Decimal(taken["together"]) == sum(
        Decimal(taken[one]) for one in ("funding_unpublished", "closure_with_account", "execution_price")
    )
    unseen = {row["what"]: row for row in document["unseen"]}
    assert unseen["engine_sums"]["without_account"] is None
    assert unseen["execution_price"]["with_account"] == {"share": "0.1", "amount": "467"}
    delays = {row["rule"]: row for row in document["delays"]}
    assert (delays["slow_walk"]["trips_after_s"], delays["slow_walk"]["enforced"]) == (110, True)
    assert delays["unexplained_burst"]["trips_count"] == 100
    assert all(note.endswith(".") for note in document["notes"])


def test_policy_explain_when_less_is_enforced_then_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        "[guard]\nshadow = true\n[global_breaker]\nlatched_markets_min = 1\n[classes.default]\n[markets.M]\n"
        'shadow_rules = ["divergence"]\nbasis.required = false\nband.post_only_closures = "denied"\n'
        'funding.gap_mode = "freeze"\nslow_walk.trip_after_s = 0\nburst.accounts = 0\n'
        'references = { sources = ["a", "b", "c"] }\nfirst_sight = "operator"\n'
        'explained_loss = { deny = false, halted = "allow_explained" }\n'
    )

    text = run("policy", "explain", "M", str(path)).stdout

    rows = rows_of(text)
    assert text.splitlines()[1] == "SHADOW: none of this is enforced"
    assert rows["the mark price, while the reference price stands still"] == ["any size", "any size"]
    assert rows["the same in POST_ONLY"] == ["nothing passes", "nothing passes"]
    assert rows["its surplus: closed by a check with its account"] == ["any size"]
    assert rows["an execution price more than 10 % away"] == ["divergence", "in shadow: recorded only"]
    for what in ("liquidations in any number", "a mark price that the reference price never comes"):
        assert next(row for first, row in rows.items() if first.startswith(what))[1:] == ["never", "never"]
    for sentence in (
        "In shadow, so recorded and not enforced: divergence.",
        "No closure is denied because its account is healthy",
        "a closure passes if its check carries the account",
        "5 per second at first, 50 after 300 s",
        "A caller may leave out what it computed with",
        "After a gap of more than 30 s in the published data, every step is a jump.",
        "A wrong mark price may last",
        "The policy names 3 sources.",
    ):
        assert sentence in text
    assert "first_sight" not in text


@pytest.mark.parametrize("price", ["x", "0", "-1", "NaN", "1e99"])
def test_policy_explain_when_the_price_cannot_be_one_then_it_is_refused(price: str) -> None:
    result = run("policy", "explain", BTC, BUNDLED, "--price", price)

    assert result.exit_code == 2
    assert f"--price was {price}, expected a price above zero" in result.stderr


def test_policy_explain_when_the_policy_is_broken_then_it_is_not_explained(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("[classes.default]\ntypo = 1\n")

    result = run("policy", "explain", BTC, str(path))

    assert (result.exit_code, result.stdout) == (1, "")

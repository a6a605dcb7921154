"""Candles and funding rates become a recording: the path, the accrual, the references, the gaps."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuit_guard.config.policy import PolicyFile
from circuit_guard.core.inputs import Observation, Reference
from circuit_guard.core.types import SECOND_NS
from circuit_guard.recording.candles import CandleOptions, Gap, accrued, candle_path, from_candles
from circuit_guard.recording.file import write_recording
from circuit_guard.recording.format import Entry, parse_time_ns
from circuit_guard.recording.history import Candle
from circuit_guard.recording.replay import replay_file

BTC, ETH = "BTC-USD-PERP", "ETH-USD-PERP"
HEADING = "market,t,open,high,low,close,volume"
MINUTE_NS = 60 * SECOND_NS


def written(path: Path, heading: str, rows: Iterable[str]) -> Path:
    path.write_text("\n".join([heading, *rows]) + "\n")
    return path


def minutes(market: str, *numbers: int) -> list[str]:
    return [f"{market},2026-01-19T04:{number:02d}:00Z,100,104,99,101,5" for number in numbers]


def observed(entries: Iterable[Entry], market: str = BTC) -> list[Observation]:
    return [entry for entry in entries if isinstance(entry, Observation) and entry.market == market]


def start_ns(minute: int) -> int:
    return parse_time_ns(f"2026-01-19T04:{minute:02d}:00Z") or 0


def test_path_when_low_is_nearer_then_goes_open_low_high_close() -> None:
    candle = Candle(BTC, 0, *map(Decimal, ("100", "106", "97", "103")))
    assert [str(price) for price in candle_path(candle, 6)] == ["100", "98.5", "97", "101.5", "106", "104.5"]


def test_path_when_high_is_nearer_then_goes_open_high_low_close() -> None:
    candle = Candle(BTC, 0, *map(Decimal, ("100", "102", "90", "93")))
    assert [str(price) for price in candle_path(candle, 3)] == ["100", "102", "90"]


@given(st.lists(st.integers(min_value=1, max_value=10**9), min_size=4, max_size=4), st.integers(3, 60))
def test_path_when_any_candle_then_stays_inside_and_touches_both_extremes(prices: list[int], steps: int) -> None:
    low, open_, close, high = (Decimal(price) / 1000 for price in (min(prices), *prices[1:3], max(prices)))
    path = candle_path(Candle(BTC, 0, open_, high, low, close), steps)
    assert len(path) == steps
    assert path[0] == open_
    assert {low, high} <= set(path)
    assert all(low <= price <= high for price in path)


def test_import_when_two_markets_then_steps_in_time_order_with_three_derived_references(tmp_path: Path) -> None:
    prices = written(tmp_path / "p.csv", HEADING, [*minutes(ETH, 0, 1), *minutes(BTC, 0, 1)])
    made = from_candles(prices, None, CandleOptions())
    entries = list(made.entries)
    assert entries == sorted(entries, key=lambda entry: entry.at_ns)
    counts = Counter((type(entry).__name__, entry.source) for entry in entries if not hasattr(entry, "phase"))  # type: ignore[union-attr]
    assert counts == {
        ("Observation", "exchange"): 50,
        ("Reference", "derived-a"): 50,
        ("Reference", "derived-b"): 50,
        ("Reference", "derived-c"): 50,
    }
    assert made.gaps == ()
    assert list(made.header.markets) == [ETH, BTC]
    assert "they cannot show a divergence" in made.header.description
    assert "no funding" in made.header.description
    marks = [str(observation.mark_price) for observation in observed(entries)]
    assert marks[:6] == ["100", "99.75", "99.5", "99.25", "99", "100.25"]
    assert (marks[8], marks[12]) == ("104", "100")
    assert (marks[-1], observed(entries)[-1].event_time_ns) == ("101", start_ns(2))
    assert [o.feed_sequence for o in observed(entries)] == list(range(1, 26))


def test_funding_when_rates_are_given_then_the_index_integrates_them(tmp_path: Path) -> None:
    rows = [f"{BTC},2026-01-19T04:0{n}:00Z,100,100,100,100,0" for n in range(3)]
    prices = written(tmp_path / "p.csv", HEADING, rows)
    rates = [f"{BTC},2026-01-18T00:00:00Z,0.03", f"{BTC},2026-01-19T04:01:00Z,-0.0288"]
    funding = written(tmp_path / "f.csv", "Market,T,Rate", rates)
    options = CandleOptions(funding_index_start=Decimal(-7))
    observations = observed(from_candles(prices, funding, options).entries)
    assert observations[0].funding_index == -7
    assert (observations[11].funding_rate, observations[11].funding_premium) == (Decimal("0.03"), Decimal(3))
    assert (observations[12].funding_rate, observations[12].funding_premium) == (Decimal("-0.0288"), Decimal("-2.88"))
    assert observations[12].funding_index == Decimal(-7) + 12 * accrued(Decimal(3), 5 * SECOND_NS, 28_800)
    assert observations[13].funding_index == observations[12].funding_index + Decimal("-0.0005")


def test_gap_when_candles_are_missing_then_is_reported_and_nothing_is_published_in_it(tmp_path: Path) -> None:
    prices = written(tmp_path / "p.csv", HEADING, minutes(BTC, 0, 1, 5, 6))
    made = from_candles(prices, None, CandleOptions())
    assert made.gaps == (Gap(BTC, start_ns(2), start_ns(5)),)
    inside = [o for o in observed(made.entries) if start_ns(2) < o.event_time_ns < start_ns(5)]
    assert inside == []


def test_references_when_files_are_given_then_come_from_them(tmp_path: Path) -> None:
    prices = written(tmp_path / "p.csv", HEADING, minutes(BTC, 0, 1))
    other = written(tmp_path / "o.csv", HEADING, [row.replace(",100,", ",99.5,") for row in minutes(BTC, 0, 1)])
    later = written(tmp_path / "e.csv", HEADING, minutes(BTC, 1, 2))
    options = CandleOptions(references={"okx": other, "kraken": later})
    made = from_candles(prices, None, options)
    references = [entry for entry in made.entries if isinstance(entry, Reference)]
    assert {reference.source for reference in references} == {"okx", "kraken"}
    assert made.assumed == (
        "e.csv: BTC-USD-PERP is not covered all along: this reference is silent outside its candles",
    )
    assert references[0].price == Decimal("99.5")
    assert made.header.description.endswith("references okx from o.csv, kraken from e.csv")


def test_import_when_repeated_then_writes_the_same_bytes(tmp_path: Path) -> None:
    prices = written(tmp_path / "p.csv", HEADING, [*minutes(BTC, 0, 1, 3), *minutes(ETH, 0, 1)])
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        made = from_candles(prices, None, CandleOptions())
        write_recording(tmp_path / name, made.header, made.entries)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_import_when_replayed_then_the_guard_trusts_all_of_it(tmp_path: Path, policy_file: PolicyFile) -> None:
    rows = [f"{BTC},2026-01-19T04:{n:02d}:00Z,{100 + n},{102 + n},{99 + n},{101 + n},1" for n in range(10)]
    funding = written(tmp_path / "f.csv", "market,t,rate", [f"{BTC},2026-01-19T00:00:00Z,0.0001"])
    made = from_candles(written(tmp_path / "p.csv", HEADING, rows), funding, CandleOptions())
    path = tmp_path / "recording.jsonl"
    count = write_recording(path, made.header, made.entries)
    result = replay_file(path, policy_file)
    assert (result.inputs, result.trips, result.observations_rejected) == (count, [], {})


@pytest.mark.parametrize("time", ["2026-01-19 04:00:00+00:00", "2026-01-19T04:00:00Z", "1768795200000"])
def test_time_when_written_as_tools_do_then_is_read(tmp_path: Path, time: str) -> None:
    rows = [f"{BTC},{time},100,104,99,101,5", *minutes(BTC, 1)]
    made = from_candles(written(tmp_path / "p.csv", HEADING, rows), None, CandleOptions())
    assert next(iter(made.entries)).at_ns == start_ns(0) + SECOND_NS // 5


def test_parquet_when_it_holds_the_same_rows_then_makes_the_same_recording(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    arrow_csv = pytest.importorskip("pyarrow.csv")
    prices = written(tmp_path / "p.csv", HEADING, minutes(BTC, 0, 1, 2))
    parquet.write_table(arrow_csv.read_csv(prices), tmp_path / "p.parquet")
    from_csv = list(from_candles(prices, None, CandleOptions()).entries)
    assert list(from_candles(tmp_path / "p.parquet", None, CandleOptions()).entries) == from_csv


@pytest.mark.system
def test_real_candles_when_they_are_here_then_become_a_recording_the_guard_trusts(
    tmp_path: Path, shared_data: Path, policy_file: PolicyFile
) -> None:
    prices, funding = real_day(shared_data, tmp_path)
    made = from_candles(prices, funding, CandleOptions(funding_index_start=Decimal("596.5")))
    path = tmp_path / "recording.jsonl.gz"
    write_recording(path, made.header, made.entries)
    result = replay_file(path, policy_file)
    assert (result.trips, result.references_rejected) == ([], {})
    assert result.observations_rejected.keys() <= {"mark_divergence"}  # derived references lag in a crash
    assert result.observations_rejected.total() < result.inputs / 1000


def real_day(shared_data: Path, folder: Path) -> tuple[Path, Path]:
    """Return two hours of real minutes round a crash, and their funding rates, as CSV files."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    wanted = [("event", "=", "2024-08-05"), ("market", "in", ["BTC", "ETH"])]
    rows = parquet.read_table(shared_data / "candles.parquet", filters=wanted).to_pylist()
    prices, funding = folder / "prices.csv", folder / "funding.csv"
    with prices.open("w", newline="") as price_file, funding.open("w", newline="") as funding_file:
        price_rows, funding_rows = csv.writer(price_file), csv.writer(funding_file)
        price_rows.writerow(["market", "t", "open", "high", "low", "close"])
        funding_rows.writerow(["market", "t", "rate"])
        for row in rows:
            if row["kind"] == "spot_1m" and (row["t"].day, row["t"].hour) in ((5, 0), (5, 1)):
                price_rows.writerow([row[key] for key in ("market", "t", "open", "high", "low", "close")])
            if row["kind"] == "funding":
                funding_rows.writerow([row["market"], row["t"], row["close"]])
    return prices, funding


FORMS = {
    "as ours": ("t", lambda minute: f"2026-01-19T04:{minute:02d}:00Z", ()),
    "seconds": ("timestamp", lambda minute: f"{1768795200 + 60 * minute}", ("times are seconds since 1970",)),
    "milliseconds": ("open_time", lambda minute: f"{1768795200 + 60 * minute}000", ()),
    "microseconds": (
        "Time",
        lambda minute: f"{1768795200 + 60 * minute}000000",
        ("times are microseconds since 1970",),
    ),
    "naive": ("date", lambda minute: f"2026-01-19 04:{minute:02d}:00", ("times name no zone: taken for UTC",)),
    "with an offset": ("t", lambda minute: f"2026-01-19 04:{minute:02d}:00+00:00", ()),
}


@pytest.mark.parametrize(("column", "written_as", "assumed"), FORMS.values(), ids=FORMS)
def test_candles_when_times_are_as_people_have_them_then_they_are_read_and_what_was_assumed_is_said(
    tmp_path: Path, column: str, written_as: Callable[[int], str], assumed: tuple[str, ...]
) -> None:
    rows = [f"{written_as(minute)},100,104,99,101" for minute in range(3)]
    made = from_candles(
        written(tmp_path / "p.csv", f"{column},open,high,low,close", rows), None, CandleOptions(market=BTC)
    )
    assert observed(made.entries)[0].event_time_ns == start_ns(0)
    assert made.assumed == tuple(f"p.csv: {sentence}" for sentence in assumed)


def test_candles_when_pages_overlap_newest_first_with_blank_lines_then_each_is_taken_once_in_order(
    tmp_path: Path,
) -> None:
    rows = [*minutes(BTC, 3, 2), "", *minutes(BTC, 2, 1, 0), ""]
    made = from_candles(written(tmp_path / "p.csv", HEADING, rows), None, CandleOptions())
    plain = from_candles(written(tmp_path / "q.csv", HEADING, minutes(BTC, 0, 1, 2, 3)), None, CandleOptions())
    assert list(made.entries) == list(plain.entries)
    assert made.assumed == (
        "p.csv: the rows of BTC-USD-PERP are not in time order: sorted",
        "p.csv: 1 row of BTC-USD-PERP repeated with the same values: taken once",
    )


def test_candles_when_the_file_has_no_heading_and_is_compressed_then_the_usual_columns_are_taken(
    tmp_path: Path,
) -> None:
    path = tmp_path / "BTCUSDT-1m.csv.gz"
    rows = [f"{1768795200 + 60 * minute}000,100,104,99,101,5,0" for minute in range(2)]
    path.write_bytes(gzip.compress("\n".join(rows).encode()))
    made = from_candles(path, None, CandleOptions(market=BTC))
    assert made.assumed == (
        f"{path.name}: there is no heading: the first columns are taken for t, open, high, low, close",
    )
    assert observed(made.entries)[0].mark_price == 100


def test_candles_when_they_are_of_one_second_then_fifteen_make_one(tmp_path: Path) -> None:
    rows = [f"{BTC},{1768795200 + second},100,{104 + second},{99 - second},101" for second in range(30)]
    made = from_candles(written(tmp_path / "p.csv", HEADING.removesuffix(",volume"), rows), None, CandleOptions())
    prices = [observation.mark_price for observation in observed(made.entries)]
    assert "p.csv: candles of 1 s are put together to 15 s, three steps each" in made.assumed
    assert prices == [100, 85, 118, 100, 70, 133, 101]


@pytest.mark.parametrize(
    ("apart_h", "given_s", "period_s"), [(8, None, 28_800), (1, None, 3_600), (4, None, 14_400), (1, 28_800, 28_800)]
)
def test_funding_when_no_period_is_given_then_it_is_how_far_the_rates_are_apart(
    tmp_path: Path, apart_h: int, given_s: int | None, period_s: int
) -> None:
    prices = written(tmp_path / "p.csv", HEADING, minutes(BTC, 0, 1))
    rates = [f"{BTC},2026-01-19T{hour:02d}:00:00Z,0.0001" for hour in range(0, 24, apart_h)]
    made = from_candles(
        prices, written(tmp_path / "f.csv", "market,t,rate", rates), CandleOptions(funding_period_s=given_s)
    )
    assert made.header.funding_period_s == period_s
    assert bool(made.assumed) == (given_s is None)

"""Write the dashboards in config/grafana. `--check` only compares.

The overview shows every market, `circuit-guard-market` one of them. Both read the recording rules of config/prometheus.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    GraphGradientMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FOLDER = Path(__file__).parent.parent / "config" / "grafana"
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HELD = 'market=~"$market|GLOBAL"'
MARKET = 'market=~"$market"'
COLUMNS = 24

Query = tuple[str, str]
P = TypeVar("P", stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)
"""PromQL, and how its series are called."""

STATES = (
    ("flowing", "green"),
    ("ramp", "light-green"),
    ("in the band", "light-yellow"),
    ("no closures in this phase", "blue"),
    ("tripped", "orange"),
    ("latched", "red"),
    ("halted by an operator", "purple"),
)
"""What the values of circuit_guard:closures_state:market mean, from 0 on."""


def overview() -> dashboard.Dashboard:
    """Return the dashboard of all markets."""
    return (
        _dashboard("circuit-guard-overview", "circuit_guard: overview", all_markets=True)
        .with_panel(
            _stat("Markets held", 'count(circuit_guard:closures_state:market{market!="GLOBAL"} >= 3) or vector(0)')
        )
        .with_panel(_stat("GLOBAL", 'max(circuit_guard:closures_state:market{market="GLOBAL"})', states=True))
        .with_panel(_stat("Accounts that should be closed and wait", "sum(circuit_guard_held_closures)"))
        .with_panel(_stat("Margin they lack, at least", "sum(circuit_guard_held_shortfall)", unit="short"))
        .with_panel(_stat("Guards that serve", "sum(circuit_guard_ready)", bad_from=None))
        .with_panel(_stat("Guards in shadow", "sum(circuit_guard_shadow_mode)"))
        .with_panel(_states(f"max by (market) (circuit_guard:closures_state:market{{{HELD}}})", height=9))
        .with_panel(_reasons('scope=~"$market|GLOBAL"'))
        .with_panel(
            _graph(
                "Denied checks per second, by reason",
                [("sum by (reason) (rate(circuit_guard_denials_by_reason_total[$__rate_interval])) > 0", "{{reason}}")],
                unit="ops",
                stacked=True,
            )
        )
        .with_panel(
            _graph(
                "Checks per second, by verdict",
                [
                    (
                        f"sum by (verdict) (rate(circuit_guard_decisions_total{{{MARKET}}}[$__rate_interval]))",
                        "{{verdict}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(
            _graph(
                "Least headroom of a rule",
                [(f"min by (market, rule) (circuit_guard_headroom_ratio{{{MARKET}}}) < 0.5", "{{market}} {{rule}}")],
                unit="percentunit",
                limits=((0.25, "yellow"), (0.10, "red")),
            )
        )
        .with_panel(
            _graph(
                "Age of the trusted data",
                [(f"max by (market) (circuit_guard_data_age_seconds{{{MARKET}}})", "{{market}}")],
                unit="s",
            )
        )
        .with_panel(_graph("Latency, p50 and p99", _latency(), unit="s"))
        .with_panel(
            _graph(
                "Cost of holding: margin lacking, at least, by market",
                [(f"max by (market) (circuit_guard_held_shortfall{{{MARKET}}}) > 0", "{{market}}")],
                unit="short",
                stacked=True,
            )
        )
        .with_panel(
            _graph(
                "Rejected observations and references per second, by reason",
                [
                    (
                        "sum by (input, reason) (rate(circuit_guard_rejections_by_reason_total[$__rate_interval])) > 0",
                        "{{input}} {{reason}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(_graph("Journal and clients", _journal_and_clients(), unit="short"))
    )


def market() -> dashboard.Dashboard:
    """Return the dashboard of one market."""
    return (
        _dashboard("circuit-guard-market", "circuit_guard: one market", all_markets=False)
        .with_panel(_states(f"max by (market) (circuit_guard:closures_state:market{{{HELD}}})", height=5))
        .with_panel(_reasons('scope=~"$market|GLOBAL"'))
        .with_panel(
            _graph(
                "Headroom by rule",
                [(f"min by (rule) (circuit_guard_headroom_ratio{{{MARKET}}})", "{{rule}}")],
                unit="percentunit",
                limits=((0.25, "yellow"), (0.10, "red")),
            )
        )
        .with_panel(
            _graph(
                "Age of the trusted data",
                [(f"max by (kind) (circuit_guard_data_age_seconds{{{MARKET}}})", "{{kind}}")],
                unit="s",
            )
        )
        .with_panel(
            _graph(
                "Checks per second, by kind and verdict",
                [
                    (
                        f"sum by (kind, verdict) (rate(circuit_guard_decisions_total{{{MARKET}}}[$__rate_interval]))",
                        "{{kind}} {{verdict}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(
            _graph(
                "Checks with an account per second, by what trusted values say of its loss",
                [
                    (
                        f"sum by (verdict) (rate(circuit_guard_explained_losses_total{{{MARKET}}}[$__rate_interval]))",
                        "{{verdict}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(
            _graph(
                "Cost of holding",
                [
                    (f"max(circuit_guard_held_closures{{{MARKET}}})", "accounts that wait"),
                    (f"max(circuit_guard_held_shortfall{{{MARKET}}})", "margin they lack, at least"),
                ],
                unit="short",
            )
        )
        .with_panel(
            _graph(
                "For how long it is held, and the ramp",
                [
                    (f"max(circuit_guard_market_held_seconds{{{MARKET}}}) / 60", "minutes held"),
                    (f"100 * min(circuit_guard_market_ramp_ratio{{{MARKET}}})", "ramp, % of the full rate"),
                ],
                unit="short",
            )
        )
        .with_panel(
            _graph(
                "Observations per second, by result",
                [
                    (
                        f"sum by (result) (rate(circuit_guard_observations_total{{{MARKET}}}[$__rate_interval]))",
                        "{{result}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(
            _graph(
                "Fresh references",
                [(f"min(circuit_guard_fresh_references{{{MARKET}}})", "fresh references")],
                unit="short",
                limits=((3, "yellow"), (1, "red")),
            )
        )
        .with_panel(
            _graph(
                "Orders per second, by verdict",
                [
                    (
                        f"sum by (verdict) (rate(circuit_guard_orders_judged_total{{{MARKET}}}[$__rate_interval]))",
                        "{{verdict}}",
                    )
                ],
                unit="ops",
            )
        )
        .with_panel(
            _graph(
                "Fail-open closures, and denials that shadow lets through, per second",
                [
                    (f"sum(rate(circuit_guard_client_fail_open_total{{{MARKET}}}[$__rate_interval]))", "fail-open"),
                    (f"sum(rate(circuit_guard_shadow_denials_total{{{MARKET}}}[$__rate_interval]))", "in shadow"),
                ],
                unit="ops",
            )
        )
    )


def _latency() -> list[Query]:
    timed = (("decision_duration", "decision"), ("client_call_duration", "client"), ("event_loop_lag", "event loop"))
    return [
        (
            f"histogram_quantile({share}, sum by (le) (rate(circuit_guard_{name}_seconds_bucket[$__rate_interval])))",
            f"{called} p{share * 100:.0f}",
        )
        for name, called in timed
        for share in (0.5, 0.99)
    ]


def _journal_and_clients() -> list[Query]:
    unanswered = 'circuit_guard_client_calls_total{outcome=~"unavailable|deadline|error"}'
    return [
        ("max(circuit_guard_journal_queued_records)", "records that wait for the disk"),
        ("sum(increase(circuit_guard_journal_dropped_records_total[$__rate_interval]))", "records dropped"),
        (f"sum(increase({unanswered}[$__rate_interval]))", "checks without an answer"),
        ("sum(increase(circuit_guard_client_fail_open_total[$__rate_interval]))", "fail-open closures"),
    ]


def _dashboard(uid: str, title: str, *, all_markets: bool) -> dashboard.Dashboard:
    """Return an empty dashboard with its variables, its annotations and the link to the other one."""
    markets = (
        dashboard.QueryVariable("market")
        .label("Market")
        .datasource(DATASOURCE)
        .query("label_values(circuit_guard_market_warm, market)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(all_markets)
        .include_all(all_markets)
    )
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["circuit_guard"])
        .time("now-1h", "now")
        .refresh("10s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("circuit_guard")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["circuit_guard"])
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(markets.all_value(".*") if all_markets else markets)
    )
    for name, color, expr in (
        (
            "Policy reloads",
            "blue",
            "changes(circuit_guard_policy_last_reload_success_timestamp_seconds[$__interval]) > 0",
        ),
        (
            "Policies refused",
            "orange",
            'increase(circuit_guard_policy_reloads_total{result="failure"}[$__interval]) > 0',
        ),
        ("Breakers opened", "red", 'increase(circuit_guard_breaker_transitions_total{to="OPEN"}[$__interval]) > 0'),
    ):
        built.annotation(
            dashboard.AnnotationQuery().name(name).datasource(DATASOURCE).enable(True).icon_color(color).expr(expr)
        )
    return built


def _targets(panel: P, queries: Sequence[Query]) -> P:
    for number, (expr, called) in enumerate(queries):
        query = prometheus.Dataquery().expr(expr).legend_format(called).ref_id(chr(ord("A") + number))
        panel.with_target(query.datasource(DATASOURCE))
    panel.datasource(DATASOURCE)
    return panel


def _stat(title: str, expr: str, *, unit: str = "none", states: bool = False, bad_from: float | None = 1) -> stat.Panel:
    """Return one number of an eighth of the height; red from `bad_from` on, or coloured by the states of closures."""
    panel = stat.Panel().title(title).unit(unit).height(4).span(COLUMNS // 6)
    if states:
        panel.mappings(_state_names())
    elif bad_from is not None:
        panel.thresholds(_thresholds((0, "green"), (bad_from, "red")))
    return _targets(panel, [(expr, title)])


def _states(expr: str, height: int) -> statetimeline.Panel:
    """Return what happened to closures, market by market."""
    panel = (
        statetimeline.Panel()
        .title("What happens to closures")
        .mappings(_state_names())
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)
        .height(height)
        .span(COLUMNS)
    )
    return _targets(panel, [(expr, "{{market}}")])


def _reasons(selected: str) -> table.Panel:
    """Return what holds closures now: scope, reason, since when, who lifts it."""
    since = f"max by (scope, reason, lifted_by) (circuit_guard_hold_since_timestamp_seconds{{{selected}}}) * 1000"
    query = prometheus.Dataquery().expr(since).instant().format(PromQueryFormat.TABLE).ref_id("A")
    return (
        table.Panel()
        .title("What holds them now, since when, and who lifts it")
        .datasource(DATASOURCE)
        .no_value("nothing")
        .override_by_name(
            "Value", [DynamicConfigValue("unit", "dateTimeAsIso"), DynamicConfigValue("displayName", "since")]
        )
        .override_by_name("Time", [DynamicConfigValue("custom.hidden", value=True)])
        .height(6)
        .span(COLUMNS)
        .with_target(query.datasource(DATASOURCE))
    )


def _graph(
    title: str, queries: Sequence[Query], *, unit: str, stacked: bool = False, limits: Sequence[tuple[float, str]] = ()
) -> timeseries.Panel:
    """Return a graph of half the width. `limits` are lines, each with the colour of what is below it, falling."""
    panel = (
        timeseries.Panel()
        .title(title)
        .unit(unit)
        .height(8)
        .span(COLUMNS // 2)
        .gradient_mode(GraphGradientMode.NONE)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(30)
    if limits:
        rising = sorted(limits)
        colors = [color for _, color in rising] + ["green"]
        panel.thresholds(_thresholds((None, colors[0]), *zip([at for at, _ in rising], colors[1:], strict=True)))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return _targets(panel, queries)


def _thresholds(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    made = [Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)


def _state_names() -> list[Any]:
    names = {
        str(value): ValueMappingResult(text=text, color=color, index=value)
        for value, (text, color) in enumerate(STATES)
    }
    return [ValueMap(options=names)]


def main() -> int:
    """Write the dashboards, or with --check say whether they are up to date."""
    outdated = []
    for name, built in (("overview.json", overview()), ("market.json", market())):
        text = JSONEncoder(sort_keys=True, indent=2).encode(built.build()) + "\n"
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            outdated.append(name)
    if outdated:
        print(f"{', '.join(outdated)} out of date: run `make dashboards`")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())

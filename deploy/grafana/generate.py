"""Writes the dashboards beside it from the short tables here: `python deploy/grafana/generate.py
[--check]`.

Grafana's JSON repeats itself so much that nobody reads it; what a panel asks and why it is there is
read here.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24
RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One graph or number."""

    title: str
    meaning: str
    queries: tuple[tuple[str, str], ...]
    """Expressions with their legends."""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    exemplars: bool = False
    stacked: bool = False


def panel(title: str, meaning: str, *queries: tuple[str, str] | str, **more: Any) -> Panel:
    """Return a panel; a query without a legend is shown under its instance."""
    pairs = tuple((query, "{{instance}}") if isinstance(query, str) else query for query in queries)
    return Panel(title=title, meaning=meaning, queries=pairs, **more)


def number(title: str, meaning: str, expression: str, **more: Any) -> Panel:
    """Return a panel that shows one number."""
    return Panel(
        title=title, meaning=meaning, queries=((expression, ""),), kind="stat", width=4, **more
    )


def quantiles(metric: str, where: str = "", *, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the 50th, 95th and 99th percentile of a histogram."""
    grouping = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f"sum by ({grouping}) (rate({metric}_bucket{where}{RATE}))"
    return tuple((f"histogram_quantile({q / 100}, {rate})", f"{legend}p{q}") for q in (50, 95, 99))


def mean(metric: str, where: str = "", *, by: str = "instance") -> str:
    """Return the mean of a histogram."""
    return (
        f"sum by ({by}) (rate({metric}_sum{where}{RATE})) / sum by ({by})"
        f" (rate({metric}_count{where}{RATE}))"
    )


def process_panels(job: str, instance: str = "") -> tuple[Panel, ...]:
    """Return what every process shows of itself."""
    where = f'{{job="{job}"{instance}}}'
    return (
        panel(
            "Processor",
            "Cores in use; one process uses at most about one.",
            f"rate(process_cpu_seconds_total{where}{RATE})",
            width=6,
        ),
        panel(
            "Memory",
            "Resident memory.",
            f"process_resident_memory_bytes{where}",
            unit="bytes",
            width=6,
        ),
        panel(
            "Event loop",
            "How long a scrape waited for the loop, as everything else does.",
            f"aivo_event_loop_wait_seconds{where}",
            unit="s",
            width=6,
        ),
        panel("Open files", "Sockets included.", f"process_open_fds{where}", width=6),
    )


def call_panels(job: str) -> tuple[Panel, ...]:
    """Return what a service's unary calls show."""
    return (
        panel(
            "Calls",
            "Unary calls a second, by status.",
            (f'sum by (code) (rate(aivo_rpc_server_calls_total{{job="{job}"}}{RATE}))', "{{code}}"),
            unit="cps",
            stacked=True,
            width=12,
        ),
        panel(
            "Call duration",
            "95th percentile by method.",
            (
                "histogram_quantile(0.95, sum by (le, method) (rate("
                f'aivo_rpc_server_duration_seconds_bucket{{job="{job}"}}{RATE})))',
                "{{method}}",
            ),
            unit="s",
            width=12,
        ),
    )


FLEET: tuple[Panel, ...] = (
    number("Sockets", "Open now, at all edges.", "aivo_fleet_active_connections"),
    number("Users", "Distinct users with a socket.", "aivo_fleet_connected_users"),
    number("Learners watched", "Distinct learners.", "aivo_fleet_subscribed_learners"),
    number("Rooms", "With a member.", "aivo_fleet_active_rooms"),
    number("Edges", "That report now.", "aivo_fleet_edges"),
    number("Processes up", "That Prometheus reaches.", 'sum(up{job=~"aivo-.+"})'),
    panel(
        "Active Connections",
        "Authenticated sockets at each edge.",
        "aivo_websocket_active_connections",
    ),
    panel(
        "Message Throughput",
        "Frames sent to browsers a second, at each edge.",
        "rate(aivo_websocket_messages_sent_total[5m])",
        unit="cps",
    ),
    panel(
        "Latency P95",
        "From receiving an interaction to writing its durable answer, at each edge.",
        "histogram_quantile(0.95, rate(aivo_websocket_latency_ms_bucket[5m]))",
        unit="ms",
        exemplars=True,
    ),
    panel(
        "Latency of all edges",
        "Percentiles of answers to interactions.",
        *quantiles("aivo_websocket_latency_seconds"),
        unit="s",
        exemplars=True,
    ),
    panel(
        "Interactions",
        "Made durable a second, and repeated ones.",
        (f'sum(rate(aivo_brain_interactions_total{{outcome="applied"}}{RATE}))', "applied"),
        (f'sum(rate(aivo_brain_interactions_total{{outcome="duplicate"}}{RATE}))', "duplicate"),
        unit="cps",
    ),
    panel(
        "Frames in and out",
        "A second, at all edges.",
        (f"sum(rate(aivo_fleet_messages_received_total{RATE}))", "in"),
        (f"sum(rate(aivo_fleet_messages_sent_total{RATE}))", "out"),
        unit="cps",
    ),
    panel(
        "Sockets come and go",
        "Authenticated, a second.",
        (f"sum(rate(aivo_fleet_connections_total{RATE}))", "opened"),
        (f"sum(rate(aivo_fleet_disconnections_total{RATE}))", "closed"),
        unit="cps",
    ),
    panel(
        "Error frames",
        "A second, by code.",
        (f"sum by (code) (rate(aivo_websocket_errors_total{RATE}))", "{{code}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Closes",
        "A second, by close code; 1006 is without one.",
        (f"sum by (code) (rate(aivo_websocket_closes_total{RATE})) > 0", "{{code}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Message records",
        "Stored and dropped a second.",
        (f"rate(aivo_metrics_records_stored_total{RATE})", "stored"),
        (f"rate(aivo_metrics_records_dropped_total{RATE})", "dropped"),
        unit="cps",
    ),
    panel("Records waiting", "For the disk.", "aivo_metrics_records_waiting"),
    panel(
        "Processor by process",
        "Cores in use.",
        (f'rate(process_cpu_seconds_total{{job=~"aivo-.+"}}{RATE})', "{{job}} {{instance}}"),
    ),
    panel(
        "Memory by process",
        "Resident memory.",
        ('process_resident_memory_bytes{job=~"aivo-.+"}', "{{job}} {{instance}}"),
        unit="bytes",
    ),
    panel(
        "Event loops",
        "How long a scrape waited for each process's loop.",
        ("aivo_event_loop_wait_seconds", "{{job}} {{instance}}"),
        unit="s",
    ),
    panel(
        "Up",
        "1 while Prometheus reaches the process.",
        ('up{job=~"aivo-.+"}', "{{job}} {{instance}}"),
    ),
)

ONE = 'instance=~"$edge"'
EDGE: tuple[Panel, ...] = (
    number("Sockets", "Authenticated, now.", f"sum(aivo_websocket_active_connections{{{ONE}}})"),
    number("Users", "Distinct users here.", f"sum(aivo_websocket_connected_users{{{ONE}}})"),
    number(
        "Learners watched",
        "Distinct learners here.",
        f"sum(aivo_websocket_subscribed_learners{{{ONE}}})",
    ),
    number("Rooms", "With a member here.", f"sum(aivo_websocket_active_rooms{{{ONE}}})"),
    number(
        "Slow readers",
        "Sockets that read too slowly now.",
        f"sum(aivo_websocket_slow_readers{{{ONE}}})",
    ),
    number(
        "Draining", "1 while it sends its sockets elsewhere.", f"max(aivo_edge_draining{{{ONE}}})"
    ),
    panel(
        "Frames in",
        "Understood a second, by type.",
        (
            f'sum by (type) (rate(aivo_websocket_frames_total{{{ONE},direction="in"}}{RATE}))',
            "{{type}}",
        ),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Frames out",
        "Made a second, by type.",
        (
            f'sum by (type) (rate(aivo_websocket_frames_total{{{ONE},direction="out"}}{RATE}))',
            "{{type}}",
        ),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Latency",
        "From receiving an interaction to writing its durable answer.",
        *quantiles("aivo_websocket_latency_seconds", f"{{{ONE}}}"),
        unit="s",
        exemplars=True,
    ),
    panel(
        "Calls to services",
        "95th percentile of a batch, retries included.",
        (
            "histogram_quantile(0.95, sum by (le, method) (rate("
            f"aivo_edge_call_duration_seconds_bucket{{{ONE}}}{RATE})))",
            "{{method}}",
        ),
        unit="s",
    ),
    panel(
        "Batch sizes",
        "Mean number of questions in one call: it grows with load.",
        (mean("aivo_edge_call_batch_size", f"{{{ONE}}}", by="method"), "{{method}}"),
    ),
    panel(
        "Pending",
        "Questions that wait for the next call.",
        (f"sum by (method) (aivo_edge_pending{{{ONE}}})", "{{method}}"),
    ),
    panel(
        "Failed calls",
        "A second, by method.",
        (f"sum by (method) (rate(aivo_edge_call_failures_total{{{ONE}}}{RATE}))", "{{method}}"),
        unit="cps",
    ),
    panel(
        "Services reached",
        "1 while the stream from the service is open.",
        (f"aivo_edge_upstream_up{{{ONE}}}", "{{service}} {{peer}}"),
    ),
    panel(
        "Error frames",
        "A second, by code.",
        (f"sum by (code) (rate(aivo_websocket_errors_total{{{ONE}}}{RATE}))", "{{code}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Handshakes and closes",
        "A second; closes by code.",
        (f"sum(rate(aivo_websocket_handshakes_total{{{ONE}}}{RATE}))", "opened"),
        (f"sum by (code) (rate(aivo_websocket_closes_total{{{ONE}}}{RATE})) > 0", "{{code}}"),
        unit="cps",
    ),
    panel(
        "Resumes",
        "Subscriptions that wanted to go on where they were, a second.",
        (f"sum by (outcome) (rate(aivo_websocket_resumes_total{{{ONE}}}{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Coalesced and slow",
        "Revisions not sent because a later one was there; how often a reader became slow.",
        (f"sum(rate(aivo_websocket_coalesced_updates_total{{{ONE}}}{RATE}))", "coalesced"),
        (f"sum(rate(aivo_websocket_slow_readings_total{{{ONE}}}{RATE}))", "slow readings"),
        unit="cps",
    ),
    panel(
        "Message records",
        "Sent to the metrics service and dropped because too many waited, a second.",
        (
            f"sum by (instance) (rate(aivo_edge_records_sent_total{{{ONE}}}{RATE}))",
            "sent {{instance}}",
        ),
        (
            f"sum by (instance) (rate(aivo_edge_records_dropped_total{{{ONE}}}{RATE}))",
            "dropped {{instance}}",
        ),
        unit="cps",
    ),
    panel(
        "Records waiting",
        "Frames with their answers that wait to be sent to the metrics service.",
        f"aivo_edge_records_waiting{{{ONE}}}",
    ),
    panel(
        "Record lag",
        "How long the oldest of them has waited: about a second while metrics is reachable.",
        f"aivo_edge_records_lag_seconds{{{ONE}}}",
        unit="s",
    ),
    *process_panels("aivo-edge", f",{ONE}"),
)

BRAIN: tuple[Panel, ...] = (
    panel(
        "Interactions",
        "A second, by what became of them.",
        (f"sum by (outcome) (rate(aivo_brain_interactions_total{RATE}))", "{{outcome}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Commit duration",
        "What a durable commit takes.",
        *quantiles("aivo_brain_commit_duration_seconds"),
        unit="s",
    ),
    panel(
        "Batch size",
        "Mean number of interactions in one commit: it grows with load.",
        mean("aivo_brain_commit_batch_size"),
    ),
    panel(
        "Commits",
        "A second; made again after a conflict; refused by the store.",
        (f"sum(rate(aivo_brain_commit_duration_seconds_count{RATE}))", "made"),
        (f"sum(rate(aivo_brain_commit_conflicts_total{RATE}))", "conflicts"),
        (f"sum(rate(aivo_brain_commit_failures_total{RATE}))", "failures"),
        unit="cps",
    ),
    panel(
        "Pending",
        "Interactions that wait for their commit to begin.",
        "aivo_brain_pending_interactions",
    ),
    panel(
        "State cache",
        "Share of states that were in memory.",
        (
            f"sum by (instance) (rate(aivo_brain_state_cache_hits_total{RATE}))"
            " / (sum by (instance) "
            f"(rate(aivo_brain_state_cache_hits_total{RATE})) + sum by (instance) "
            f"(rate(aivo_brain_state_cache_misses_total{RATE})))",
            "{{instance}}",
        ),
        unit="percentunit",
    ),
    panel(
        "In memory",
        "Learners and items of the shared bank.",
        ("aivo_brain_cached_learners", "learners {{instance}}"),
        ("aivo_brain_bank_items", "items {{instance}}"),
    ),
    panel(
        "Watchers",
        "Streams of edges, and learners that they watch.",
        ("aivo_brain_watch_streams", "streams {{instance}}"),
        ("aivo_brain_watched_learners", "learners {{instance}}"),
    ),
    panel(
        "Bus lag",
        "From the publication of a change until a watching stream takes it.",
        *quantiles("aivo_brain_bus_lag_seconds"),
        unit="s",
    ),
    panel(
        "Webhooks",
        "Messages about learners' attention that endpoints took, and attempts that failed.",
        (f"sum by (endpoint) (rate(aivo_brain_webhook_delivered_total{RATE}))", "{{endpoint}}"),
        (
            f"sum by (endpoint, fault) (rate(aivo_brain_webhook_faults_total{RATE}))",
            "{{endpoint}} {{fault}}",
        ),
    ),
    panel(
        "Webhooks that wait",
        "Age of the oldest message that an endpoint has not taken yet.",
        ("max by (endpoint) (aivo_brain_webhook_oldest_seconds)", "{{endpoint}}"),
        unit="s",
    ),
    *call_panels("aivo-brain"),
    *process_panels("aivo-brain"),
)

AUTH: tuple[Panel, ...] = (
    panel(
        "Sign-ins",
        "A second, by outcome.",
        (f"sum by (outcome) (rate(aivo_auth_logins_total{RATE}))", "{{outcome}}"),
        unit="cps",
        stacked=True,
    ),
    panel(
        "Sign-in duration",
        "Most of it hashes the password, on purpose.",
        *quantiles("aivo_auth_login_duration_seconds"),
        unit="s",
    ),
    panel(
        "Refreshes",
        "A second, by outcome; a reused token ends its session.",
        (f"sum by (outcome) (rate(aivo_auth_refreshes_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Tokens verified",
        "A second, by outcome.",
        (f"sum by (outcome) (rate(aivo_auth_tokens_verified_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Decisions",
        "Answers to whether somebody may do something, a second.",
        (f"sum by (outcome) (rate(aivo_auth_decisions_total{RATE}))", "{{outcome}}"),
        unit="cps",
    ),
    panel(
        "Revocations",
        "Changes told to edges a second, and streams cut because they lagged.",
        (f"sum(rate(aivo_auth_revocations_total{RATE}))", "changes"),
        (f"sum(rate(aivo_auth_revocation_streams_cut_total{RATE}))", "streams cut"),
        unit="cps",
    ),
    panel(
        "Revocation streams",
        "Edges that hear of revocations.",
        "aivo_auth_revocation_streams",
        width=12,
    ),
    panel("People", "In memory.", "aivo_auth_people", width=12),
    *call_panels("aivo-auth"),
    *process_panels("aivo-auth"),
)

ANSWERS = "aivo_brain_predicted_answers"
LEARNERS: tuple[Panel, ...] = (
    panel(
        "Levels",
        "Mean level (0 to 1) after interactions.",
        (mean("aivo_brain_level", by="level"), "{{level}}"),
        unit="percentunit",
        width=12,
    ),
    panel(
        "Levels of the highest tenth",
        "90th percentile after interactions.",
        (
            f"histogram_quantile(0.9, sum by (le, level) (rate(aivo_brain_level_bucket{RATE})))",
            "{{level}}",
        ),
        unit="percentunit",
        width=12,
    ),
    panel(
        "Into alert",
        "Levels that crossed their alert threshold, a second: load, frustration and fatigue "
        "upwards, "
        "engagement, confidence and motivation downwards.",
        (
            f"sum by (name) (rate(aivo_brain_crossings_total"
            f'{{name=~"cognitive_load|frustration_level|fatigue_level",'
            f'direction="rising"}}{RATE}))',
            "{{name}}",
        ),
        (
            f"sum by (name) (rate(aivo_brain_crossings_total"
            f'{{name=~"engagement_level|confidence_level|'
            f'motivation_level",direction="falling"}}{RATE}))',
            "{{name}}",
        ),
        unit="cps",
    ),
    panel(
        "Recommendations",
        "Whose urgency rose or fell, a second.",
        (
            f'sum by (direction) (rate(aivo_brain_crossings_total{{name="recommendation"}}{RATE}))',
            "{{direction}}",
        ),
        unit="cps",
    ),
    panel(
        "Answers",
        "Graded answers a second.",
        (f"sum(rate({ANSWERS}_total{RATE}))", "answers"),
        unit="cps",
    ),
    panel(
        "Right answers",
        "Share that came, and that the model let expect.",
        (f"sum(rate({ANSWERS}_correct_total{RATE})) / sum(rate({ANSWERS}_total{RATE}))", "came"),
        (
            f"sum(rate({ANSWERS}_expected_total{RATE})) / sum(rate({ANSWERS}_total{RATE}))",
            "expected",
        ),
        unit="percentunit",
    ),
    panel(
        "Calibration by prediction",
        "Share of right answers by what was predicted (lower end of the tenth): the "
        "line 0.8 should lie between 0.8 and 0.9.",
        (
            f"sum by (bin) (increase({ANSWERS}_correct_total[6h])) / "
            f"(sum by (bin) (increase({ANSWERS}_total[6h])) > 0)",
            "{{bin}}",
        ),
        unit="percentunit",
    ),
    panel(
        "Calibration error",
        "Mean distance between predicted and observed, over six hours.",
        "aivo:brain_calibration_error:6h",
    ),
    panel(
        "Brier score",
        "Mean squared error of predictions, over six hours; 0.25 for who always says one half.",
        "aivo:brain_brier_score:6h",
    ),
    panel(
        "Learners",
        "In memory and watched.",
        ("sum(aivo_brain_cached_learners)", "in memory"),
        ("sum(aivo_brain_watched_learners)", "watched"),
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "fleet": ("AIVO fleet", FLEET),
    "edge": ("AIVO edge", EDGE),
    "brain": ("AIVO brain", BRAIN),
    "auth": ("AIVO auth", AUTH),
    "learners": ("AIVO learners' health", LEARNERS),
}


def dashboard(uid: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """Return one dashboard in Grafana's JSON model."""
    return {
        "uid": f"aivo-{uid}",
        "title": title,
        "tags": ["aivo"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "tags": ["aivo"],
                "title": "AIVO",
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_EDGE_VARIABLE] if uid == "edge" else []},
        "panels": list(_placed(panels)),
    }


_EDGE_VARIABLE = {
    "name": "edge",
    "label": "Edge",
    "type": "query",
    "datasource": SOURCE,
    "query": "label_values(aivo_websocket_active_connections, instance)",
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return panels in rows from left to right."""
    placed = []
    x = y = row = 0
    for number, one in enumerate(panels, 1):
        height = 4 if one.kind == "stat" else 8
        if x + one.width > COLUMNS:
            x, y, row = 0, y + row, 0
        placed.append(_panel(one, number, {"x": x, "y": y, "w": one.width, "h": height}))
        x, row = x + one.width, max(row, height)
    return placed


def _panel(one: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    custom = (
        {"fillOpacity": 20, "stacking": {"mode": "normal"}} if one.stacked else {"fillOpacity": 5}
    )
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend or "__auto",
            "instant": one.kind == "stat",
            "range": one.kind != "stat",
            "exemplar": one.exemplars,
        }
        for index, (expression, legend) in enumerate(one.queries)
    ]
    shown: dict[str, Any] = {
        "id": number,
        "type": one.kind,
        "title": one.title,
        "description": one.meaning,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": one.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
    if one.kind == "timeseries":
        shown["fieldConfig"]["defaults"]["custom"] = custom
        shown["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        }
    return shown


def rendered() -> dict[Path, str]:
    """Return every file with its text."""
    return {
        FOLDER / f"{uid}.json": json.dumps(dashboard(uid, title, panels), indent=2) + "\n"
        for uid, (title, panels) in DASHBOARDS.items()
    }


def main() -> int:
    """Write the files, or with --check say which are not what this would write; return the exit
    code.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when a file is out of date"
    )
    check = parser.parse_args().check
    files = rendered()
    stale = [
        path
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if check:
            print(
                f"{path.name} is out of date; run python deploy/grafana/generate.py",
                file=sys.stderr,
            )
        else:
            path.write_text(files[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

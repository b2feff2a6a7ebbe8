"""One edge, chosen on the page."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, mean, number, panel, process_panels, quantiles

ONE = 'instance=~"$edge"'
PANELS: tuple[Panel, ...] = (
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

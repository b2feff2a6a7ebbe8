"""The whole fleet at a glance."""

from __future__ import annotations

from deploy.grafana.panels import RATE, Panel, number, panel, quantiles

PANELS: tuple[Panel, ...] = (
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

"""The brains: interactions, the store, what watchers get."""

from __future__ import annotations

from deploy.grafana.panels import (
    RATE,
    Panel,
    call_panels,
    mean,
    panel,
    process_panels,
    quantiles,
)

PANELS: tuple[Panel, ...] = (
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
    panel(
        "Leaves the log",
        "Interactions a second that are older than BRAIN_LOG_DAYS.",
        (f"sum(rate(aivo_brain_log_removed_total{RATE}))", "removed"),
        unit="cps",
    ),
    panel(
        "Oldest in the log",
        "How long ago it came in, about BRAIN_LOG_DAYS; 0 while all are kept.",
        (
            "(time() - max(aivo_brain_log_oldest_timestamp_seconds))"
            " * (max(aivo_brain_log_oldest_timestamp_seconds) > bool 0)",
            "oldest",
        ),
        unit="s",
    ),
    *call_panels("aivo-brain"),
    *process_panels("aivo-brain"),
)

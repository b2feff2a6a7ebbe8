"""Turns a brain's counters into Prometheus metrics at each scrape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from brain_service.bus.local import LocalBus
from brain_service.engine.counters import BINS, BrainCounters, Calibration
from brain_service.engine.engine import Engine
from brain_service.model.bank import Bank
from brain_service.watch.watches import Watches
from brain_service.webhooks.dispatcher import WebhookCounters
from service_runtime.metrics import Family, Labels, counter, gauge, histogram

if TYPE_CHECKING:
    from brain_service.bus.valkey import ValkeyBus


def families(engine: Engine, watches: Watches, bank: Bank) -> Iterator[Family]:
    """Yield the current metrics."""
    yield gauge(
        "aivo_brain_pending_interactions",
        "Interactions that wait for their commit to begin.",
        engine.pending,
    )
    yield from _interactions(engine.counters)
    yield gauge(
        "aivo_brain_cached_learners", "Learners whose state is in memory.", engine.cached_learners
    )
    yield counter(
        "aivo_brain_log_removed",
        "Interactions that left the log because they were older than BRAIN_LOG_DAYS.",
        engine.retention.removed,
    )
    yield gauge(
        "aivo_brain_log_oldest_timestamp_seconds",
        "When the oldest interaction of the log was received, Unix seconds, as last looked; 0 while"
        " all of it is kept.",
        engine.retention.oldest_s,
    )
    yield gauge("aivo_brain_bank_items", "Items of the shared bank in memory.", bank.size)
    yield gauge(
        "aivo_brain_watch_streams", "Streams of edges that watch learners here.", len(watches)
    )
    yield gauge(
        "aivo_brain_watched_learners", "Learners that some stream watches here.", watches.learners
    )
    yield histogram(
        "aivo_brain_bus_lag_seconds",
        "Seconds from the first publication that a stream is due to tell until the stream"
        " takes it.",
        watches.lag_s,
    )
    yield from _learners(engine.counters)
    yield from _calibration(engine.counters.calibration)


def bus_families(bus: LocalBus | ValkeyBus) -> Iterator[Family]:
    """Yield the metrics of a bus between brains; a local one has none."""
    if isinstance(bus, LocalBus):
        return
    counters = bus.counters
    yield gauge(
        "aivo_brain_bus_connected",
        "1 while the bus between brains is reached, else 0.",
        int(counters.connected),
    )
    yield counter(
        "aivo_brain_bus_connections",
        "Times that the bus between brains was reached.",
        counters.connections,
    )
    yield counter(
        "aivo_brain_bus_publications",
        "Revisions told on the bus between brains: sent, received, or dropped because it was not"
        " reached.",
        {
            ("sent",): counters.sent,
            ("received",): counters.received,
            ("dropped",): counters.dropped,
        },
        "direction",
    )
    yield counter(
        "aivo_brain_bus_gaps",
        "Messages of another brain that were missing; memory is dropped then.",
        counters.gaps,
    )
    yield histogram(
        "aivo_brain_bus_round_trip_seconds",
        "Seconds from sending a message on the bus between brains to hearing it.",
        counters.lag_s,
    )


def webhook_families(counters: WebhookCounters, now_s: float) -> Iterator[Family]:
    """Yield the metrics of webhooks at a time in Unix seconds."""
    yield counter(
        "aivo_brain_webhook_delivered",
        "Messages that an endpoint took.",
        {(name,): count for name, count in counters.delivered.items()},
        "endpoint",
    )
    yield counter(
        "aivo_brain_webhook_faults",
        "Attempts that failed: timeout, unreachable, redirect, refused (4xx), broken (5xx).",
        {labels: count for labels, count in counters.faults.items()},
        "endpoint",
        "fault",
    )
    yield counter(
        "aivo_brain_webhook_dead_letters", "Messages that were given up.", counters.given_up
    )
    yield histogram(
        "aivo_brain_webhook_delay_seconds",
        "Seconds from the commit of a message to its delivery.",
        counters.delays_s,
    )
    backlog = counters.backlog.items()
    yield gauge(
        "aivo_brain_webhook_waiting",
        "Messages that wait for an endpoint; told by the brain that delivers.",
        {(name,): each.waiting for name, each in backlog},
        "endpoint",
    )
    yield gauge(
        "aivo_brain_webhook_oldest_seconds",
        "Age of the oldest message that waits for an endpoint.",
        {
            (name,): max(0.0, now_s - each.oldest_ms / 1000) if each.waiting else 0.0
            for name, each in backlog
        },
        "endpoint",
    )


def _interactions(counters: BrainCounters) -> Iterator[Family]:
    outcomes: dict[Labels, int] = {
        (outcome,): count for outcome, count in counters.outcomes.items()
    }
    yield counter(
        "aivo_brain_interactions", "Interactions by what became of them.", outcomes, "outcome"
    )
    yield histogram(
        "aivo_brain_commit_batch_size",
        "Interactions that one commit made durable.",
        counters.batch_sizes,
    )
    yield histogram(
        "aivo_brain_commit_duration_seconds", "Seconds that a commit took.", counters.commits_s
    )
    yield counter(
        "aivo_brain_commit_conflicts",
        "Commits made again because another brain wrote the same learner first.",
        counters.conflicts,
    )
    yield counter(
        "aivo_brain_commit_failures", "Commits that the store refused.", counters.commit_failures
    )
    yield counter(
        "aivo_brain_state_cache_hits", "States that were wanted and in memory.", counters.cache_hits
    )
    yield counter(
        "aivo_brain_state_cache_misses",
        "States that had to be read from the store.",
        counters.cache_misses,
    )


def _learners(counters: BrainCounters) -> Iterator[Family]:
    crossings: dict[Labels, int] = {
        (name, "rising" if rising else "falling"): count
        for (name, rising), count in counters.crossings.items()
    }
    yield counter(
        "aivo_brain_crossings",
        "Levels of learners that crossed their alert threshold, and recommendations that changed"
        " urgency.",
        crossings,
        "name",
        "direction",
    )
    yield histogram(
        "aivo_brain_level",
        "Levels (0 to 1) after one interaction in eight.",
        {(name,): levels for name, levels in counters.levels.items()},
        "level",
    )


def _calibration(calibration: Calibration) -> Iterator[Family]:
    yield counter(
        "aivo_brain_predicted_answers",
        "Graded answers, by the predicted probability of being right (lower end of its tenth).",
        _by_bin(calibration.answers),
        "bin",
    )
    yield counter(
        "aivo_brain_predicted_answers_expected",
        "Right answers that the predictions let expect.",
        _by_bin(calibration.expected),
        "bin",
    )
    yield counter(
        "aivo_brain_predicted_answers_correct",
        "Right answers that came.",
        _by_bin(calibration.correct),
        "bin",
    )
    yield counter(
        "aivo_brain_prediction_squared_error",
        "Sum of squared differences between prediction and answer; by answers it is the Brier"
        " score.",
        calibration.squared_error,
    )


def _by_bin(sums: Sequence[float]) -> dict[Labels, float]:
    values: dict[Labels, float] = {(f"{place / BINS:.1f}",): sums[place] for place in range(BINS)}
    values[f"{(BINS - 1) / BINS:.1f}",] += sums[BINS]
    return values

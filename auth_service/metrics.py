"""Names what the auth service counts, for Prometheus; called at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from auth_service.counters import AuthCounters
from auth_service.directory import Directory
from auth_service.revocations import Broadcaster
from service_runtime.metrics import Family, Labels, counter, gauge, histogram


def families(
    counters: AuthCounters, directory: Directory, broadcaster: Broadcaster
) -> Iterator[Family]:
    """Name the metrics of the moment."""
    logins: dict[Labels, int] = {(outcome,): count for outcome, count in counters.logins.items()}
    refreshes: dict[Labels, int] = {
        (outcome,): count for outcome, count in counters.refreshes.items()
    }
    tokens: dict[Labels, int] = {
        ("accepted",): counters.tokens_accepted,
        ("refused",): counters.tokens_refused,
    }
    decisions: dict[Labels, int] = {
        ("allowed",): counters.decisions[True],
        ("denied",): counters.decisions[False],
    }
    yield counter("aivo_auth_logins", "Sign-ins by outcome.", logins, "outcome")
    yield histogram(
        "aivo_auth_login_duration_seconds",
        "Seconds of a sign-in, right or wrong.",
        counters.logins_s,
    )
    yield counter(
        "aivo_auth_refreshes", "Exchanges of a refresh token by outcome.", refreshes, "outcome"
    )
    yield counter(
        "aivo_auth_tokens_verified", "Access tokens looked at, by outcome.", tokens, "outcome"
    )
    yield counter(
        "aivo_auth_decisions",
        "Questions whether somebody may do something, by answer.",
        decisions,
        "outcome",
    )
    yield counter(
        "aivo_auth_revocations",
        "Changes that cached decisions were dropped for.",
        broadcaster.published,
    )
    yield counter(
        "aivo_auth_revocation_streams_cut",
        "Streams ended because they lagged too far behind.",
        broadcaster.streams_cut,
    )
    yield gauge(
        "aivo_auth_revocation_streams",
        "Open revocation streams of edges.",
        len(broadcaster),
    )
    yield gauge("aivo_auth_people", "People in memory, disabled ones included.", directory.size)

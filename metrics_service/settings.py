"""The settings of the metrics service, with prefix `METRICS_`."""

from __future__ import annotations

from dataclasses import dataclass

from service_runtime.addresses import check_listen
from service_runtime.grpc_server import ListenerSettings
from service_runtime.settings import SettingsError, setting

PREFIX = "METRICS"
"""Every variable of this process starts with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings(ListenerSettings):
    """Settings of the metrics service."""

    listen: str = setting(
        "127.0.0.1:8003", "Address and port of the gRPC server; port 0 takes any free one."
    )
    exposition_listen: str = setting(
        "127.0.0.1:8007",
        "Address and port that Prometheus scrapes (metrics without names); `off` for none.",
    )
    database_url: str = setting(
        "sqlite:///.aivo/metrics.sqlite3",
        "Where totals and message records are: the path of a SQLite file, sqlite:///path, or"
        " postgresql://user:password@host/database?sslmode=verify-full&sslrootcert=/ca.crt.",
        secret=True,
    )
    edge_silence_s: float = setting(
        30.0, "Seconds without a report after which an edge counts as dead."
    )
    totals_interval_s: float = setting(
        2.0,
        "Seconds between saves of the totals; a crash loses no more, and edges report it again.",
    )
    recording: bool = setting(True, "Keep records of messages that edges send.")
    record_queue: int = setting(
        50_000,
        "Message records that may wait for the disk (contents count extra); further ones are"
        " dropped.",
    )
    record_retention_days: float = setting(7.0, "Days after which a message record is deleted.")
    analytics_retention_days: float = setting(
        90.0, "Days after which the sums per minute are deleted."
    )

    def __post_init__(self) -> None:
        """Raise SettingsError for values that cannot work."""
        problems = [
            f"{PREFIX}_{name.upper()} must be above 0"
            for name in (
                "edge_silence_s",
                "totals_interval_s",
                "record_queue",
                "record_retention_days",
                "analytics_retention_days",
            )
            if getattr(self, name) <= 0
        ]
        problems += check_listen(self.exposition_listen, variable=f"{PREFIX}_EXPOSITION_LISTEN")
        if problems:
            raise SettingsError("\n".join(problems))

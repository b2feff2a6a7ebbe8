"""The settings of the brain, with prefix `BRAIN_`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from brain_service import bus
from brain_service.model.teaching import Teachers
from service_runtime.addresses import check_listen
from service_runtime.grpc_server import ListenerSettings
from service_runtime.settings import SettingsError, setting

PREFIX = "BRAIN"
"""Every variable of this process starts with it."""

_MAY_BE_ZERO = (
    "drain_s",
    "max_backdate_s",
    "quota_a_day",
    "bank_items_a_day",
    "bank_times_a_day",
    "bank_age_days",
    "log_days",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrainSettings(ListenerSettings):
    """Settings of the brain."""

    listen: str = setting(
        "127.0.0.1:8001", "Address and port of the gRPC server; port 0 takes any free one."
    )
    database_url: str = setting(
        "sqlite:///.aivo/brain.sqlite3",
        "Where the durable log is: the path of a SQLite file, sqlite:///path, or"
        " postgresql://user:password@host/database?sslmode=verify-full&sslrootcert=/ca.crt.",
        secret=True,
    )
    bus_url: str = setting(
        "",
        "Valkey or Redis through which brains that share a database notify each other:"
        " valkey://:password@host:6379, valkeys:// for TLS (?ssl_ca_certs=/ca.crt); empty for a"
        " single brain.",
        secret=True,
    )
    max_batch: int = setting(256, "Interactions per commit.")
    max_pending: int = setting(
        8192, "Interactions that may wait; further ones are refused as overloaded."
    )
    max_backdate_s: float = setting(
        604_800.0, "How old an interaction may be, seconds; 0 for any age."
    )
    log_days: float = setting(
        0.0,
        "Days that an interaction stays in the log after it was received; 0 for ever. What the"
        " model made of it stays. At least as long as BRAIN_MAX_BACKDATE_S.",
    )
    quota_a_day: int = setting(
        20_000,
        "Interactions that one learner may add on one day (UTC), each KiB of text as one more; 0"
        " for any number.",
    )
    cache_learners: int = setting(20_000, "Learners kept in memory.")
    recent_ids: int = setting(
        8192, "Answers kept in memory, so that a prompt resend costs no read."
    )
    bank_items: int = setting(100_000, "Items of the shared bank kept in memory.")
    bank_flush_s: float = setting(
        1.0, "Seconds between saves of what the bank learned; a crash loses no more."
    )
    bank_refresh_s: float = setting(
        30.0, "Seconds between reads of what other brains taught the bank."
    )
    bank_teachers: Teachers = setting(
        Teachers.ANYBODY,
        "Who may teach the bank: `anybody`; `trusted`, only services that judged the answer"
        " themselves; `declared`, anybody, but only items and subjects named by the command"
        " `declare`.",
    )
    bank_guarded: bool = setting(
        True,
        "Whether one learner teaches the bank an item once, so much a day and no wild times; false"
        " only to replay research data as the reference calculation does, which shares nothing but"
        " items and times.",
    )
    bank_rows: int = setting(
        1_000_000, "Items of the shared bank kept; those with the fewest answers are deleted first."
    )
    bank_age_days: int = setting(
        400, "Days after which untaught items and subjects are deleted from the bank; 0 for never."
    )
    bank_items_a_day: int = setting(
        200, "Items that one learner may teach the bank on one day; 0 for none."
    )
    bank_times_a_day: int = setting(
        20, "Times taken by one learner that count for time norms on one day; 0 for none."
    )
    erasure_check_s: float = setting(
        1.0, "Seconds between checks for learners that another process erased or rebuilds."
    )
    heartbeat_s: float = setting(
        5.0, "Seconds between heartbeats, which also find updates whose message was lost."
    )
    heartbeat_learners: int = setting(
        1000, "Watched learners that one heartbeat compares with the store."
    )
    watch_pending: int = setting(
        64, "Revisions per learner kept for a watcher of each one; the rest waits in the log."
    )
    resume_limit: int = setting(
        1000,
        "Missed revisions among which crossings are looked up for a returning watcher of the"
        " latest; at most 1000.",
    )

    webhooks: Path | None = setting(
        None,
        "TOML file of outside systems to notify when a learner needs attention, as"
        " docs/webhooks.md shows; none by default.",
    )
    exposition_listen: str = setting(
        "127.0.0.1:8005",
        "Address and port that Prometheus scrapes (metrics without names); `off` for none.",
    )

    def __post_init__(self) -> None:
        """Raise SettingsError for values that cannot work."""
        problems = [
            f"{PREFIX}_{field.name.upper()} must be"
            f" {'zero or more' if field.name in _MAY_BE_ZERO else 'above zero'}"
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), int | float)
            and not isinstance(value, bool)
            and (value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO))
        ]
        problems += check_listen(self.exposition_listen, variable=f"{PREFIX}_EXPOSITION_LISTEN")
        if self.bus_url and (wrong := bus.check_url(self.bus_url)):
            problems.append(f"{PREFIX}_BUS_URL {wrong}")
        if self.log_days and self.log_days * 86_400 < self.max_backdate_s:
            problems.append(
                f"{PREFIX}_LOG_DAYS must be 0 or at least {PREFIX}_MAX_BACKDATE_S"
                f" ({self.max_backdate_s / 86_400:g} days), or what is sent again could be counted"
                " twice"
            )
        if self.resume_limit > 1000:
            problems.append(f"{PREFIX}_RESUME_LIMIT must be at most 1000, one page of the log")
        if problems:
            raise SettingsError("\n".join(problems))

"""The settings of the auth service, with prefix `AUTH_`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from service_runtime.addresses import check_listen
from service_runtime.grpc_server import ListenerSettings
from service_runtime.settings import SettingsError, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(ListenerSettings):
    """All settings; the help of each field is its documentation."""

    listen: str = setting(
        "127.0.0.1:8002", "Address and port of the gRPC server; port 0 takes any free one."
    )
    database_url: str = setting(
        "sqlite:///.aivo/auth.sqlite3",
        "Where people and sessions are: the path of a SQLite file, sqlite:///path, or"
        " postgresql://user:password@host/database?sslmode=verify-full&sslrootcert=/ca.crt.",
        secret=True,
    )
    key_file: Path = setting(
        Path(".aivo/auth-keys.json"),
        "File with the signing keys; made with mode 600 when there is none.",
    )
    issuer: str = setting("aivo", "Issuer in access tokens.")
    trusted_issuers: Path | None = setting(
        None,
        "TOML file of other issuers whose access tokens are accepted, as docs/identity.md shows.",
    )
    passwords: bool = setting(
        True, "Let people sign in by password; if false, only by providers and tokens."
    )
    access_ttl_s: int = setting(900, "Seconds that an access token is good for.")
    refresh_ttl_s: int = setting(14 * 86_400, "Seconds that a refresh token is good for.")
    refresh_retry_s: float = setting(
        60.0,
        "Seconds within which a refresh whose answer was lost may be repeated under its request id;"
        " 0 for never.",
    )
    session_ttl_s: int = setting(
        90 * 86_400, "Seconds after which a session ends however often it was refreshed."
    )
    decision_ttl_s: float = setting(
        30.0, "Seconds that callers may cache a decision, unless it is revoked."
    )
    poll_s: float = setting(
        0.25,
        "Seconds between checks for changes by commands and other processes; 1 s is promised in"
        " all.",
    )
    heartbeat_s: float = setting(5.0, "Seconds between heartbeats on a revocation stream.")
    revocation_backlog: int = setting(
        10_000, "Changes that a revocation stream may lag behind before it is cut."
    )
    clock_leeway_s: float = setting(
        5.0, "Seconds by which the clocks of several auth services may differ."
    )
    login_free_attempts: int = setting(
        10, "Failed sign-ins of an account from one address before waits begin."
    )
    login_free_attempts_per_account: int = setting(
        100, "Failed sign-ins of an account from anywhere before waits begin."
    )
    free_rooms: bool = setting(
        False,
        "Let every user talk in rooms of any name, unmoderated; else only in those of their"
        " learners and classes.",
    )
    guardians_speak: bool = setting(
        False, "Let guardians speak in the rooms of classes, not only listen."
    )
    device_ttl_s: int = setting(
        90 * 86_400,
        "Seconds after a sign-in for which strangers cannot slow that device down.",
    )
    login_free_attempts_per_address: int = setting(
        100,
        "Failed sign-ins from a client address before waits begin; a whole school may share one.",
    )
    login_max_wait_s: float = setting(
        60.0, "Longest wait between failed sign-ins, seconds; it doubles from 1 s."
    )
    argon2_time_cost: int = setting(
        3, "Passes of argon2id; stored hashes follow at the next sign-in."
    )
    argon2_memory_kib: int = setting(65_536, "Memory of argon2id per hash, KiB.")
    argon2_lanes: int = setting(4, "Lanes of argon2id.")
    password_threads: int = setting(
        2, "Passwords hashed at the same time; each needs the memory of one hash."
    )
    bootstrap_admin_email: str | None = setting(
        None, "E-mail address of the administrator made at the first start."
    )
    bootstrap_admin_password: str | None = setting(
        None, "Password of that administrator, at least 12 characters.", secret=True
    )

    exposition_listen: str = setting(
        "127.0.0.1:8006",
        "Address and port that Prometheus scrapes (metrics without names); `off` for none.",
    )

    def __post_init__(self) -> None:
        """Raise SettingsError for values that cannot work."""
        problems = [
            f"AUTH_{name.upper()} must be at least {least}"
            for name, least in _LEAST.items()
            if getattr(self, name) < least
        ]
        problems += check_listen(self.exposition_listen, variable="AUTH_EXPOSITION_LISTEN")
        if (self.bootstrap_admin_email is None) != (self.bootstrap_admin_password is None):
            problems.append(
                "AUTH_BOOTSTRAP_ADMIN_EMAIL and AUTH_BOOTSTRAP_ADMIN_PASSWORD need each other"
            )
        if self.argon2_memory_kib < 8 * self.argon2_lanes:
            problems.append("AUTH_ARGON2_MEMORY_KIB must be at least 8 times AUTH_ARGON2_LANES")
        if problems:
            raise SettingsError("\n".join(problems))


_LEAST: dict[str, float] = {
    "access_ttl_s": 1,
    "refresh_ttl_s": 1,
    "refresh_retry_s": 0,
    "session_ttl_s": 1,
    "decision_ttl_s": 0,
    "poll_s": 0.01,
    "heartbeat_s": 0.01,
    "revocation_backlog": 1,
    "login_free_attempts": 1,
    "login_free_attempts_per_account": 1,
    "login_free_attempts_per_address": 1,
    "clock_leeway_s": 0,
    "device_ttl_s": 1,
    "login_max_wait_s": 0,
    "argon2_time_cost": 1,
    "argon2_memory_kib": 8,
    "argon2_lanes": 1,
    "password_threads": 1,
}

"""Which outside systems get which notices. Read from the file that BRAIN_WEBHOOKS names;
docs/webhooks.md shows one.
"""

from __future__ import annotations

import re
import ssl
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from brain_service.model.attention import Attention
from brain_service.webhooks.signing import BadSecretError, read_secret
from service_runtime import validation
from service_runtime.toml_tables import fields_of

BEGAN: Final = "attention.began"
ENDED: Final = "attention.ended"
EVENTS: Final = (BEGAN, ENDED)

_LEVELS: Final = {"look": Attention.LOOK, "now": Attention.NOW}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class WebhooksError(Exception):
    """The file of webhooks cannot be used; the sentence names the place and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An outside system that gets messages."""

    name: str
    """In logs, metrics and the outbox: renaming it orphans what waits."""
    url: str
    """An https address (http only to this machine)."""
    secret_file: str
    """File of secrets `whsec_…`, one a line; each signs, so that they can be rotated."""
    events: tuple[str, ...] = EVENTS
    level: str = "look"
    """Attention from this level on counts: `look`, or only `now`."""
    learners: tuple[str, ...] = ()
    """Ids of the learners it gets notices about."""
    learners_file: str = ""
    """File of such ids, one a line, read again when it changes. With neither: all learners."""
    ca_file: str = ""
    """Certificate authorities to trust; empty for the system's."""
    timeout_s: float = 10.0
    """How long one attempt may take."""

    @property
    def least(self) -> int:
        """The number of the level from which on attention counts."""
        return int(_LEVELS[self.level])

    def secrets(self) -> tuple[bytes, ...]:
        """Return the keys that sign. Raises WebhooksError."""
        try:
            lines = Path(self.secret_file).read_text(encoding="utf-8").split()
            keys = tuple(map(read_secret, lines))
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise WebhooksError(f"cannot read `secret_file` {self.secret_file}: {why}") from None
        except BadSecretError as error:
            raise WebhooksError(f"`secret_file` {self.secret_file}: {error}") from None
        if not keys:
            raise WebhooksError(f"`secret_file` {self.secret_file} has no secret")
        return keys

    def audience(self) -> frozenset[str] | None:
        """Return its learners as the file has them now; None: everybody. Raises WebhooksError."""
        if not self.learners_file:
            return frozenset(self.learners) if self.learners else None
        try:
            lines = Path(self.learners_file).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise WebhooksError(
                f"cannot read `learners_file` {self.learners_file}: {why}"
            ) from None
        if not all(map(validation.is_id, lines)):
            raise WebhooksError(f"`learners_file` {self.learners_file}: one learner's id a line")
        return frozenset((*self.learners, *lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """All endpoints, and the retry policy."""

    endpoints: tuple[Endpoint, ...]
    first_retry_s: float = 2.0
    longest_retry_s: float = 900.0
    """Waits between attempts double from the first to the longest."""
    max_age_s: float = 86_400.0
    """Undelivered messages of this age are given up; older events are not sent."""
    keep_dead_s: float = 2_592_000.0
    """How long dead letters are kept for `webhooks redeliver`."""


def read_webhooks(path: Path) -> Webhooks:
    """Parse a file. Raises WebhooksError."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WebhooksError(f"cannot read BRAIN_WEBHOOKS {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WebhooksError(f"BRAIN_WEBHOOKS {path} is not TOML: {error}") from error
    tables = content.pop("endpoints", None)
    if not isinstance(tables, list) or not tables:
        raise WebhooksError(f"{path}: write each endpoint as a table [[endpoints]]")
    values = fields_of(Webhooks, content, str(path), error=WebhooksError, without=("endpoints",))
    endpoints = tuple(_endpoint(table, path, n) for n, table in enumerate(tables, 1))
    if len({one.name for one in endpoints}) < len(endpoints):
        raise WebhooksError(f"{path}: each endpoint needs a name of its own")
    found = Webhooks(endpoints=endpoints, **values)
    times = (found.first_retry_s, found.longest_retry_s, found.max_age_s, found.keep_dead_s)
    if min(times) <= 0:
        raise WebhooksError(f"{path}: seconds must be above zero")
    return found


def _endpoint(table: Any, path: Path, number: int) -> Endpoint:
    where = f"{path}: endpoint {number}"
    if not isinstance(table, dict):
        raise WebhooksError(f"{where}: expected a table")
    values = fields_of(Endpoint, table, where, error=WebhooksError)
    for name in ("name", "url", "secret_file"):
        if not values.get(name):
            raise WebhooksError(f"{where}: `{name}` is missing")
    for name in ("secret_file", "learners_file", "ca_file"):
        if values.get(name):
            values[name] = str(path.parent / values[name])
    one = Endpoint(**values)
    try:
        _check(one)
        one.secrets()
        one.audience()
    except WebhooksError as error:
        raise WebhooksError(f"{where}: {error}") from None
    return one


def _check(one: Endpoint) -> None:
    if not re.fullmatch("[a-z0-9-]{1,32}", one.name):
        raise WebhooksError("`name` must be 1–32 of a–z, 0–9 and -")
    _check_url(one.url)
    if not one.events or not set(EVENTS).issuperset(one.events):
        raise WebhooksError(f"`events` must be of {', '.join(EVENTS)}")
    if one.level not in _LEVELS:
        raise WebhooksError(f"`level` must be one of {', '.join(_LEVELS)}")
    if not all(map(validation.is_id, one.learners)):
        raise WebhooksError("`learners` must be ids of learners")
    if not 0.1 <= one.timeout_s <= 60:
        raise WebhooksError("`timeout_s` must be 0.1–60")
    if one.ca_file:
        try:
            ssl.create_default_context(cafile=one.ca_file)
        except (OSError, ssl.SSLError):
            raise WebhooksError(f"`ca_file` {one.ca_file} has no certificates") from None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise WebhooksError("`url` is not an address") from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise WebhooksError("`url` must be an https address (http only to this machine)")
    if parts.username or parts.password or parts.fragment:
        raise WebhooksError("`url` must have neither user nor password nor fragment")

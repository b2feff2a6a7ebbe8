"""How each process of a stack is configured: the environment that it starts with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.layout import Layout, service_of
from harness.postgres import Postgres
from harness.root import OUR_PATH
from harness.valkey import Valkey

_OURS = ("EDGE_", "BRAIN_", "AUTH_", "METRICS_")
_EDGE_OWN = ("HOST", "PORT", "DEBUG")
GRPC_EXPERIMENTS = "-event_engine_client,-event_engine_listener"
"""gRPC reads this when it is imported, and then reads and writes sockets on the thread that waits
for events. By default each event passes through a pool of four more threads: seven context switches
for a lone message there and back, a tenth of what a lone interaction costs.
"""


def inherited() -> dict[str, str]:
    """Return what a process takes over from this one: nothing that configures a service."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(_OURS) and key not in _EDGE_OWN
    }
    return {"GRPC_EXPERIMENTS": GRPC_EXPERIMENTS} | kept | OUR_PATH


class Environments:
    """The environment of every process of one stack."""

    def __init__(
        self,
        layout: Layout,
        directory: Path,
        credential_file: Path,
        given: Mapping[str, str],
        *,
        postgres: Postgres | None,
        valkey: Valkey | None,
    ) -> None:
        """`given` adds to or replaces what the stack sets; of it, every process sees the variables
        of its own prefix only. An empty value removes a variable.
        """
        self._layout = layout
        self._directory = directory
        self._credential_file = credential_file
        self._given = given
        self._further: dict[str, dict[str, str]] = {}
        self._postgres = postgres
        self._valkey = valkey

    def add(self, name: str, env: Mapping[str, str]) -> None:
        """Add variables to a process's environment; what was given at the beginning goes first."""
        self._further[name] = {**self._further.get(name, {}), **env}

    def of(self, name: str) -> dict[str, str]:
        """Return the whole environment of a process."""
        service = service_of(name)
        others = tuple(prefix for prefix in _OURS if prefix != f"{service.upper()}_")
        given = {
            key: value
            for key, value in self._given.items()
            if not key.startswith(others) and (service == "edge" or key not in _EDGE_OWN)
        }
        found = inherited() | self._settings(name) | self._further.get(name, {}) | given
        return {key: value for key, value in found.items() if value}

    def database(self, service: str) -> Path:
        """Return the SQLite file of a gRPC service, where it has one."""
        return self._directory / f"{service}.sqlite3"

    def _settings(self, name: str) -> dict[str, str]:
        service = service_of(name)
        prefix = service.upper()
        settings = {
            f"{prefix}_CREDENTIAL_FILE": str(self._credential_file),
            f"{prefix}_EXPOSITION_LISTEN": self._layout.exposition(name),
        }
        return settings | (self._edge() if service == "edge" else self._service(name, service))

    def _edge(self) -> dict[str, str]:
        layout, port = self._layout, str(self._layout.ports.edge)
        return {
            "HOST": layout.host,
            "PORT": port,
            # One page, whatever this machine is called in the address bar.
            "EDGE_ALLOWED_ORIGINS": ",".join(
                f"http://{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]")
            ),
            # Nobody balances these edges: there is nothing that needs time to notice.
            "EDGE_DRAIN_NOTICE_S": "0",
            "EDGE_REUSE_PORT": "" if layout.has_one_edge else "1",
            "EDGE_BRAIN_ADDRESSES": ",".join(map(layout.address, layout.named("brain"))),
            "EDGE_AUTH_ADDRESS": layout.address("auth"),
            "EDGE_METRICS_ADDRESS": layout.address("metrics"),
        }

    def _service(self, name: str, service: str) -> dict[str, str]:
        prefix = service.upper()
        settings = {
            f"{prefix}_LISTEN": self._layout.address(name),
            f"{prefix}_DATABASE_URL": self._postgres.address(service)
            if self._postgres
            else str(self.database(service)),  # as a URL, `?` and `%` in it would mean something
        }
        if service == "brain" and self._valkey:
            settings["BRAIN_BUS_URL"] = self._valkey.url
        if name == "auth":
            settings["AUTH_KEY_FILE"] = str(self._directory / "auth-keys.json")
        return settings

"""Keeps what runs on this machine out of the hands of a web proxy that the environment names."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


def spare_loopback(environ: MutableMapping[str, str]) -> None:
    """Have no library ask a proxy for this machine: gRPC and HTTP clients look at these."""
    for name in ("no_proxy", "NO_PROXY"):
        spared = [entry for entry in environ.get(name, "").split(",") if entry.strip()]
        environ[name] = ",".join(dict.fromkeys([*spared, *LOOPBACK]))

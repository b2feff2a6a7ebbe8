"""Carries what brains committed to watchers, in this process and in other brains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brain_service.bus.local import LocalBus

# A single brain does not load Valkey's library, which brings telemetry of its own.
if TYPE_CHECKING:
    from brain_service.bus.valkey import ValkeyBus


def open_bus(url: str, epoch: str) -> LocalBus | ValkeyBus:
    """Return the bus at this address, not yet started; without one, a bus within this process."""
    if not url:
        return LocalBus()
    from brain_service.bus.valkey import ValkeyBus

    return ValkeyBus(url, epoch)


def check_url(url: str) -> str | None:
    """Return what is wrong with the address of a server, or None."""
    from brain_service.bus import valkey

    return valkey.check_url(url)

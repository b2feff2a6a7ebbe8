"""Carries what brains committed to whoever watches, in this process and in other brains."""

from __future__ import annotations

from brain_service.bus.local import LocalBus
from brain_service.bus.valkey import ValkeyBus


def open_bus(url: str, epoch: str) -> LocalBus | ValkeyBus:
    """Return the bus at this address, not yet started; one within this process for none."""
    return ValkeyBus(url, epoch) if url else LocalBus()

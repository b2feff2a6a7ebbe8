"""Everything of the edge that a session works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge.admission.access import Access
from edge.admission.budgets import Budgets
from edge.admission.registry import Registry
from edge.hub.hub import Hub
from edge.hub.rooms import Rooms
from edge.ports import Auth, Brain, RoomLink
from edge.settings import EdgeSettings
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import NO_RECORDING, NoRecording
from edge.telemetry.tracing import NO_TRACES, NoTraces
from edge.timers import TimerWheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Shared by all sessions of an edge."""

    settings: EdgeSettings
    hub: Hub
    rooms: Rooms
    registry: Registry
    budgets: Budgets
    """The budgets of users."""
    access: Access
    brain: Brain
    auth: Auth
    room_link: RoomLink
    counters: EdgeCounters
    timers: TimerWheel
    clock: Callable[[], float]
    """Monotonic seconds."""
    traces: NoTraces = NO_TRACES
    """Records sampled interactions."""
    recording: NoRecording = NO_RECORDING
    """Records frames and their answers."""

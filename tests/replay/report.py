"""Turns what became of a replay into a summary for people or machines. It sends nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.replay.lane import Tally

PERCENTILES = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a replay did."""

    interactions: int
    """In the log, as far as asked for."""
    seconds: float
    interrupted: bool
    tally: Tally
    states: dict[str, dict[str, Any]]
    """Per learner: revision, epoch, state, performance, as `state_response` tells them after the
    last interaction.
    """

    @property
    def complete(self) -> bool:
        """Whether every interaction of the log was acknowledged."""
        return self.tally.acknowledged == self.interactions

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain values."""
        tally = self.tally
        return {
            "interactions": self.interactions,
            "sent": tally.sent,
            "resent": tally.resent,
            "acknowledged": tally.acknowledged,
            "duplicates": tally.duplicates,
            "errors": dict(sorted(tally.errors.items())),
            "retryable_errors": dict(sorted(tally.retryable.items())),
            "error_examples": tally.examples,
            "reconnects": tally.reconnects,
            "seconds": round(self.seconds, 3),
            "acknowledged_per_s": (
                round(tally.acknowledged / self.seconds, 1) if self.seconds else None
            ),
            "latency_ms": latency_ms(tally.latencies_s),
            "complete": self.complete,
            "interrupted": self.interrupted,
            "learners": dict(sorted(self.states.items())),
        }

    def as_text(self) -> str:
        """Return the summary for people."""
        values = self.as_json()
        latency = values["latency_ms"]
        lines = [
            (
                f"sent          {values['sent']} of {values['interactions']}, and"
                f" {values['resent']} again"
            ),
            (
                f"acknowledged  {values['acknowledged']}, of which {values['duplicates']} were"
                " duplicates"
            ),
            f"errors        {_counts(values['errors'])}",
            (
                f"sent again    {_counts(values['retryable_errors'])} answered,"
                f" {values['reconnects']} reconnects"
            ),
            (
                f"took          {values['seconds']:.1f} s, {values['acknowledged_per_s'] or 0:.0f}"
                " a second"
            ),
        ]
        if latency:
            lines.append(
                "latency (ms)  "
                + "  ".join(f"{name} {value:.2f}" for name, value in latency.items())
            )
        lines += [f"  {example}" for example in values["error_examples"]]
        if self.states:
            lines += ["", _row(["learner", "revision", *_LEVELS])]
            for learner_id, known in values["learners"].items():
                state = known["state"] or {}
                levels = [f"{state[level]:.4f}" if level in state else "-" for level in _LEVELS]
                lines.append(_row([learner_id, str(known["revision"]), *levels]))
        return "\n".join(lines)


_LEVELS = (
    "cognitive_load",
    "engagement_level",
    "frustration_level",
    "fatigue_level",
    "confidence_level",
    "motivation_level",
)


def latency_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """Return mean, exact percentiles (nearest rank) and maximum in milliseconds; nothing when there
    are none.
    """
    if not latencies_s:
        return {}
    ordered = sorted(latencies_s)
    ranks = {f"p{p}": ordered[max(0, math.ceil(p / 100 * len(ordered)) - 1)] for p in PERCENTILES}
    values = {"mean": sum(ordered) / len(ordered), **ranks, "max": ordered[-1]}
    return {name: round(value * 1000, 3) for name, value in values.items()}


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {code}" for code, count in counts.items()) or "none"


def _row(cells: Sequence[str]) -> str:
    return f"{cells[0]:<16} {cells[1]:>8} " + " ".join(f"{cell:>17}" for cell in cells[2:])

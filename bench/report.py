"""Turns the figures of many runs into tables for people and JSON for machines. It measures
nothing.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import CROWDED, SATURATED, Figures
from bench.scenarios import Scenario
from harness.reports import replace_part, table

BEGIN, END = "<!-- bench: begin, written by `python -m bench --write` -->", "<!-- bench: end -->"
REFERENCE = "monolith"
"""What others are compared with, unless a comparison says otherwise."""

_LIBRARIES = (
    "fastapi",
    "uvicorn",
    "websockets",
    "uvloop",
    "pydantic",
    "msgspec",
    "grpcio",
    "protobuf",
)


@dataclass(slots=True)
class Comparison:
    """All runs of one scenario: per server the figures of every round, in the order of the
    rounds.
    """

    scenario: Scenario
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    reference: str = REFERENCE
    floors: list[Figures] = field(default_factory=list)
    """What a bare loop of `send` cost in each round, where that is measured."""

    def add(self, name: str, figures: Figures) -> None:
        """Keep the figures of one run."""
        self.runs.setdefault(name, []).append(figures)

    def ratios(self, name: str) -> list[float]:
        """How many times better a server was than the reference, round by round; empty without a
        reference.
        """
        pairs = zip(self.runs.get(self.reference, ()), self.runs.get(name, ()), strict=False)
        return [self.scenario.ratio(reference, ours) for reference, ours in pairs]

    def cost_ratios(self, name: str) -> list[float]:
        """How many times less processor time an operation took than at the reference, round by
        round.
        """
        pairs = zip(self.runs.get(self.reference, ()), self.runs.get(name, ()), strict=False)
        return [
            old["cpu_us"] / new["cpu_us"]
            for old, new in pairs
            if "cpu_us" in old and "cpu_us" in new
        ]

    def of_floor(self, name: str) -> list[float]:
        """How many times the processor time of a bare loop of `send` an operation of a server took,
        round by round; empty where that was not measured.
        """
        pairs = zip(self.floors, self.runs.get(name, ()), strict=False)
        return [ours["cpu_us"] / floor["cpu_us"] for floor, ours in pairs]

    def middle(self, name: str, figure: str) -> float | None:
        """The median of a figure over the rounds; None where it was not measured."""
        values = [figures[figure] for figures in self.runs.get(name, ()) if figure in figures]
        return median(values) if values else None

    def verdict(self, name: str) -> str:
        """Whether a server reached the goal."""
        scenario, value = self.scenario, self.middle(name, self.scenario.figure)
        ratios = self.ratios(name)
        if scenario.goal_ratio is not None and ratios:
            return (
                f"{'yes' if median(ratios) >= scenario.goal_ratio else 'NO'} (≥"
                f" {scenario.goal_ratio:g}×)"
            )
        if scenario.goal is not None and value is not None:
            reached = value <= scenario.goal if scenario.lower_is_better else value >= scenario.goal
            sign = "≤" if scenario.lower_is_better else "≥"
            return f"{'yes' if reached else 'NO'} ({sign} {scenario.goal:g} {scenario.unit})"
        return "–"


def tables(comparisons: Sequence[Comparison]) -> str:
    """Return the tables in Markdown: what is compared, then what it cost and how long it took."""
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.runs))
    references = {comparison.reference for comparison in comparisons}
    others = [name for name in names if name not in references]
    head = ["scenario", "unit", *names, *[f"{name}: times better" for name in others]]
    head += [*[f"{name}: times less CPU" for name in others], "goal reached"]
    rows = []
    for comparison in comparisons:
        scenario = comparison.scenario
        row = [scenario.title, scenario.unit]
        row += [
            _spread([figures[scenario.figure] for figures in comparison.runs.get(name, ())])
            for name in names
        ]
        row += [_spread(comparison.ratios(name), unit="×") for name in others]
        row += [_spread(comparison.cost_ratios(name), unit="×") for name in others]
        row.append("; ".join(comparison.verdict(name) for name in others) or "–")
        rows.append(row)
    return "\n\n".join(
        part for part in (table(head, rows), _details(comparisons), notes(comparisons)) if part
    )


def _details(comparisons: Sequence[Comparison]) -> str:
    head = [
        "scenario",
        "server",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "CPU µs per operation",
        "of which",
        "servers busy",
    ]
    rows = []
    for comparison in comparisons:
        for name, runs in comparison.runs.items():
            parts = [key for key in runs[0] if key.startswith(("cpu_us.", "memory_kb."))]
            shown = [
                f"{part.split('.', 1)[1]} {_number(comparison.middle(name, part))}"
                for part in parts
            ]
            rows.append(
                [
                    comparison.scenario.name,
                    name,
                    *[
                        _number(comparison.middle(name, f"{rank}_ms"))
                        for rank in ("p50", "p95", "p99")
                    ],
                    _number(comparison.middle(name, "cpu_us")),
                    ", ".join(shown) if len(parts) > 1 else "",
                    _percent(comparison.middle(name, "server_busy")),
                ]
            )
    return table(head, rows)


def notes(comparisons: Sequence[Comparison]) -> str:
    """Return what a reader must know before believing a figure: where the generator was the limit,
    or sent late.
    """
    found = []
    for comparison in comparisons:
        for name in comparison.runs:
            if name != comparison.reference and (times := comparison.of_floor(name)):
                most = comparison.scenario.most_of_floor or 0.0
                found.append(
                    f"- **{comparison.scenario.name}, {name}**: {_spread(times, unit='×')} the"
                    " processor time of a bare loop of `send`"
                    f" ({_number(median(floor['cpu_us'] for floor in comparison.floors))} µs; goal"
                    f" ≤ {most:g}×: {'yes' if median(times) <= most else 'NO'})."
                )
            busy = comparison.middle(name, "generator_busy") or 0.0
            late = comparison.middle(name, "late_p95_ms") or 0.0
            strangers = comparison.middle(name, "strangers_busy") or 0.0
            where = f"{comparison.scenario.name}, {name}"
            if busy > SATURATED:
                found.append(
                    f"- **{where}**: the generator was {busy:.0%} busy; the server could do more."
                )
            if strangers > CROWDED:
                found.append(
                    f"- **{where}**: other programs took {strangers:.0%} of the servers' core"
                    " meanwhile."
                )
            if late > 1.0:
                found.append(
                    f"- **{where}**: 5 % of the interactions were sent over {late:.1f} ms late."
                )
    return "\n".join(found)


def surroundings(command: str) -> dict[str, Any]:
    """Return where and with what a run was made."""
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def as_json(comparisons: Sequence[Comparison], command: str) -> str:
    """Return every figure of every run."""
    return json.dumps(
        {
            **surroundings(command),
            "scenarios": {
                comparison.scenario.name: {
                    "title": comparison.scenario.title,
                    "unit": comparison.scenario.unit,
                    "figure": comparison.scenario.figure,
                    "runs": comparison.runs,
                    "ratios": {
                        name: comparison.ratios(name)
                        for name in comparison.runs
                        if name != comparison.reference
                    },
                    "floors": comparison.floors,
                }
                for comparison in comparisons
            },
        },
        indent=2,
    )


def write_block(path: Path, comparisons: Sequence[Comparison], command: str) -> None:
    """Replace the generated part of a document. Raises ValueError where the document has no place
    for it.
    """
    where = surroundings(command)
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    made = (
        f"Made by `{command}` on {where['date']}: {where['processor']}, {where['cores']} cores, "
        f"Python {where['python']}, {libraries}."
    )
    replace_part(path, BEGIN, END, f"{made}\n\n{tables(comparisons)}")


def _spread(values: Sequence[float], unit: str = "") -> str:
    if not values:
        return "–"
    if len(values) == 1:
        return f"{_number(values[0])}{unit}"
    return f"{_number(median(values))}{unit} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return (
        f"{value:,.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
    )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

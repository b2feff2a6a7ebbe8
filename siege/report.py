"""What a siege found, for people: a line for each kind, a table, and which goals were missed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from bench.measure import CROWDED

HEAD = (
    "| hostile clients | ping p50 | p99 | worst | answer p95 | × quiet | sign-in worst |"
    " edge busy | edge memory | others' memory | connections |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def combined(rounds: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return one run of each kind: medians of several rounds, and all that went wrong.

    The first of each round is the quiet one; `times` is how many times its p95 the honest waited.
    """
    answers = "interactions_p95_ms"
    for runs in rounds:
        quiet = runs[0]["honest"].get(answers)
        for run in runs:
            waited = run["honest"].get(answers)
            run["times"] = waited / quiet if quiet and waited else None
    return [_middle(same) for same in zip(*rounds, strict=True)]


def _middle(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of several runs of one kind."""
    first, noticed = runs[0], [run["honest"] for run in runs]
    shown = Counter[str]()
    for one in noticed:
        shown.update(one["shown"])
    figures = [name for name in noticed[0] if name != "shown" and all(name in n for n in noticed)]
    times = [run["times"] for run in runs if run["times"] is not None]
    return first | {
        "honest": {name: median(one[name] for one in noticed) for name in figures}
        | {"lost": sum(one["lost"] for one in noticed), "shown": dict(shown)},
        "memory_mb": _medians([run["memory_mb"] for run in runs]),
        "busy": _medians([run["busy"] for run in runs]),
        "others_busy": median(run["others_busy"] for run in runs),
        "times": median(times) if times else None,
        "errors": [error for run in runs for error in run["errors"]],
    }


def _medians(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in figures) for name in figures[0]}


def line(run: dict[str, Any]) -> str:
    """Return one run as a line."""
    noticed, memory = run["honest"], run["memory_mb"]
    most = sorted(run["hostile"]["outcomes"].items(), key=lambda item: -item[1])[:4]
    return (
        f"{run['kind']:42} ping p99 {_ms(noticed, 'pings_p99_ms')} worst"
        f" {_ms(noticed, 'pings_max_ms')}, answer p95 {_ms(noticed, 'interactions_p95_ms')},"
        f" health worst {_ms(noticed, 'health_max_ms')}, sign-in worst"
        f" {_ms(noticed, 'logins_max_ms')}; edge {run['busy']['edge']:4.0%}"
        f" {memory['edge']:+6.1f} MB, others {_others(memory):+6.1f} MB;"
        f" sent {run['hostile']['sent_mb']:5.1f} MB, {run['hostile']['opened']:5d} connections:"
        f" {', '.join(f'{count}× {name}' for name, count in most) or 'none'}"
        + (f"; crowded {run['others_busy']:.0%}" if run["others_busy"] > CROWDED else "")
        + (f"; lost {noticed['lost']:.0f}" if noticed["lost"] else "")
        + (f"; shown {noticed['shown']}" if noticed["shown"] else "")
        + (f"; {len(run['errors'])} errors logged" if run["errors"] else "")
    )


def table(runs: Sequence[dict[str, Any]]) -> str:
    """Return all runs as a table of Markdown."""
    return "\n".join([HEAD, *(_row(run) for run in runs)])


def missed(
    runs: Sequence[dict[str, Any]],
    *,
    ping_p99_ms: float,
    memory_mb: float,
    times: float,
    sign_in_ms: float,
) -> list[str]:
    """Return a sentence for each goal that a run missed."""
    sentences = []
    for run in runs:
        noticed, kind = run["honest"], run["kind"]
        if noticed["pings_p99_ms"] > ping_p99_ms:
            crowded = (
                f", while other programs took {run['others_busy']:.0%} of the services' core"
                if run["others_busy"] > CROWDED
                else ""
            )
            sentences.append(
                f"{kind}: an honest ping's p99 was {noticed['pings_p99_ms']:.0f} ms{crowded}"
            )
        if (run["times"] or 0.0) > times:
            sentences.append(
                f"{kind}: the p95 of an honest answer was {run['times']:.1f} times the quiet's"
            )
        if noticed.get("logins_max_ms", 0.0) > sign_in_ms:
            sentences.append(
                f"{kind}: somebody new waited {noticed['logins_max_ms']:.0f} ms for a sign-in"
            )
        if run["memory_mb"]["edge"] > memory_mb:
            sentences.append(f"{kind}: the edge took {run['memory_mb']['edge']:.0f} MB more")
        if noticed["lost"] or noticed["shown"]:
            sentences.append(
                f"{kind}: honest people lost {noticed['lost']:.0f} sockets and were shown"
                f" {noticed['shown'] or 'no errors'}"
            )
        if run["errors"]:
            sentences.append(f"{kind}: {len(run['errors'])} errors logged, {run['errors'][0]:.300}")
    return sentences


def _row(run: dict[str, Any]) -> str:
    noticed, memory = run["honest"], run["memory_mb"]
    cells = [
        run["kind"],
        *(
            _ms(noticed, name)
            for name in (
                "pings_p50_ms",
                "pings_p99_ms",
                "pings_max_ms",
                "interactions_p95_ms",
            )
        ),
        "–" if run["times"] is None else f"{run['times']:.1f}",
        _ms(noticed, "logins_max_ms"),
        f"{run['busy']['edge']:.0%}",
        f"{memory['edge']:+.1f} MB",
        f"{_others(memory):+.1f} MB",
        str(run["hostile"]["opened"]),
    ]
    return "| " + " | ".join(cells) + " |"


def _ms(figures: dict[str, Any], name: str) -> str:
    value = figures.get(name)
    return "–" if value is None else f"{value:.1f} ms" if value < 100 else f"{value:.0f} ms"


def _others(memory: dict[str, float]) -> float:
    return sum(value for name, value in memory.items() if name != "edge")

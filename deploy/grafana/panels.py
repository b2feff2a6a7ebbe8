"""What panels are made of: a title, why it is there, what is asked, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RATE = "[$__rate_interval]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One graph or number."""

    title: str
    meaning: str
    queries: tuple[tuple[str, str], ...]
    """Expressions with their legends."""
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    exemplars: bool = False
    stacked: bool = False


def panel(title: str, meaning: str, *queries: tuple[str, str] | str, **more: Any) -> Panel:
    """Return a panel; a query without a legend is shown under its instance."""
    pairs = tuple((query, "{{instance}}") if isinstance(query, str) else query for query in queries)
    return Panel(title=title, meaning=meaning, queries=pairs, **more)


def number(title: str, meaning: str, expression: str, **more: Any) -> Panel:
    """Return a panel that shows one number."""
    return Panel(
        title=title, meaning=meaning, queries=((expression, ""),), kind="stat", width=4, **more
    )


def quantiles(metric: str, where: str = "", *, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the 50th, 95th and 99th percentile of a histogram."""
    grouping = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    rate = f"sum by ({grouping}) (rate({metric}_bucket{where}{RATE}))"
    return tuple((f"histogram_quantile({q / 100}, {rate})", f"{legend}p{q}") for q in (50, 95, 99))


def mean(metric: str, where: str = "", *, by: str = "instance") -> str:
    """Return the mean of a histogram."""
    return (
        f"sum by ({by}) (rate({metric}_sum{where}{RATE})) / sum by ({by})"
        f" (rate({metric}_count{where}{RATE}))"
    )


def process_panels(job: str, instance: str = "") -> tuple[Panel, ...]:
    """Return what every process shows of itself."""
    where = f'{{job="{job}"{instance}}}'
    return (
        panel(
            "Processor",
            "Cores in use; one process uses at most about one.",
            f"rate(process_cpu_seconds_total{where}{RATE})",
            width=6,
        ),
        panel(
            "Memory",
            "Resident memory.",
            f"process_resident_memory_bytes{where}",
            unit="bytes",
            width=6,
        ),
        panel(
            "Event loop",
            "How long a scrape waited for the loop, as everything else does.",
            f"aivo_event_loop_wait_seconds{where}",
            unit="s",
            width=6,
        ),
        panel("Open files", "Sockets included.", f"process_open_fds{where}", width=6),
    )


def call_panels(job: str) -> tuple[Panel, ...]:
    """Return what a service's unary calls show."""
    return (
        panel(
            "Calls",
            "Unary calls a second, by status.",
            (f'sum by (code) (rate(aivo_rpc_server_calls_total{{job="{job}"}}{RATE}))', "{{code}}"),
            unit="cps",
            stacked=True,
            width=12,
        ),
        panel(
            "Call duration",
            "95th percentile by method.",
            (
                "histogram_quantile(0.95, sum by (le, method) (rate("
                f'aivo_rpc_server_duration_seconds_bucket{{job="{job}"}}{RATE})))',
                "{{method}}",
            ),
            unit="s",
            width=12,
        ),
    )

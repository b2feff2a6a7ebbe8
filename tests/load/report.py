"""What a run is told as: the guide's report line for line, then what the guide's did not know; or
the same as JSON.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from tests.load.client import Run
from tests.load.histogram import Histogram
from tests.load.run import Outcome
from tests.load.verdict import KINDS

RULE: Final = "=" * 60
_KIND_NAMES: Final = {
    "lost": "Lost",
    "duplicated": "Duplicated",
    "out_of_order": "Out of order",
    "stale": "Stale",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What was asked for; stands above every report."""

    url: str
    connections: int
    duration_s: float
    started: str
    scenario: str
    rate: float
    ramp_s: float


def passed(run: Run, outcome: Outcome) -> bool:
    """Tell whether the server kept its promises, and whether there was anything to judge."""
    return run.verdict.kept and run.tally.answered > 0


def heading(conditions: Conditions) -> str:
    """Return what stands above a report."""
    return f"""{RULE}
WebSocket Load Test
{RULE}
URL: {conditions.url}
Connections: {conditions.connections}
Duration: {conditions.duration_s:g}s
Started: {conditions.started}
{RULE}
"""


def text(conditions: Conditions, run: Run, outcome: Outcome) -> str:
    """Return the report."""
    return f"{_of_the_guide(run, outcome)}\n{_beyond_the_guide(conditions, run, outcome)}"


def _of_the_guide(run: Run, outcome: Outcome) -> str:
    tally = run.tally
    connect, latency = tally.connect, tally.latency
    attempts = tally.connected + tally.failed.total()
    errors = tally.errors.total()
    return f"""
{RULE}
Load Test Results
{RULE}

Connection Statistics:
  Successful: {tally.connected}
  Failed: {tally.failed.total()}
  Success Rate: {_percent(tally.connected, attempts)}

Connection Times:
  Average: {connect.mean:.3f}s
  Median: {connect.percentile(50):.3f}s
  Min: {connect.least:.3f}s
  Max: {connect.greatest:.3f}s

Message Statistics:
  Sent: {tally.sent}
  Received: {tally.answered}
  Throughput: {_per_s(outcome.answered, outcome.loaded_s):.2f} msg/s

Latency Statistics (ms):
  Average: {latency.mean * 1000:.2f}ms
  Median: {latency.percentile(50) * 1000:.2f}ms
  Min: {latency.least * 1000:.2f}ms
  Max: {latency.greatest * 1000:.2f}ms
  P95: {latency.percentile(95) * 1000:.2f}ms
  P99: {latency.percentile(99) * 1000:.2f}ms

Error Statistics:
  Total Errors: {errors}
  Error Rate: {_percent(errors, tally.sent)}

Overall:
  Total Duration: {outcome.total_s:.2f}s
  Connections/Second: {_per_s(tally.connected, outcome.total_s):.2f}

{RULE}
"""


def _beyond_the_guide(conditions: Conditions, run: Run, outcome: Outcome) -> str:
    tally, check = run.tally, run.self_check
    lines = [
        "Load:",
        f"  Scenario: {conditions.scenario}",
        (
            f"  Rate: {conditions.rate:.2f} msg/s due (open loop),"
            f" {_per_s(tally.sent, outcome.loaded_s):.2f} msg/s sent"
        ),
        f"  Held Back by Told Limits: {tally.held_back}",
        f"  Never Sent: {tally.never_sent}",
        "",
        "Latency by Message (ms, from the moment it was due):",
        *(f"  {kind}: {_times(times)}" for kind, times in tally.latency_of.items() if times.count),
        "",
        "State Updates:",
        f"  Received: {tally.updates} ({_per_s(tally.updates, outcome.loaded_s):.2f}/s)",
        f"  Coalesced: {tally.coalesced}",
        f"  From Interaction Due to Update (ms): {_times(tally.deliveries.times)}",
        "",
        "Sockets:",
        f"  Cut by the Scenario: {tally.cuts}",
        f"  Closed by the Server or the Network: {tally.closes.total()}{_detail(tally.closes)}",
        f"  Reconnect (ms): {_times(tally.reconnect)}",
        f"  Messages Sent Again: {tally.resent}",
    ]
    if tally.failed:
        lines += ["", "Failed Connections:", *_listed(tally.failed)]
    if tally.errors:
        lines += ["", "Errors:", *_listed(tally.errors)]
    lines += [
        "",
        "Generator:",
        f"  CPU: {check.busy:.0%} of a core",
        f"  Event Loop Lag (ms): {_times(check.lag)}",
        f"  Sent Late (ms): {_times(check.late)}",
        "  Saturated: " + ("; ".join(check.reasons) or "no"),
    ]
    if check.reasons:
        lines.append(
            "  It could not keep its times (its own load, or a busy machine): believe the verdict,"
            " not the latencies."
        )
    lines += ["", "Verdict:"]
    for kind in KINDS:
        lines.append(f"  {_KIND_NAMES[kind]}: {run.verdict.counts[kind]}")
        lines += [f"    {example}" for example in run.verdict.examples[kind]]
    lines.append(f"  Revisions of Others: {outcome.unexplained}")
    if outcome.interrupted:
        lines.append("  Interrupted: what was measured until then")
    lines.append(f"  Result: {_result(run, outcome)}")
    return "\n".join(lines)


def as_json(conditions: Conditions, run: Run, outcome: Outcome) -> dict[str, Any]:
    """Return everything of the report; times in milliseconds unless the name says otherwise."""
    tally, check = run.tally, run.self_check
    return {
        "url": conditions.url,
        "scenario": conditions.scenario,
        "started": conditions.started,
        "connections": conditions.connections,
        "duration_s": conditions.duration_s,
        "rate_due": conditions.rate,
        "ramp_s": conditions.ramp_s,
        "total_s": outcome.total_s,
        "loaded_s": outcome.loaded_s,
        "interrupted": outcome.interrupted,
        "connected": tally.connected,
        "failed": dict(tally.failed),
        "connect_ms": _figures(tally.connect),
        "requested": tally.requested,
        "sent": tally.sent,
        "received": tally.answered,
        "resent": tally.resent,
        "held_back": tally.held_back,
        "never_sent": tally.never_sent,
        "throughput": _per_s(outcome.answered, outcome.loaded_s),
        "latency_ms": _figures(tally.latency),
        "latency_by_message_ms": {
            kind: _figures(times) for kind, times in tally.latency_of.items()
        },
        "updates": tally.updates,
        "coalesced": tally.coalesced,
        "update_latency_ms": _figures(tally.deliveries.times),
        "cuts": tally.cuts,
        "closes": dict(tally.closes),
        "reconnect_ms": _figures(tally.reconnect),
        "errors": dict(tally.errors),
        "generator": {
            "cpu": check.busy,
            "event_loop_lag_ms": _figures(check.lag),
            "sent_late_ms": _figures(check.late),
            "saturated": check.reasons,
        },
        "verdict": (
            run.verdict.counts | {"examples": run.verdict.examples, "passed": passed(run, outcome)}
        ),
        "revisions_of_others": outcome.unexplained,
    }


def _result(run: Run, outcome: Outcome) -> str:
    if passed(run, outcome):
        return "PASSED"
    return (
        "FAILED, promises were broken" if not run.verdict.kept else "FAILED, nothing was answered"
    )


def _times(times: Histogram) -> str:
    if not times.count:
        return "none"
    shown = {"P50": times.percentile(50), "P95": times.percentile(95), "P99": times.percentile(99)}
    return ", ".join(
        f"{name} {value * 1000:.2f}" for name, value in (shown | {"max": times.greatest}).items()
    )


def _figures(times: Histogram) -> dict[str, float]:
    seconds = {
        "mean": times.mean,
        "min": times.least,
        **{f"p{percent:g}": times.percentile(percent) for percent in (50, 90, 95, 99, 99.9)},
        "max": times.greatest,
    }
    return {"count": times.count} | {
        name: round(value * 1000, 3) for name, value in seconds.items()
    }


def _listed(counts: Counter[str]) -> list[str]:
    return [f"  {name}: {count}" for name, count in counts.most_common()]


def _detail(counts: Counter[str]) -> str:
    return (
        f" ({', '.join(f'{code}: {count}' for code, count in counts.most_common())})"
        if counts
        else ""
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.2f}%"


def _per_s(count: int, seconds: float) -> float:
    return count / seconds if seconds else 0.0

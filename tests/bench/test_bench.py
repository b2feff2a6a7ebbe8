"""The benchmark's own promises; how fast anything is, no test here says."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench import bench_traces, load, report, targets
from bench.__main__ import main, run
from bench.fan_out import fan_out
from bench.measure import latency_figures
from bench.report import Comparison
from bench.scenarios import QUICK, SCENARIOS, named
from bench.storm import LEAST_WAIT_S
from bench.target import LoadError, Target, ask, open_socket
from harness import traffic
from harness.websocket import Socket, json_frame, text_frame

PACE = replace(QUICK, warmup_s=0.1, seconds=0.4, hold_s=0.2, idle_sockets=50, storm_sockets=40)


@pytest.fixture(scope="module")
def monolith() -> Iterator[Target]:
    with targets.monolith(20) as contestant, contestant.start() as target:
        yield target


def test_half_a_second_of_load_gives_a_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    arguments = [
        "--quick",
        "--seconds",
        "0.5",
        "--server",
        "monolith",
        "--only",
        "ping",
        "--json",
        str(figures),
    ]
    assert main(arguments) == 0
    assert "| Ping → pong" in capsys.readouterr().out
    (ping,) = json.loads(figures.read_text())["scenarios"]["ping"]["runs"]["monolith"]
    assert ping["operations"] > 0
    assert ping["errors"] == 0
    assert ping["cpu_us"] == pytest.approx(ping["cpu_us.monolith"])


@pytest.mark.parametrize("name", ["interact-1", "watched", "pipelined", "connect", "idle", "storm"])
def test_a_scenario_measures_what_it_compares(monolith: Target, name: str) -> None:
    (scenario,) = named([name])
    figures = run(scenario, monolith, PACE)
    # So few sockets may leave a process smaller than it was.
    assert figures[scenario.figure] >= 0 or scenario.figure == "memory_kb"
    assert figures["errors"] == 0


def test_whoever_comes_back_from_a_storm_is_current() -> None:
    with targets.services(20) as contestant, contestant.start() as target:
        figures = run(named(["storm"])[0], target, PACE)
    assert figures["operations"] == PACE.storm_sockets
    assert figures["back_s"] > LEAST_WAIT_S


def test_what_a_bare_loop_of_send_costs_is_told_beside_a_fan_out() -> None:
    (scenario,) = named(["fan-out"])
    with targets.sends(300) as target:
        floor = asyncio.run(fan_out(target, watchers=10, warmup_s=0.1, seconds=0.4))
    assert floor["update_bytes"] == 300
    assert floor["rate"] > 0

    comparison = Comparison(scenario)
    for cost in (9.0, 11.0):
        comparison.add("services", floor | {"cpu_us": cost})
        comparison.floors.append(floor | {"cpu_us": 5.0})
    assert comparison.of_floor("services") == [1.8, 2.2]
    assert "2.00× (1.80–2.20) the processor time of a bare loop" in report.notes([comparison])
    assert "NO" in report.notes([comparison])


def test_fan_out_counts_every_delivery_to_every_watcher(monolith: Target) -> None:
    figures = asyncio.run(fan_out(monolith, watchers=10, warmup_s=0.1, seconds=0.4))
    assert figures["updates_rate"] > 0
    assert figures["rate"] == pytest.approx(figures["updates_rate"] * 10, rel=0.1)


def test_the_open_loop_answers_everything_it_sent(monolith: Target) -> None:
    pace = {"rate": 50.0, "warmup_s": 0.1, "seconds": 0.5}
    figures = asyncio.run(load.open_loop(monolith, sockets=5, subscribe=False, **pace))
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["max_ms"]


def test_an_error_frame_makes_a_run_void(monolith: Target) -> None:
    async def ask_nonsense() -> None:
        socket = await open_socket(monolith, 0)
        frame = json_frame({"type": "subscribe_learner", "learner_id": ""})
        with contextlib.closing(socket.transport):
            await ask(monolith, socket, frame, traffic.SUBSCRIBED)

    with pytest.raises(LoadError, match="bad_request"):
        asyncio.run(ask_nonsense())


def test_a_refused_token_is_told(monolith: Target) -> None:
    with pytest.raises(LoadError, match="closed with"):
        asyncio.run(open_socket(replace(monolith, tokens=("nonsense",)), 0))


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_frames_arrive_whole_however_they_are_cut(size: int, step: int) -> None:
    got: list[bytes] = []
    socket = Socket("localhost", "/ws", got.append)
    stream = (
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + 2 * _unmasked(b"x" * size) + _unmasked(b"end")
    )
    for at in range(0, len(stream), step):
        socket.data_received(stream[at : at + step])
    assert got == [b"x" * size, b"x" * size, b"end"]


def test_a_scenario_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_percentiles_are_nearest_ranks() -> None:
    assert latency_figures([i / 1000 for i in range(1, 101)]) == pytest.approx(
        {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99, "max_ms": 100}
    )
    assert latency_figures([]) == {}


def test_ratios_pair_rounds_and_say_times_better() -> None:
    (ping,) = named(["ping"])
    (idle,) = named(["idle"])
    faster, smaller = Comparison(ping), Comparison(idle)
    for old, new in ((10.0, 30.0), (20.0, 50.0)):
        faster.add("monolith", {"rate": old})
        faster.add("services", {"rate": new})
    smaller.add("monolith", {"memory_kb": 30.0})
    smaller.add("services", {"memory_kb": 10.0})
    assert faster.ratios("services") == [3.0, 2.5]
    assert faster.verdict("services").startswith("yes")
    assert smaller.ratios("services") == [3.0]
    assert smaller.verdict("services").startswith("NO")


def test_writing_replaces_the_generated_part_only(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    comparison = Comparison(SCENARIOS[0])
    comparison.add("monolith", {"rate": 123.0})
    report.write_block(document, [comparison], "python -m bench")
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "123" in text
    assert "old" not in text
    document.write_text("nowhere")
    with pytest.raises(ValueError, match="needs the lines"):
        report.write_block(document, [comparison], "python -m bench")


def _unmasked(payload: bytes) -> bytes:
    masked = text_frame(payload)
    head = len(masked) - len(payload) - 4
    return bytes((masked[0], masked[1] & 0x7F)) + masked[2:head] + payload


def test_the_cost_of_tracing_is_certain_only_where_its_whole_interval_is() -> None:
    close, wide = (
        bench_traces.interval([0.01, 0.02, 0.03] * 20),
        bench_traces.interval([-0.2, 0.02, 0.3]),
    )

    assert close.low <= close.median == 0.02 <= close.high < 0.03
    assert (wide.low, wide.high) == (-0.2, 0.3)
    judged = [
        bench_traces.judged(one, 0.03) for one in (close, wide, bench_traces.interval([0.05] * 9))
    ]
    assert judged == ["yes", "not certain", "NO"]

"""The process: it serves, survives a kill with its totals, stops at a signal, and its commands work
beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aivo.metrics.v1 import metrics_pb2 as pb
from aivo.metrics.v1 import metrics_pb2_grpc
from harness.postgres import Postgres
from metrics_service.__main__ import TURN_S, main
from metrics_service.store import SCHEMA, Store, Tally
from metrics_service.store.leadership import Leadership
from metrics_service.store.sql_store import open_database
from service_runtime.grpc_client import ClientSettings, open_channel
from tests.metrics_service.support import NOW_MS, PATIENCE_S, Exchange, batch, url
from tests.support.postgres import migrated

ROOT = Path(__file__).parents[2]


def environment(folder: Path, **more: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("METRICS_")
    }
    return inherited | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "proto/gen")]),
        "METRICS_LISTEN": "127.0.0.1:0",
        "METRICS_EXPOSITION_LISTEN": "off",
        "METRICS_CREDENTIAL": "process-credential",
        "METRICS_DATABASE_URL": url(folder),
        "METRICS_TOTALS_INTERVAL_S": "0.05",
        **more,
    }


@dataclass
class Running:
    process: asyncio.subprocess.Process
    stub: Any
    metadata: Any

    async def snapshot_with(self, **metrics: int) -> pb.FleetSnapshot:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                response = await self.stub.GetSnapshot(
                    pb.GetSnapshotRequest(), metadata=self.metadata
                )
                if all(
                    getattr(response.snapshot, name) == value for name, value in metrics.items()
                ):
                    snapshot: pb.FleetSnapshot = response.snapshot
                    return snapshot


@contextlib.asynccontextmanager
async def process(variables: Mapping[str, str]) -> AsyncIterator[Running]:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "metrics_service", env=variables, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_S * 2):
            assert started.stderr is not None
            while "listening" not in (line := await started.stderr.readline()).decode():
                assert line, "the process ended before it listened"
        channel = open_channel(
            f"127.0.0.1:{json.loads(line)['port']}", ClientSettings(credential="process-credential")
        )
        stub: Any = metrics_pb2_grpc.MetricsServiceStub(channel.channel)
        yield Running(started, stub, channel.metadata)
        await channel.close()
    finally:
        if started.returncode is None:
            started.kill()
        # Reads the rest of the log too, so that the pipe closes.
        await started.communicate()


async def saved(folder: Path, sent: int, recorded: int) -> None:
    """Wait until the totals are on the disk."""

    def look() -> tuple[int, int]:
        store = Store.open(url(folder))
        retained, tally = store.load()
        store.close()
        return retained.totals.messages_sent, tally.recorded

    async with asyncio.timeout(PATIENCE_S):
        while await asyncio.to_thread(look) != (sent, recorded):
            pass


async def test_totals_and_records_survive_kill_and_the_edge_tells_what_was_missed(
    tmp_path: Path,
) -> None:
    async with process(environment(tmp_path)) as first:
        edge = first.stub.Report(metadata=first.metadata)
        await edge.write(
            pb.ReportRequest(
                edge_id="e", messages_sent=70, connections_active=3, users_connected=["u"]
            )
        )
        records = first.stub.RecordMessages(metadata=first.metadata)
        exchanges = pb.Exchanges(
            first_ms=NOW_MS * 2,
            after_ms=[0],
            users=[""],
            user=[0],
            kinds=[pb.ExchangeKind(type="ping", outcome="ok")],
            kind=[0],
            bytes=[2],
            answer_bytes=[0],
            latency_us=[0],
        )
        await records.write(pb.RecordMessagesRequest(edge_id="e", exchanges=exchanges))
        await first.snapshot_with(messages_sent=70, users_connected=1, messages_recorded=1)
        await saved(tmp_path, sent=70, recorded=1)
        first.process.kill()
        await first.process.wait()
    async with process(environment(tmp_path)) as second:
        await second.snapshot_with(messages_sent=70, connections_active=0, messages_recorded=1)
        edge = second.stub.Report(metadata=second.metadata)
        await edge.write(pb.ReportRequest(edge_id="e", messages_sent=75, connections_active=3))
        await second.snapshot_with(messages_sent=75, connections_active=3)
        edge.cancel()


async def test_it_stops_at_a_signal_with_open_streams_and_saves_the_last_totals(
    tmp_path: Path,
) -> None:
    async with process(
        environment(tmp_path, METRICS_TOTALS_INTERVAL_S="3600", METRICS_DRAIN_S="60")
    ) as running:
        edge = running.stub.Report(metadata=running.metadata)
        await edge.write(pb.ReportRequest(edge_id="e", messages_sent=9))
        await running.snapshot_with(messages_sent=9)
        running.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await running.process.wait() == 0
    await saved(tmp_path, sent=9, recorded=0)


async def test_prometheus_scrapes_it_on_its_own_port(tmp_path: Path, unused_tcp_port: int) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    async with process(environment(tmp_path, METRICS_EXPOSITION_LISTEN=listen)) as running:
        edge = running.stub.Report(metadata=running.metadata)
        await edge.write(pb.ReportRequest(edge_id="e", connections_active=3))
        await running.snapshot_with(connections_active=3)

        def scrape() -> str:
            with urllib.request.urlopen(f"http://{listen}/metrics", timeout=PATIENCE_S) as response:
                text: str = response.read().decode()
                return text

        assert "\naivo_fleet_active_connections 3.0\n" in await asyncio.to_thread(scrape)
        edge.cancel()


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("METRICS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("METRICS_DATABASE_URL", url(tmp_path))
    store = Store.open(url(tmp_path))
    some = (Exchange(answer=""), Exchange(answer="", at_ms=NOW_MS + 1000, user_id="u2"))
    store.append([batch(*some)], Tally(recorded=2))
    store.close()
    return tmp_path


def test_export_writes_csv_to_standard_output(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export"]) == 0
    told = capsys.readouterr()

    assert [row["user_id"] for row in csv.DictReader(told.out.splitlines())] == ["u1", "u2"]
    assert told.err == "2 records exported\n"


@pytest.mark.parametrize(
    ("bounds", "users"),
    [
        (["--from", "2026-09-21T14:13:21Z"], ["u2"]),
        (["--to", "2026-09-21T14:13:21"], ["u1"]),
        (["--from", "2026-09-21", "--to", "2026-09-22"], ["u1", "u2"]),
    ],
)
def test_export_keeps_to_its_bounds(database: Path, bounds: list[str], users: list[str]) -> None:
    output = database / "out.csv"
    assert main(["export", "--output", str(output), *bounds]) == 0

    assert [row["user_id"] for row in csv.DictReader(output.read_text().splitlines())] == users


def test_export_writes_parquet(database: Path) -> None:
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="the optional package pyarrow is not installed"
    )
    output = database / "out.parquet"
    assert main(["export", "--format", "parquet", "--output", str(output)]) == 0

    assert parquet.read_table(output).column("user_id").to_pylist() == ["u1", "u2"]


def test_erase_deletes_a_persons_records(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["erase", "--user", "u1"]) == 0
    assert main(["export"]) == 0

    assert [row["user_id"] for row in csv.DictReader(capsys.readouterr().out.splitlines())] == [
        "u2"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["export", "--format", "parquet"], 1, "--output"),
        (["export", "--output", "/proc/none/out.csv"], 1, "cannot write"),
    ],
)
def test_a_command_that_cannot_work_says_why(
    database: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert main(arguments) == code
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["export"], ["erase", "--user", "u1"]])
def test_a_command_beside_no_database_does_not_say_that_nothing_is_kept(
    database: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    elsewhere = database.with_name("elsewhere.sqlite3")
    monkeypatch.setenv("METRICS_DATABASE_URL", f"sqlite:///{elsewhere}")

    assert main(arguments) == 2
    assert "there is no database" in capsys.readouterr().err
    assert not elsewhere.exists()


@pytest.mark.parametrize("arguments", [["erase"], ["export", "--from", "yesterday"], ["nonsense"]])
def test_a_command_asked_wrongly_ends_with_2(database: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"METRICS_CREDENTIAL": ""}, "Set METRICS_CREDENTIAL or METRICS_CREDENTIAL_FILE"),
        ({"METRICS_DATABASE_URL": "sqlite:////proc/none/x"}, "METRICS_DATABASE_URL"),
        ({"METRICS_EXPOSITION_LISTEN": "203.0.113.1:1"}, "METRICS_EXPOSITION_LISTEN"),
        ({"METRICS_LISTEN": "203.0.113.1:1"}, "203.0.113.1:1"),
        ({"METRICS_DATABASE_ULR": "1"}, "METRICS_DATABASE_ULR"),
    ],
)
def test_it_refuses_to_start_with_settings_that_cannot_work(
    tmp_path: Path, variables: dict[str, str], words: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "metrics_service"],
        env=environment(tmp_path, **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 2,
    )

    assert (ended.returncode, words in ended.stderr) == (2, True), ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_credential_it_makes_no_database(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "metrics_service"],
        env=environment(tmp_path, METRICS_CREDENTIAL=""),
        capture_output=True,
        timeout=PATIENCE_S * 2,
    )

    assert (ended.returncode, list(tmp_path.iterdir())) == (2, [])


def test_help_names_every_command_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out

    for word in (
        "export",
        "erase",
        "METRICS_LISTEN",
        "METRICS_CREDENTIAL_FILE",
        "METRICS_RECORD_RETENTION_DAYS",
    ):
        assert word in told


async def test_of_two_on_one_server_the_second_waits_and_goes_on_where_the_first_died(
    postgres: Postgres, tmp_path: Path
) -> None:
    address = migrated(postgres.make("metrics_turns"), SCHEMA)
    variables = environment(tmp_path, METRICS_DATABASE_URL=address)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(process(variables))
        edge = first.stub.Report(metadata=first.metadata)
        await edge.write(pb.ReportRequest(edge_id="e", messages_sent=70))
        await first.snapshot_with(messages_sent=70)
        waiting = asyncio.create_task(stack.enter_async_context(process(variables)))
        second_leadership = Leadership(open_database(address))
        assert not await asyncio.to_thread(second_leadership.take)
        await asyncio.sleep(2 * TURN_S)  # it looks again, and again finds the first at work
        assert not waiting.done()
        first.process.kill()
        second = await waiting
        edge = second.stub.Report(metadata=second.metadata)
        await edge.write(pb.ReportRequest(edge_id="e", messages_sent=75))
        await second.snapshot_with(messages_sent=75)
        assert not await asyncio.to_thread(second_leadership.take)
        second_leadership.database.close()


async def test_one_that_waits_stops_at_a_signal(postgres: Postgres, tmp_path: Path) -> None:
    address = migrated(postgres.make("metrics_waits"), SCHEMA)
    leadership = Leadership(open_database(address))
    assert await asyncio.to_thread(leadership.take)
    assert await asyncio.to_thread(leadership.take), "who has it keeps it"
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "metrics_service"),
        env=environment(tmp_path, METRICS_DATABASE_URL=address),
        stderr=asyncio.subprocess.PIPE,
    )
    assert started.stderr is not None
    async with asyncio.timeout(PATIENCE_S * 2):
        while "standing by" not in (line := await started.stderr.readline()).decode():
            assert line, "the process ended instead of waiting"
        started.send_signal(signal.SIGTERM)
        await started.communicate()
    assert started.returncode == 0
    leadership.give_up()
    leadership.database.close()

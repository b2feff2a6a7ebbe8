"""The whole process: started, used, stopped, killed and started again on the same file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aivo.brain.v1 import brain_pb2 as pb
from aivo.brain.v1 import brain_pb2_grpc
from brain_service.settings import BrainSettings
from service_runtime.grpc_client import ClientSettings, open_channel
from service_runtime.settings import SettingsError, load

ROOT = Path(__file__).parents[2]
CREDENTIAL = "a-test-credential"
WAIT_S = 30


def environment(database: Path, **extra: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("BRAIN_")}
    ours = {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}",
        "BRAIN_LISTEN": "127.0.0.1:0",
        "BRAIN_EXPOSITION_LISTEN": "off",
        "BRAIN_CREDENTIAL": CREDENTIAL,
        "BRAIN_DATABASE_URL": str(database),
        "BRAIN_HEARTBEAT_S": "0.2",
    }
    return inherited | ours | extra


async def command(database: Path, *arguments: str, **extra: str) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "brain_service", *arguments,
        env=environment(database, **extra), cwd=database.parent,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(WAIT_S):
        out, error = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out, error


class Brain:
    """A running process and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.channel = open_channel(f"127.0.0.1:{port}", ClientSettings(credential=CREDENTIAL))
        self.stub: Any = brain_pb2_grpc.BrainServiceStub(self.channel.channel)
        self.health: Any = health_pb2_grpc.HealthStub(self.channel.channel)
        self.log = b""
        self.assessment = asyncio.create_task(self._read_log())

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        self.log += await self.process.stderr.read()

    def call(self, method: str, request: Any) -> Any:
        return getattr(self.stub, method)(request, metadata=self.channel.metadata)

    async def interact(self, call: Any, *interactions: pb.Interaction) -> list[int]:
        await call.write(pb.InteractRequest(interactions=interactions))
        response = await read(call)
        return [outcome.applied.revision for outcome in response.outcomes]

    async def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(WAIT_S):
            code = await self.process.wait()
            await self.assessment
        return code

    async def close(self) -> None:
        await self.channel.close()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self.assessment


@asynccontextmanager
async def brain(database: Path, **extra: str) -> AsyncIterator[Brain]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "brain_service", env=environment(database, **extra),
        cwd=database.parent,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    port = 0
    async with asyncio.timeout(WAIT_S):
        while not port:
            line = await process.stderr.readline()
            assert line, "the process ended before it listened"
            port = json.loads(line).get("port", 0)
    running = Brain(process, port)
    try:
        yield running
    finally:
        await running.close()


async def read(call: Any) -> Any:
    async with asyncio.timeout(WAIT_S):
        return await call.read()


async def end_of(call: Any) -> grpc.StatusCode:
    """Read a stream to its end and return its status."""
    try:
        while await read(call) is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def interaction(learner_id: str = "mia", interaction_id: str = "") -> pb.Interaction:
    return pb.Interaction(
        learner_id=learner_id,
        interaction_id=interaction_id or str(uuid.uuid4()),
        kind=pb.INTERACTION_KIND_PRACTICE,
        content="3 + 4",
        context=pb.Context(correct=True),
    )


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "brain.db"


@pytest.fixture
def empty(database: Path) -> Path:
    """A file in which nothing was stored yet."""
    database.touch()
    return database


async def test_a_killed_brain_forgets_nothing_acknowledged_and_watchers_resume(
    database: Path,
) -> None:
    acknowledged = 0
    async with brain(database) as first:
        watch = first.call(
            "WatchState", pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor(learner_id="mia")])
        )
        epoch = (await read(watch)).epoch
        seen = 0
        call = first.stub.Interact(metadata=first.channel.metadata)
        for _ in range(10):
            *_, acknowledged = await first.interact(call, *(interaction() for _ in range(5)))
        while seen < 20:
            for update in (await read(watch)).updates:
                assert update.revision > seen
                seen = update.revision
        # One more batch is on its way while the process dies; whether it counts is told by sending
        # it again.
        last = [interaction() for _ in range(5)]
        await call.write(pb.InteractRequest(interactions=last))
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        assert await end_of(watch) is grpc.StatusCode.UNAVAILABLE

    async with brain(database) as second:
        call = second.stub.Interact(metadata=second.channel.metadata)
        resent = await second.interact(call, *last)
        assert resent == list(range(acknowledged + 1, acknowledged + 6))
        cursor = pb.Cursor(
            learner_id="mia", epoch=epoch, revision=seen, mode=pb.DELIVERY_MODE_EVERY
        )
        watch = second.call("WatchState", pb.WatchStateRequest(watch_id="w", cursors=[cursor]))
        got: list[int] = []
        first_message = await read(watch)
        while len(got) < resent[-1] - seen:
            got += [update.revision for update in (await read(watch)).updates]

        assert (first_message.epoch, first_message.snapshots[0].recovered) == (epoch, True)
        assert got == list(range(seen + 1, resent[-1] + 1))


async def test_an_idle_watch_gets_heartbeats_by_itself(database: Path) -> None:
    async with brain(database) as running:
        watch = running.call(
            "WatchState", pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor(learner_id="mia")])
        )
        await read(watch)
        while not (message := await read(watch)).HasField("heartbeat"):
            pass

        assert message.heartbeat.sent_at_ms > 0


async def test_a_stopped_brain_tells_its_streams_and_ends_at_once_and_cleanly(
    database: Path,
) -> None:
    async with brain(database, BRAIN_DRAIN_S="60") as running:
        health = running.health.Watch(health_pb2.HealthCheckRequest())
        assert (await read(health)).status == health_pb2.HealthCheckResponse.SERVING
        watch = running.call(
            "WatchState", pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor(learner_id="mia")])
        )
        await read(watch)
        call = running.stub.Interact(metadata=running.channel.metadata)
        assert await running.interact(call, interaction()) == [1]
        running.process.send_signal(signal.SIGTERM)
        assert (await read(health)).status == health_pb2.HealthCheckResponse.NOT_SERVING
        health.cancel()
        codes = [await end_of(call), await end_of(watch)]
        async with asyncio.timeout(WAIT_S):
            code = await running.process.wait()
            await running.assessment

    assert codes == [grpc.StatusCode.UNAVAILABLE] * 2
    assert code == 0
    assert b"exception" not in running.log
    assert CREDENTIAL.encode() not in running.log


async def test_a_learner_is_exported_and_erased_by_command_beside_a_running_brain(
    database: Path,
) -> None:
    async with brain(database, BRAIN_ERASURE_CHECK_S="0.1") as running:
        call = running.stub.Interact(metadata=running.channel.metadata)
        await running.interact(call, interaction(), interaction())
        watch = running.call(
            "WatchState", pb.WatchStateRequest(watch_id="w", cursors=[pb.Cursor(learner_id="mia")])
        )
        await read(watch)
        code, out, _ = await command(database, "export", "mia", "--requested-by", "admin")
        assert code == 0
        assert sum(b"3 + 4" in line for line in out.splitlines()) == 2
        code, out, _ = await command(database, "erase", "mia", "--requested-by", "admin")
        assert code == 0
        assert b"2 interactions" in out
        while not (message := await read(watch)).updates:
            pass
        assert message.updates[0].gone


async def test_a_log_is_shortened_by_command_beside_a_running_brain(database: Path) -> None:
    async with brain(database, BRAIN_MAX_BACKDATE_S="0") as running:
        call = running.stub.Interact(metadata=running.channel.metadata)
        long_ago = interaction()
        long_ago.received_at_ms = 1_600_000_000_000
        await running.interact(call, long_ago, interaction())
        assert await command(database, "shorten", BRAIN_LOG_DAYS="30") == (
            0, b"1 interactions older than 30 days left the log.\n", b"",
        )  # fmt: skip
        request = pb.GetHistoryRequest(learner_id="mia")
        history = await running.stub.GetHistory(request, metadata=running.channel.metadata)
        assert [each.revision for each in history.entries] == [2]
    code, out, _ = await command(database, "shorten")
    assert (code, out) == (0, b"BRAIN_LOG_DAYS is 0: all of the log is kept.\n")


@pytest.mark.parametrize("name", ["export", "erase"])
async def test_a_command_beside_no_database_does_not_say_that_nothing_is_stored(
    database: Path, name: str
) -> None:
    elsewhere = database.with_name("elsewhere.sqlite3")
    code, out, error = await command(elsewhere, name, "mia", "--requested-by", "office")

    assert (code, out) == (2, b"")
    assert b"there is no database" in error
    assert not elsewhere.exists()


async def test_items_are_declared_by_command(empty: Path) -> None:
    items = empty.with_name("items.txt")
    items.write_text("q1\nq2\n\nq2\n")

    assert await command(empty, "declare", "--items", str(items)) == (
        0, b"2 items are declared: 2 new, 0 no longer.\n", b"",
    )  # fmt: skip
    items.write_text("q2\nmit Leerzeichen \n")
    assert (await command(empty, "declare", "--items", str(items)))[1] == (
        b"2 items are declared: 1 new, 1 no longer.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--items", "nowhere"], "nowhere cannot be read"),
        (["--subjects", "bad.txt"], "can be no subject: at most 128 characters"),
        ([], "--items FILE"),
    ],
)
async def test_a_bad_list_declares_nothing(empty: Path, arguments: list[str], told: str) -> None:
    empty.with_name("bad.txt").write_text("good\n" + "x" * 129)
    code, out, error = await command(empty, "declare", *arguments)

    assert (code, out) == (1, b"")
    assert told in error.decode()
    assert b"Traceback" not in error


async def test_help_names_the_commands_and_every_setting(database: Path) -> None:
    code, out, _ = await command(database, "--help")

    assert code == 0
    for expected in (
        b"export",
        b"erase",
        b"BRAIN_LISTEN",
        b"127.0.0.1:8001",
        b"BRAIN_DATABASE_URL",
        b"BRAIN_HEARTBEAT_S",
    ):
        assert expected in out


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ({"BRAIN_CREDENTIAL": ""}, "Set BRAIN_CREDENTIAL or BRAIN_CREDENTIAL_FILE"),
        ({"BRAIN_MAX_BATCH": "many"}, "BRAIN_MAX_BATCH"),
        ({"BRAIN_DATABASE_ULR": "1"}, "BRAIN_DATABASE_ULR"),
        ({"BRAIN_DATABASE_URL": "/proc/no/such/brain.db"}, "cannot be opened"),
    ],
)
async def test_a_brain_that_cannot_start_says_why_and_makes_nothing(
    database: Path, extra: dict[str, str], told: str
) -> None:
    code, _, error = await command(database, **extra)

    assert database.name not in os.listdir(database.parent)
    assert code == 2
    assert told in error.decode()
    assert "Traceback" not in error.decode()


async def test_a_reader_of_an_export_may_leave_early(empty: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "wb") as nobody:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "brain_service", "export", "mia", "--requested-by", "a parent",
            env=environment(empty), cwd=empty.parent, stdout=nobody, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
    async with asyncio.timeout(WAIT_S):
        _, error = await process.communicate()

    assert process.returncode == 1
    assert b"Traceback" not in error


async def test_a_command_nobody_asked_for_is_refused(empty: Path) -> None:
    code, out, error = await command(empty, "erase", "mia", "--requested-by", "")

    assert (code, out) == (1, b"")
    assert b"requested_by" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_BATCH", "0"),
        ("HEARTBEAT_S", "0"),
        ("RESUME_LIMIT", "1001"),
        ("MAX_BACKDATE_S", "-1"),
        ("WATCH_PENDING", "-3"),
        ("LOG_DAYS", "6.9"),
        ("LOG_DAYS", "-1"),
        ("BANK_TEACHERS", "nobody"),
        ("BANK_ROWS", "0"),
    ],
)
def test_settings_that_cannot_work_are_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load(BrainSettings, {f"BRAIN_{name}": value}, prefix="BRAIN")


def test_no_limit_of_age_is_a_setting() -> None:
    assert load(BrainSettings, {"BRAIN_MAX_BACKDATE_S": "0"}, prefix="BRAIN").max_backdate_s == 0


async def test_the_audit_log_is_shown_by_command(database: Path) -> None:
    async with brain(database) as running:
        await running.stub.RecordInteractions(
            pb.RecordInteractionsRequest(interactions=[interaction()], requested_by="lms"),
            metadata=running.channel.metadata,
        )
        await command(database, "export", "mia", "--requested-by", "office")
        code, out, error = await command(database, "audit")
    lines = [json.loads(line) for line in out.splitlines()]

    assert (code, error) == (0, b"")
    assert [(one["action"], one["requested_by"], one["interactions"]) for one in lines] == [
        ("record", "lms", 1), ("export", "office", 1),
    ]  # fmt: skip
    assert b"mia" not in out
    assert (await command(database, "audit", "--limit", "1"))[1] == out.splitlines(True)[1]

"""`make run` starts, tells how to log in, finds its data again, and ends cleanly: on Ctrl-C, or
when a process dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets

from demo.__main__ import replace
from harness.files import held
from harness.ports import Ports, block, reserve
from harness.root import ROOT
from harness.stack import ProcessDiedError, Stack
from harness.supervisor import Child, Spawner

START_S = 90
STOP_S = 60

pytestmark = pytest.mark.system


@pytest.fixture
def ports() -> Iterator[Ports]:
    made, claim = reserve()
    with claim:
        yield made


@pytest.fixture(autouse=True)
def ctrl_c_is_heard() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored, and what they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def running(
    directory: Path, ports: Ports, **environ: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the demonstration; yields the process and its greeting once everything is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env=dict(os.environ)
        | {
            "PORT": str(ports.edge),
            "AIVO_DIR": str(directory),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto/gen'}",
        }
        | {"AUTH_ARGON2_MEMORY_KIB": "64", "AUTH_ARGON2_TIME_COST": "1"}
        | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    # Reading lines has no timeout of its own.
    watchdog = threading.Timer(START_S, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        greeting = ""
        for line in process.stdout:
            greeting += line
            if "Ctrl-C stops everything" in line:
                break
        watchdog.cancel()
        yield process, greeting
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_it_starts_twice_on_the_same_data_and_stops_on_ctrl_c(tmp_path: Path, ports: Ports):
    users = tmp_path / "demo-users.json"
    people = []
    for _ in range(2):
        with running(tmp_path, ports) as (process, greeting):
            assert f"http://127.0.0.1:{ports.edge}" in greeting
            assert re.search(r"teacher +\S+@school\.example +\S{12,}", greeting)
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=STOP_S)

            assert process.returncode == 0, rest
            assert "Traceback" not in rest
        people.append(json.loads(users.read_text()))

    assert people[0] == people[1]
    assert {person["role"] for person in people[0]} == {"learner", "guardian", "teacher", "admin"}
    assert all(
        person.keys() == {"email", "password", "role", "user_id", "learners"}
        for person in people[0]
    )
    assert stat.S_IMODE(users.stat().st_mode) == 0o600


def log_in(url: str, email: str, password: str) -> int:
    """Return the status of a login."""
    request = urllib.request.Request(
        f"{url}/api/auth/login",
        json.dumps({"email": email, "password": password}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_guides_load_test_may_do_what_it_does_as_the_documentation_says(
    tmp_path: Path, ports: Ports
):
    text = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    _, _, section = text.partition("### The original guide's script")
    script = section.partition("```sh\n")[2].partition("python load_test_websockets.py")[0]
    script = script.replace(":8000", f":{ports.edge}").replace(".aivo/", f"{tmp_path}/")
    script = script.replace("python3", sys.executable)
    with running(tmp_path, ports, DEMO="1"):
        told = subprocess.run(
            ["/bin/sh", "-c", f'{script}\nprintf %s "$TOKEN"'],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        answers = asyncio.run(guides_connections(f"ws://localhost:{ports.edge}/ws", told.stdout))

    assert [one for one in answers if "error" in one] == []
    assert len(answers) == 100


EXPECTED = {"subscribed", "pong", "virtual_brain_response"}


async def guides_connections(url: str, token: str) -> list[set[str]]:
    """Do what the guide's script does, on as many connections; return the types that each got."""

    async def one(number: int) -> set[str]:
        learner = f"learner-test-{number}"
        interaction = {
            "learner_id": learner,
            "type": "question_response",
            "content": "Test content",
            "response": "Test response",
            "context": {"test": True},
        }
        seen: set[str] = set()
        async with websockets.connect(f"{url}?token={token}", proxy=None) as socket:
            await socket.recv()  # connection_established
            for frame in (
                {"type": "subscribe_learner", "learner_id": learner},
                {"type": "ping"},
                {"type": "virtual_brain_interact", "data": interaction},
            ):
                await socket.send(json.dumps(frame))
            # Each is answered when it is done: a subscription may take longer than an interaction.
            while "error" not in seen and not seen >= EXPECTED:
                seen.add(json.loads(await socket.recv())["type"])
        return seen

    return await asyncio.gather(*map(one, range(100)))


def test_the_file_with_the_people_appears_when_they_can_log_in(tmp_path: Path, ports: Ports):
    """Whoever sees the edge ready, or the file, may log in as anybody in it."""
    users = tmp_path / "demo-users.json"
    seen: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if users.exists():
                seen.extend(one["user_id"] for one in json.loads(users.read_text()))
                return
            done.wait(0.005)

    watcher = threading.Thread(target=look)
    watcher.start()
    with running(tmp_path, ports):
        done.set()
        watcher.join()
        url = f"http://127.0.0.1:{ports.edge}"
        everybody = json.loads(users.read_text())
        assert {log_in(url, one["email"], one["password"]) for one in everybody[-3:]} == {200}
    assert seen
    assert all(seen), "everybody in it is known to the auth service"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


def test_without_a_class_there_is_an_administrator_who_can_log_in(tmp_path: Path, ports: Ports):
    for _ in range(2):
        with running(tmp_path, ports, DEMO="0") as (_, greeting):
            found = re.search(r"admin +(\S+@school\.example) +(\S{12,})", greeting)
            assert found, greeting
            assert log_in(f"http://127.0.0.1:{ports.edge}", found[1], found[2]) == 200
    assert not (tmp_path / "demo-users.json").exists()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"http_proxy": "http://127.0.0.1:9", "grpc_proxy": "http://127.0.0.1:9"}, "127.0.0.1"),
        ({"ALL_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}, "127.0.0.1"),
        ({"HOST": "x86_64-conda-linux-gnu"}, "127.0.0.1"),
        ({"HOST": "::1"}, "[::1]"),
        ({"HOST": "0.0.0.0"}, "127.0.0.1"),
        ({"EDGE_SERVICE_HOST": "10.0.0.1", "BRAIN_PORT_8001_TCP": "tcp://10.0.0.2:1"}, "127.0.0.1"),
        ({"AUTH_PORT": "tcp://10.0.0.2:1", "METRICS_SERVICE_PORT": "1"}, "127.0.0.1"),
        ({"LC_ALL": "C"}, "127.0.0.1"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_it_runs_in_the_environment_of_others(
    tmp_path: Path, ports: Ports, environ: dict[str, str], told: str
):
    with running(tmp_path / "dätä", ports, DEMO="0", **environ) as (_, greeting):
        assert "Ctrl-C stops everything" in greeting, greeting
        assert f"ws://{told}:{ports.edge}/ws" in greeting
        found = re.search(r"admin +(\S+@school\.example) +(\S{12,})", greeting)
        assert found
        assert log_in(f"http://{told}:{ports.edge}", found[1], found[2]) == 200


def test_a_process_that_dies_ends_the_run_with_its_last_words(tmp_path: Path, ports: Ports):
    with running(tmp_path, ports, DEMO="0") as (process, _):
        (victim,) = children(process.pid, "metrics_service")
        os.kill(victim, signal.SIGKILL)
        rest, _ = process.communicate(timeout=STOP_S)

    assert process.returncode == 1
    assert "metrics was ended by SIGKILL; the last lines of" in rest
    assert "listening" in rest


def test_one_of_several_that_dies_is_started_again_unless_at_once_or_all_have(
    tmp_path: Path, ports: Ports, capsys: pytest.CaptureFixture[str]
):
    spawner = Spawner()
    stack = Stack(tmp_path, ports=ports, more=[block(ports.edge + 8)], edges=2)
    fields: dict[str, Any] = {"spawner": spawner, "environ": os.environ, "directory": tmp_path}
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    stack.children = {
        name: Child(name, sleep, log=tmp_path / f"{name}.log", **fields)
        for name in ("edge", "edge-2", "brain")
    }
    for child in stack.children.values():
        child.start()
    second, replaced = stack.children["edge-2"], dict[str, float]()
    try:
        replace(stack, replaced)
        second.kill()
        replace(stack, replaced)
        assert second.running
        assert capsys.readouterr().err == "edge-2 was ended by SIGKILL; starting it again\n"
        second.kill()
        with pytest.raises(ProcessDiedError, match=r"edge-2 was ended by SIGKILL"):
            replace(stack, replaced)
        second.start()
        stack.children["brain"].kill()
        with pytest.raises(ProcessDiedError, match="brain was ended by SIGKILL"):
            replace(stack, replaced)
    finally:
        for child in stack.children.values():
            child.kill()
        stack.close()
        spawner.close()


def test_a_port_in_use_is_told_before_anything_starts(tmp_path: Path, ports: Ports):
    with running(tmp_path, ports, DEMO="0"):
        second = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=dict(os.environ) | {"PORT": str(ports.edge), "AIVO_DIR": str(tmp_path / "other")},
            capture_output=True,
            text=True,
            timeout=START_S,
        )

    assert second.returncode == 2
    assert f"port {ports.edge} is in use" in second.stderr
    assert not (tmp_path / "other").exists()


def test_data_in_use_are_told_whatever_the_ports(tmp_path: Path, ports: Ports):
    with held(tmp_path):
        second = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=dict(os.environ) | {"PORT": str(ports.edge), "AIVO_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=START_S,
        )

    assert second.returncode == 2
    assert f"working with the data in {tmp_path}" in second.stderr
    assert "AIVO_DIR=" in second.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_hold_data_or_holds_others_is_told_and_left_alone(
    tmp_path: Path, ports: Ports
):
    (tmp_path / "file").write_text("x")
    (tmp_path / "home").mkdir(mode=0o755)
    (tmp_path / "home" / "letters").write_text("x")
    for name, told in (
        ("file", "file: Not a directory; AIVO_DIR=/some/folder keeps"),
        ("file/below", "below: Not a directory; AIVO_DIR="),
        ("home", "holds other things; AIVO_DIR names a folder of its own"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "demo"],
            cwd=ROOT,
            env=dict(os.environ) | {"PORT": str(ports.edge), "AIVO_DIR": str(tmp_path / name)},
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o755
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["letters"]


@pytest.mark.parametrize(
    ("arguments", "settings", "code", "told"),
    [
        ([], {"PORT": "many"}, 2, "PORT must be a number, not 'many'"),
        ([], {"PORT": "70000"}, 2, "PORT must be from 1 to"),
        ([], {"LEARNERS": "7"}, 2, "LEARNERS must be a number from 12 to 999, not '7'"),
        (["--help"], {}, 0, "until Ctrl-C"),
        (["nonsense"], {}, 2, "'nonsense' is unknown"),
    ],
)
def test_what_cannot_be_run_is_explained(
    tmp_path: Path, arguments: list[str], settings: dict[str, str], code: int, told: str
):
    result = subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=ROOT,
        env=dict(os.environ) | settings | {"AIVO_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=START_S,
    )

    assert result.returncode == code
    assert told in result.stdout + result.stderr
    assert not (tmp_path / "data").exists()


def children(parent: int, module: str) -> list[int]:
    """Return the processes that `parent` started to run a module."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            ppid = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if ppid == parent and module.encode() in command:
            found.append(int(entry.name))
    return found

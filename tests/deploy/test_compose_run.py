"""The containers of compose.yaml run here as processes, with exactly its commands, variables and
secrets, and serve.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.composed import ENVIRONMENT, OURS, ROOT, Containers, containers

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 as loopback"
    ),
]

STARTED = ("metrics", "auth", "brain", "edge")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    with containers(tmp_path_factory.mktemp("compose")) as made:
        made.start(*STARTED)
        yield made


def ask(
    running: Containers, method: str, path: str, body: Any = None, token: str = ""
) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {
        "Content-Type": "application/json",
        **({"Authorization": f"Bearer {token}"} if token else {}),
    }
    call = urllib.request.Request(
        f"http://{running.address('edge')}:8000{path}", data, headers, method=method
    )
    try:
        with urllib.request.urlopen(call, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_first_administrator_signs_in_with_the_secret_that_was_made(running: Containers) -> None:
    password = (running.secrets / "admin-password").read_text()
    credentials = {"email": ENVIRONMENT["AIVO_ADMIN_EMAIL"], "password": password}
    status, session = ask(running, "POST", "/api/auth/login", credentials)
    assert status == 200, session
    status, metrics = ask(running, "GET", "/api/websocket/metrics", token=session["access_token"])
    assert status == 200, metrics
    status, _ = ask(running, "POST", "/api/auth/login", credentials | {"password": "admin"})
    assert status == 401


@pytest.mark.parametrize("name", STARTED)
def test_figures_are_where_prometheus_looks(running: Containers, name: str) -> None:
    service = running.compose["services"][name]["environment"]
    port = service[f"{name.upper()}_EXPOSITION_LISTEN"].rpartition(":")[2]
    with urllib.request.urlopen(
        f"http://{running.address(name)}:{port}/metrics", timeout=10
    ) as answer:
        assert b"\naivo_" in answer.read()


def test_data_lie_on_the_volumes_and_nowhere_else(running: Containers) -> None:
    files = {str(path.relative_to(running.folder)) for path in running.folder.glob("*-data/*")}
    assert {
        "brain-data/brain.sqlite3",
        "auth-data/auth.sqlite3",
        "auth-data/auth-keys.json",
    } <= files
    assert "metrics-data/metrics.sqlite3" in files
    assert not [file for file in files if file.startswith("edge")]
    keys = running.folder / "auth-data" / "auth-keys.json"
    assert keys.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["brain", "auth", "metrics"])
def test_documented_backup_copies_a_database_in_use(running: Containers, name: str) -> None:
    scripted = (ROOT / "deploy" / "backup.sh").read_text(encoding="utf-8")
    assert "exec -T $name python -m ${name}_service backup " in scripted
    file = running.volume(name) / "backup.sqlite3"
    command = [sys.executable, "-m", f"{name}_service", "backup", str(file)]
    subprocess.run(command, check=True, timeout=60, cwd=ROOT, env=running.environment(name))
    assert file.stat().st_mode & 0o077 == 0
    with contextlib.closing(sqlite3.connect(running.volume(name) / "backup.sqlite3")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert (
            copy.execute("SELECT count(*) FROM sqlite_schema WHERE type = 'table'").fetchone()[0]
            > 2
        )


def test_no_secret_stands_in_a_log(running: Containers) -> None:
    names = (Path(one["file"]).name for one in running.compose["secrets"].values())
    secrets = [(running.secrets / name).read_text() for name in names]
    for log in running.folder.glob("*.log"):
        text = log.read_text()
        assert not [secret for secret in secrets if secret in text], log.name


def test_health_command_fails_once_its_process_is_gone(tmp_path: Path) -> None:
    with containers(tmp_path) as made:
        made.start("metrics")
        assert made.healthy("metrics")
        made.child("metrics").stop(grace_s=20)
        assert made.health("metrics").returncode == 1
        assert made.health("edge").returncode == 1


def test_edge_that_misses_a_service_is_unhealthy_and_says_which(tmp_path: Path) -> None:
    with containers(tmp_path) as made:
        edge = made.add("edge", made.command("edge"), made.environment("edge"))
        edge.start()
        edge.wait_until(lambda: "unready" in made.health("edge").stderr, timeout_s=60)
        ended = made.health("edge")
        assert ended.returncode == 1
        assert '"missing":["brain","auth"]' in ended.stderr.replace(" ", "")


def test_ours_are_all_started_here() -> None:
    assert set(STARTED) == set(OURS)

"""The load test against the real services: it finds them honest and prints what the guide shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from demo.users import Person, write_users
from harness.registry import Registry
from harness.root import ROOT
from harness.stack import Stack
from tests.load import command, people
from tests.load.report import RULE
from tests.load.scenarios import SCENARIOS
from tests.support.liar import figures

SCRIPT = ROOT / "tests/load_test_websockets.py"

GUIDE = f"""\
{RULE}
WebSocket Load Test
{RULE}
URL: ws://localhost:0/ws
Connections: 0
Duration: 0s
Started: 0-0-0 0:0:0
{RULE}

[0] Connected in 0s

{RULE}
Load Test Results
{RULE}

Connection Statistics:
  Successful: 0
  Failed: 0
  Success Rate: 0%

Connection Times:
  Average: 0s
  Median: 0s
  Min: 0s
  Max: 0s

Message Statistics:
  Sent: 0
  Received: 0
  Throughput: 0 msg/s

Latency Statistics (ms):
  Average: 0ms
  Median: 0ms
  Min: 0ms
  Max: 0ms
  P95: 0ms
  P99: 0ms

Error Statistics:
  Total Errors: 0
  Error Rate: 0%

Overall:
  Total Duration: 0s
  Connections/Second: 0

{RULE}
"""
"""The guide's report, of one connection; every number stands as 0."""


def without_numbers(report: str) -> str:
    """Return a report in the form of GUIDE: numbers as 0, one line for all connections."""
    report = re.sub(
        r"(?m)^(?:\[\d+\] Connected in \d+\.\d{3}s\n)+", "[0] Connected in 0s\n", report
    )
    return re.sub(r"\b\d+(?:\.\d+)?", "0", report.replace("127.0.0.1", "localhost"))


@pytest.fixture(scope="module")
def admin() -> Iterator[tuple[Stack, str]]:
    with people.private_admin() as (stack, token):
        yield stack, token


@pytest.mark.system
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_finds_the_real_services_honest(
    admin: tuple[Stack, str], scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stack, token = admin
    written = tmp_path / "report.json"
    numbers = ("--connections", "40", "--duration", "2", "--rate", "60", "--ramp", "0.2")
    chosen = ("--scenario", scenario, "--json", str(written), "--sole-writer")
    code = command.main(["--url", stack.ws_url, "--token", token, *numbers, *chosen])
    out = capsys.readouterr().out
    assert code == 0, out

    seen = json.loads(written.read_text(encoding="utf-8"))
    assert seen["connected"] == 40
    assert seen["sent"] == seen["received"] > 0
    assert seen["updates"] > 0
    assert seen["errors"] == seen["failed"] == {}
    assert seen["revisions_of_others"] == 0
    assert (seen["cuts"] > 0) == (scenario == "storm")
    assert without_numbers(out).splitlines()[: GUIDE.count("\n")] == GUIDE.splitlines()


@pytest.mark.system
def test_everybody_of_a_users_file_takes_part_as_they_may(
    admin: tuple[Stack, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stack, _ = admin
    persons = [
        Person(
            email=f"{role}@load.example",
            password="good enough for 1",
            role=role,
            user_id="",
            learners=("load-7",),
        )
        for role in ("guardian", "learner")
    ]
    with grpc.insecure_channel(stack.address("auth")) as channel:
        registry = Registry(channel, stack.metadata)
        for person, relation in zip(persons, ("guardian_of", "is_learner"), strict=True):
            registry.relate(
                relation, registry.add_user(person.email, person.password, person.role), "load-7"
            )
    users = tmp_path / "users.json"
    numbers = (
        "--connections",
        "10",
        "--duration",
        "1",
        "--rate",
        "20",
        "--scenario",
        "watchers",
        "--json",
    )

    write_users(users, persons)
    assert command.main(["--url", stack.ws_url, "--users", str(users), *numbers]) == 0
    seen = figures(capsys)
    assert seen["errors"] == {}
    assert seen["updates"] > seen["sent"] > 0

    write_users(users, persons[:1])
    assert command.main(["--url", stack.ws_url, "--users", str(users), *numbers]) == 2
    assert "nobody here may act for a learner" in capsys.readouterr().err

    write_users(users, [replace(persons[1], password="wrong")])
    assert command.main(["--url", stack.ws_url, "--users", str(users), *numbers]) == 2
    assert "cannot log in" in capsys.readouterr().err

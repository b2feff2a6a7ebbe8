"""The load test finds what is wrong, measures what it says, and stays within its bounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from demo.users import Person, write_users
from harness.registry import Registry
from harness.root import ROOT
from harness.stack import Stack
from tests.load import command, people, run
from tests.load.histogram import RELATIVE_ERROR, Histogram
from tests.load.report import RULE
from tests.load.scenarios import SCENARIOS
from tests.load.tally import Deliveries, SelfCheck
from tests.load.verdict import KINDS, Verdict, View, Writes

SCRIPT = ROOT / "tests/load_test_websockets.py"
LEARNER = "ada"


# Histogram


@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=200),
    st.sampled_from([0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]),
)
def test_a_percentile_is_the_nearest_rank_within_the_stated_error(
    times: list[float], percent: float
):
    histogram = Histogram()
    for time in times:
        histogram.record(time)
    exact = sorted(times)[max(1, math.ceil(percent / 100 * len(times))) - 1]
    assert histogram.percentile(percent) == pytest.approx(exact, rel=RELATIVE_ERROR, abs=1e-6)
    assert (histogram.least, histogram.greatest, histogram.count) == (
        min(times),
        max(times),
        len(times),
    )
    assert histogram.mean == pytest.approx(sum(times) / len(times))


def test_an_empty_histogram_says_zero():
    empty = Histogram()
    assert (empty.mean, empty.least, empty.greatest, empty.percentile(99)) == (0.0, 0.0, 0.0, 0.0)


# Verdict


def judged(
    events: list[tuple[Any, ...]], *, every: bool = False, newest: int = 0
) -> dict[str, int]:
    """Return what is found, without zeros, when a view sees these events and `newest` is the last
    acknowledged.
    """
    verdict = Verdict()
    view = View(verdict, "client", LEARNER, every=every)
    for name, *arguments in events:
        getattr(view, name)(*arguments)
    view.end(newest)
    return {kind: count for kind, count in verdict.counts.items() if count}


S = ("subscribed", "e", 5)


@pytest.mark.parametrize(
    ("events", "every", "newest", "found"),
    [
        ([S, ("updated", 6, 0), ("updated", 7, 0)], False, 7, {}),
        ([S, ("updated", 8, 2)], False, 8, {}),
        ([S, ("updated", 8, 1)], False, 8, {"lost": 1}),
        ([S, ("updated", 8, 2)], True, 8, {"lost": 2}),
        ([S, ("updated", 7, 0), ("updated", 6, 0)], False, 7, {"out_of_order": 1}),
        ([S, ("updated", 7, 1), ("updated", 6, 0)], False, 7, {"out_of_order": 1}),
        ([S, ("updated", 6, 0), ("updated", 6, 0)], False, 6, {"duplicated": 1}),
        ([S, ("updated", 6, 0), ("updated", 7, 0), ("updated", 6, 0)], True, 7, {"duplicated": 1}),
        ([S, ("updated", 6, 0)], False, 7, {"stale": 1}),
        ([S, ("updated", 6, 0)], True, 8, {"lost": 2}),
        ([S, ("acknowledged", 9), ("read", 8)], False, 5, {"stale": 1}),
        ([S, ("acknowledged", 9), ("read", 9)], False, 5, {}),
        ([S, ("acknowledged", 7), ("updated", 6, 0), ("updated", 7, 0)], False, 7, {"stale": 1}),
        ([S, ("updated", 6, 0), ("reconnected",), ("subscribed", "e", 9)], False, 9, {}),
        ([S, ("updated", 6, 0), ("reconnected",), ("subscribed", "e", 5)], False, 6, {"stale": 1}),
        (
            [S, ("reconnected",), ("updated", 6, 0), ("updated", 7, 0), ("subscribed", "e", 7)],
            True,
            7,
            {},
        ),
        ([S, ("reconnected",), ("updated", 7, 0), ("subscribed", "e", 7)], True, 7, {"lost": 1}),
        ([S, ("reconnected",), ("subscribed", "e", 7)], True, 7, {"lost": 2}),
        ([S, ("reconnected",), ("subscribed", "f", 0)], False, 0, {"lost": 1}),
        ([S, ("updated", 100_006, 0)], True, 100_006, {"lost": 100_000}),
    ],
)
def test_a_view_tells_every_broken_promise_by_its_kind(
    events: list[tuple[Any, ...]], every: bool, newest: int, found: dict[str, int]
):
    assert judged(events, every=every, newest=newest) == found


@given(st.permutations(range(6, 16)), st.booleans())
def test_only_the_right_order_of_updates_passes(order: list[int], every: bool):
    found = judged([S, *(("updated", revision, 0) for revision in order)], every=every, newest=15)
    assert bool(found) == (order != sorted(order))
    assert set(found) <= {"out_of_order"}


@given(st.lists(st.integers(6, 15), max_size=12))
def test_whatever_comes_what_never_came_is_missed_by_someone_who_gets_everything(
    revisions: list[int],
):
    found = judged(
        [S, *(("updated", revision, 0) for revision in revisions)], every=True, newest=15
    )
    assert found.get("lost", 0) == 10 - len(set(revisions))


@pytest.mark.parametrize(
    ("acknowledged", "after", "sole", "found", "unexplained"),
    [
        ([4, 5, 6], 6, True, {}, 0),
        ([4, 5], 6, False, {}, 1),
        ([4, 5], 6, True, {"duplicated": 1}, 1),
        ([4, 5, 5], 5, True, {"duplicated": 1}, 0),
        ([4, 5, 6], 5, True, {"lost": 1}, 0),
        ([9], 5, False, {"lost": 1}, 0),
    ],
)
def test_acknowledgements_must_explain_the_revisions(
    acknowledged: list[int], after: int, sole: bool, found: dict[str, int], unexplained: int
):
    verdict = Verdict()
    writes = Writes(verdict)
    for revision in acknowledged:
        writes.acknowledged(LEARNER, revision)
    assert writes.account(LEARNER, 3, after, sole_writer=sole) == unexplained
    assert {kind: count for kind, count in verdict.counts.items() if count} == found


def test_a_delivery_counts_from_its_cause_also_when_it_comes_first():
    deliveries = Deliveries()
    deliveries.arrived(LEARNER, 1, 10.5)
    deliveries.caused(LEARNER, 1, 10.0)
    deliveries.arrived(LEARNER, 1, 11.0)
    assert (deliveries.times.count, deliveries.times.least, deliveries.times.greatest) == (
        2,
        0.5,
        1.0,
    )


@pytest.mark.parametrize("attribute", ["lag", "late"])
def test_a_generator_that_cannot_keep_its_times_says_so(attribute: str):
    check = SelfCheck()
    getattr(check, attribute).record(0.001)
    assert check.reasons == []
    getattr(check, attribute).record(0.5)
    assert len(check.reasons) == 1


def test_a_generator_that_needs_a_whole_core_says_so():
    check = SelfCheck()
    check.busy = 0.97
    assert check.reasons == ["the generator used 97% of a core"]


# Against a server that lies


class Liar:
    """A server of the protocol with one learner, in a thread; `lie` says what it does wrong, every
    fifth time.
    """

    def __init__(
        self, lie: str = "", *, limits: dict[str, float] | None = None, delay_s: float = 0.0
    ) -> None:
        self.lie = lie
        self.limits = limits or {"frames_per_second": 0, "in_flight": 64}
        self.delay_s = delay_s
        self.busy = threading.Event()
        """Set when fifty requests were answered."""
        self.most_in_flight = 0
        self._in_flight = 0
        self._count = 0
        self._chances = 0
        self._revision = 0
        self._held: list[dict[str, Any]] = []
        self._watchers: set[ServerConnection] = set()

    async def talk(self, socket: ServerConnection) -> None:
        try:
            async with asyncio.TaskGroup() as answers:
                while True:
                    frame = json.loads(await socket.recv())
                    if self.delay_s:
                        answers.create_task(self._later(socket, frame))
                    else:
                        await self._take(socket, frame)
        except* ConnectionClosed:  # the load test does not say goodbye
            self._watchers.discard(socket)

    async def _later(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        writes = frame["type"] == "virtual_brain_interact"
        self._in_flight += writes
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        await asyncio.sleep(self.delay_s)
        self._in_flight -= writes
        await self._take(socket, frame)

    async def _take(self, socket: ServerConnection, frame: dict[str, Any]) -> None:
        say = self._say
        match frame["type"]:
            case "authenticate" if self.lie == "refuses":
                await say(socket, "error", code="unauthenticated", error="no")
                await socket.close(4401)
            case "authenticate":
                greeting = {
                    "user": {"id": "u", "role": "admin"},
                    "expires_at": "2999-01-01T00:00:00.000Z",
                }
                await say(socket, "connection_established", limits=self.limits, **greeting)
            case "subscribe_learner":
                self._watchers.add(socket)
                await say(
                    socket,
                    "subscribed",
                    learner_id=LEARNER,
                    epoch="e",
                    revision=self._revision,
                    id=frame["id"],
                )
            case "ping":
                await self._answer(socket, "pong", frame)
            case "get_state":
                stale = self._lies("stale state") and self._revision
                await self._answer(
                    socket, "state_response", frame, revision=0 if stale else self._revision
                )
            case "virtual_brain_interact":
                self._revision += 0 if self._lies("reuses a revision") and self._revision else 1
                self._revision += self._lies("applies twice")
                await self._answer(socket, "virtual_brain_response", frame, revision=self._revision)
                for watcher in list(self._watchers):
                    await self._update(watcher)

    async def _answer(
        self, socket: ServerConnection, type: str, frame: dict[str, Any], **fields: Any
    ) -> None:
        self._count += 1
        if self._count == 50:
            self.busy.set()
            if self.lie == "stalls":
                await asyncio.sleep(0.6)
        if self._lies("drops answers"):
            return
        if self._lies("answers with something else"):
            type = "state_response" if type == "pong" else "pong"
        id = "999999999" if self._lies("answers nobody") else frame["id"]
        for _ in range(1 + self._lies("answers twice")):
            await self._say(socket, type, id=id, learner_id=LEARNER, **fields)

    async def _update(self, socket: ServerConnection) -> None:
        update = {"learner_id": LEARNER, "epoch": "e", "revision": self._revision, "coalesced": 0}
        if self.lie == "drops the last updates" and self._revision > 5:
            return
        if self._lies("drops updates"):
            return
        if self._lies("reorders updates"):
            self._held.append(update)
            return
        for _ in range(1 + self._lies("doubles updates")):
            await self._say(socket, "state_update", **update)
        while self._held:
            await self._say(socket, "state_update", **self._held.pop())

    def _lies(self, lie: str) -> bool:
        if self.lie != lie:
            return False
        self._chances += 1
        return self._chances % 5 == 0

    async def _say(self, socket: ServerConnection, type: str, **fields: Any) -> None:
        await socket.send(json.dumps({"type": type} | fields))


@contextlib.contextmanager
def serving(liar: Liar) -> Iterator[str]:
    """Run it on a port of its own and yield the URL."""
    loop = asyncio.new_event_loop()
    ports: list[int] = []
    ready, over = threading.Event(), asyncio.Event()

    async def work() -> None:
        async with serve(liar.talk, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()))
    thread.start()
    try:
        assert ready.wait(10)
        yield f"ws://127.0.0.1:{ports[0]}/ws"
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


def load(
    url: str, *arguments: str, connections: int = 2, duration: float = 0.4, rate: float = 300
) -> int:
    """Run the load test against a server with one learner and return the exit code."""
    numbers = (
        "--connections",
        str(connections),
        "--duration",
        str(duration),
        "--rate",
        str(rate),
        "--ramp",
        "0.01",
    )
    return command.main(["--url", url, "--token", "t", "--learner", LEARNER, *numbers, *arguments])


def figures(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what the last run with --json printed."""
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(
    ("lie", "kinds"),
    [
        ("", set()),
        ("drops answers", {"lost"}),
        ("answers with something else", {"lost"}),
        ("answers nobody", {"lost", "duplicated"}),
        ("answers twice", {"duplicated"}),
        ("doubles updates", {"duplicated"}),
        ("drops updates", {"lost"}),
        ("reorders updates", {"out_of_order"}),
        ("drops the last updates", {"stale"}),
        ("stale state", {"stale"}),
        ("reuses a revision", {"duplicated"}),
        ("applies twice", {"duplicated"}),
    ],
)
def test_each_lie_is_found_and_only_an_honest_server_passes(
    lie: str, kinds: set[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(run, "PATIENCE_S", 0.3)
    with serving(Liar(lie)) as url:
        assert load(url, "--json", "--sole-writer", connections=1) == (1 if lie else 0)
    verdict = figures(capsys)["verdict"]
    found = {kind for kind in KINDS if verdict[kind]}
    # What else a lie implies may be found too: a lost answer leaves a revision that nobody
    # explains.
    assert kinds <= found
    assert bool(found) == bool(lie)
    assert all(verdict["examples"][kind] for kind in found)


def test_a_server_that_stalls_pays_for_everyone_who_waited(capsys: pytest.CaptureFixture[str]):
    """A closed loop would have one slow answer on each socket; here all that were due meanwhile are
    slow.
    """
    with serving(Liar("stalls")) as url:
        assert load(url, "--json", connections=1, duration=0.8) == 0
    assert figures(capsys)["latency_ms"]["p50"] > 50


def test_told_limits_are_kept_and_held_back_messages_count_from_when_they_were_due(
    capsys: pytest.CaptureFixture[str],
):
    liar = Liar(limits={"frames_per_second": 0, "in_flight": 4}, delay_s=0.05)
    with serving(liar) as url:
        assert load(url, "--json", connections=1, duration=0.5, rate=200) == 0
    seen = figures(capsys)
    assert 1 <= liar.most_in_flight < 4
    assert seen["held_back"] > 0
    assert seen["sent"] == seen["requested"] == seen["received"]
    assert seen["latency_ms"]["max"] > 100


def test_a_plan_that_would_measure_the_rate_limiter_is_refused(capsys: pytest.CaptureFixture[str]):
    with serving(Liar(limits={"frames_per_second": 50, "burst": 100, "in_flight": 64})) as url:
        assert load(url, connections=2, rate=81) == 2
        assert "would measure the server's rate limit" in capsys.readouterr().err
        assert load(url, connections=2, rate=79, duration=0.2) == 0


def test_a_refused_token_is_told_and_nothing_is_loaded(capsys: pytest.CaptureFixture[str]):
    with serving(Liar("refuses")) as url:
        assert load(url) == 2
    assert "unauthenticated: no" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--connections", "5001"], "--raise-bounds"),
        (["--duration", "601"], "--raise-bounds"),
        (["--rate", "10001"], "--raise-bounds"),
        (["--url", "ws://192.0.2.1/ws"], "--i-own-this-host"),
        (["--url", "http://127.0.0.1/ws"], "is no ws:// or wss:// URL"),
        (["--url", "ws://127.0.0.1:9/ws"], "nothing listens"),
    ],
)
def test_bounds_and_others_hosts_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert command.main(["--token", "t", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_someone_must_connect(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.delenv("AIVO_TOKEN", raising=False)
    assert command.main([]) == 2
    assert "--token" in capsys.readouterr().err


def test_ctrl_c_ends_with_a_report_of_what_was_measured():
    liar = Liar()
    arguments = [
        "--token",
        "t",
        "--learner",
        LEARNER,
        "--connections",
        "2",
        "--rate",
        "200",
        "--duration",
        "60",
    ]
    with serving(liar) as url:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--url", url, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert liar.busy.wait(30)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Interrupted: what was measured until then" in out
    assert int(re.findall(r"Received: (\d+)", out)[0]) > 40
    assert "Result: PASSED" in out
    assert "Traceback" not in err


def test_the_script_explains_itself_with_examples():
    shown = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, timeout=30
    )
    assert shown.returncode == 0
    for option in (
        "--token",
        "--connections",
        "--duration",
        "--url",
        "--rate",
        "--ramp",
        "--scenario",
        "--json",
    ):
        assert option in shown.stdout
    assert "examples:" in shown.stdout


# Against the real services

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

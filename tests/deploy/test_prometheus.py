"""Every query of every dashboard and every alert works on what a real Prometheus scrapes from a
live stack.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from harness.stack import private_stack
from tests.deploy.prometheus import DEPLOYED, MISSING, ROOT, WHY_SKIPPED, Prometheus, running, until
from tests.support.receiver import write_webhooks
from tests.support.school import PASSWORD, School, found_school, request
from tests.support.socket import open_socket

DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
ALERTS = (DEPLOYED / "alerts.yml").read_text(encoding="utf-8")
ALERT_NAMES = re.findall(r"(?m)^ +- alert: (\w+)$", ALERTS)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"

needs_prometheus = pytest.mark.skipif(bool(MISSING), reason=WHY_SKIPPED)


def queries() -> dict[str, str]:
    """Every query of every dashboard, by where it stands, with Grafana's variables filled in as it
    would.
    """
    found = {}
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$edge", ".*")
                found[f"{path.stem}: {panel['title']} {target['refId']}"] = expression
    return found


# What runs without a stack


def test_the_dashboards_are_what_their_tables_say() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "deploy.grafana.generate", "--check"], cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (checked.returncode, checked.stderr) == (0, "")
    assert [path.stem for path in DASHBOARDS] == ["auth", "brain", "edge", "fleet", "learners"]


def test_the_page_of_runbooks_is_what_the_documentation_says() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "deploy.prometheus.runbooks", "--check"], cwd=ROOT,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (checked.returncode, checked.stderr) == (0, "")
    page = (DEPLOYED / "consoles" / "runbooks.html").read_text(encoding="utf-8")
    assert re.findall(r'<h2 id="(\w+)">', page) == [name.lower() for name in ALERT_NAMES]
    assert set(re.findall(r'href="([^"]*)"', page)) <= {f"#{name.lower()}" for name in ALERT_NAMES}


def test_every_alert_has_a_runbook_and_tests_that_fire_it_and_that_do_not() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    tests = (DEPLOYED / "alerts_test.yml").read_text(encoding="utf-8")

    assert len(ALERT_NAMES) == len(set(ALERT_NAMES)) > 20
    linked = re.findall(r"runbook_url: '{{ \$externalURL }}/consoles/runbooks.html#(\w+)'", ALERTS)
    assert linked == [name.lower() for name in ALERT_NAMES]
    for name in ALERT_NAMES:
        assert f"\n### {name}\n" in runbook
        assert f"name: {name} fires\n" in tests
        assert f"name: {name} stays silent\n" in tests


def test_the_runbook_tells_of_no_alert_that_is_gone() -> None:
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

    assert set(re.findall(r"(?m)^### (Aivo\w+)$", runbook)) == set(ALERT_NAMES)


@needs_prometheus
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    checked = subprocess.run(
        ["promtool", *arguments],
        cwd=DEPLOYED,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


# What needs a live stack


def live(test: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a test of a Prometheus that scrapes the four processes."""
    return pytest.mark.system(needs_prometheus(test))


class Lesson:
    """Traffic of a class until told to stop."""

    def __init__(self, school: School) -> None:
        self._school = school
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Send traffic while the block runs; raises what went wrong with it."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()
        if self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        try:
            asyncio.run(self._teach())
        except BaseException as failure:
            self._failures.append(failure)

    async def _teach(self) -> None:
        school = self._school
        login = await asyncio.to_thread(school.login, "teacher")
        wrong = {"email": "ben@school.example", "password": "not " + PASSWORD}
        await asyncio.to_thread(request, school.stack, "POST", "/api/auth/login", wrong)
        while not self._stop.is_set():
            refresh = {"refresh_token": login["refresh_token"]}
            status, login = await asyncio.to_thread(
                request, school.stack, "POST", "/api/auth/refresh", refresh
            )
            assert status == 200, login
            pupil = await asyncio.to_thread(school.token, "ada")
            await self._period(login["access_token"], pupil)

    async def _period(self, teacher: str, pupil: str) -> None:
        url = self._school.stack.ws_url
        async with open_socket(url, teacher) as watching, open_socket(url, pupil) as learning:
            await watching.expect(type="connection_established")
            await learning.expect(type="connection_established")
            seen = await watching.ask("subscribe_learner", learner_id="ada")
            await watching.ask("join_room", room_id="class:5a")
            for turn in range(10):
                traced = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"} if turn == 0 else {}
                answer = await learning.interact("ada", correct=turn % 3 > 0, **traced)
                await watching.until_revision("ada", answer["revision"])
            await watching.ask("unsubscribe_learner", learner_id="ada")
            resume = {"epoch": seen["epoch"], "revision": seen["revision"]}
            await watching.ask("subscribe_learner", learner_id="ada", resume=resume)
            await learning.ask("ping")
            await learning.ask("no_such_type")


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    """A live stack with a school in it, and webhooks to where nobody listens."""
    webhooks = write_webhooks(tmp_path_factory.mktemp("webhooks"), "http://127.0.0.1:1/")
    with private_stack(env={"BRAIN_WEBHOOKS": str(webhooks)}) as stack:
        yield found_school(stack)


@pytest.fixture(scope="module")
def prometheus(school: School, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the stack from before its traffic began, and goes on
    doing so.
    """
    stack = school.stack
    targets = {name: stack.exposition(name) for name in ("edge", "brain", "auth", "metrics")}
    with running(tmp_path_factory.mktemp("prometheus"), targets) as prometheus:
        until(
            lambda: len(prometheus.query("aivo_event_loop_wait_seconds")) == 4,
            "all four were scraped",
        )
        with Lesson(school).going_on():
            yield prometheus


@live
def test_every_query_of_every_dashboard_returns_data(prometheus: Prometheus) -> None:
    missing = queries()
    assert len(missing) > 60

    def all_there() -> bool:
        for place, expression in list(missing.items()):
            if prometheus.has_data(expression):
                del missing[place]
        return not missing

    try:
        until(all_there, "every query returns data")
    finally:
        assert missing == {}


@live
@pytest.mark.parametrize(
    "expression",
    [
        "aivo_websocket_active_connections",
        "rate(aivo_websocket_messages_sent_total[5m])",
        "histogram_quantile(0.95, rate(aivo_websocket_latency_ms_bucket[5m]))",
    ],
)
def test_the_guides_queries_return_one_series_per_edge(
    prometheus: Prometheus, expression: str
) -> None:
    ((labels, value),) = until(
        lambda: prometheus.query(f"{expression} > 0"), "the edge has traffic"
    )

    assert labels["job"] == "aivo-edge"
    assert 0 < value < 100_000


@live
def test_every_rule_is_evaluated_without_an_error(prometheus: Prometheus) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in rules()), "every rule was evaluated")
    assert {rule["name"]: rule.get("lastError") for rule in rules() if rule["health"] != "ok"} == {}
    assert {rule["name"] for rule in rules() if rule["type"] == "alerting"} == set(ALERT_NAMES)
    for rule in rules():
        prometheus.query(rule["query"])


@live
def test_the_metrics_that_alerts_ask_for_exist(prometheus: Prometheus) -> None:
    """An alert on a misspelt name is valid and silent for ever; a test of its own would use the
    same wrong name.
    """
    names = set(prometheus.get("label/__name__/values"))
    asked = set(
        re.findall(
            r"\b(?:aivo|process)_[a-z_]+", re.sub(r'"[^"]*"|runbook_url.*|summary.*', "", ALERTS)
        )
    )

    assert len(asked) > 20
    assert asked <= names


@live
def test_the_fleet_and_the_edges_agree(prometheus: Prometheus) -> None:
    fleet, edges = "aivo_fleet_connections_total", "sum(aivo_websocket_connections_total)"
    earlier = "sum(aivo_websocket_connections_total offset 4s)"
    # Scraped and reported at different moments, so each is compared with the other some seconds
    # before.
    assert until(
        lambda: prometheus.query(f"{fleet} >= on () {earlier} > 0"), "the fleet knows its edge"
    )
    assert until(
        lambda: prometheus.query(f"{fleet} offset 4s <= on () {edges}"),
        "the fleet counts nothing twice",
    )


@live
async def test_sockets_are_counted_by_the_code_they_closed_with(
    prometheus: Prometheus, school: School
) -> None:
    async with open_socket(f"{school.stack.ws_url}?token=nonsense") as socket:
        assert await socket.until_closed() == 4401

    for code in ("1000", "4401"):
        expression = f'aivo_websocket_closes_total{{code="{code}"}} > 0'
        assert await asyncio.to_thread(
            until, lambda expression=expression: prometheus.query(expression), code
        )


@live
@pytest.mark.parametrize("unit", ["ms", "seconds"])
def test_a_sampled_trace_is_the_exemplar_of_its_latency(prometheus: Prometheus, unit: str) -> None:
    def exemplars() -> list[Any]:
        query = f"aivo_websocket_latency_{unit}_bucket"
        found: list[Any] = prometheus.get(
            "query_exemplars", query=query, start="0", end="99999999999"
        )
        return found

    found = until(exemplars, "an exemplar")
    assert {one["labels"]["trace_id"] for series in found for one in series["exemplars"]} == {TRACE}


@live
def test_no_label_names_a_person_or_a_learner(prometheus: Prometheus) -> None:
    series = prometheus.get("series", **{"match[]": '{job=~"aivo-.+"}'})
    values = {value for one in series for value in one.values()}

    assert len(series) > 300
    for value in values:
        assert value not in ("ada", "ben", "5a", "class:5a")
        assert "@" not in value
        assert not re.search(r"[0-9a-f]{8}-?[0-9a-f]{4}", value)

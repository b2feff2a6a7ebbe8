"""What `make up` started serves, through the proxy, and shows operators what it does."""

from __future__ import annotations

import asyncio
import json
import re
import uuid

from tests.compose.engine import Deployment, health_of
from tests.deploy.composed import ENVIRONMENT, OURS, read
from tests.deploy.prometheus import Prometheus
from tests.support.eventually import eventually
from tests.support.jaeger import Jaeger
from tests.support.school import School, request
from tests.support.socket import open_socket

EDGES = 2


def test_everything_runs_and_is_healthy(started: Deployment) -> None:
    services = read()["services"]
    for name, service in services.items():
        found = started.containers(name)
        assert len(found) == (EDGES if name == "edge" else 1)
        expected = "healthy" if "healthcheck" in service else "running"
        assert [health_of(one) for one in found] == [expected] * len(found), name


def test_the_proxy_has_the_address_that_edges_believe(started: Deployment) -> None:
    (trusted,) = [
        value
        for edge in started.containers("edge")[:1]
        for name, _, value in [pair.partition("=") for pair in edge["Config"]["Env"]]
        if name == "EDGE_TRUSTED_PROXIES"
    ]
    assert started.ip(started.container("proxy"), "front") == trusted


def test_edges_take_the_proxys_word_on_how_somebody_came_and_nobody_elses(
    started: Deployment,
) -> None:
    """A cookie is `Secure` when somebody came by TLS, which only a proxy can tell."""
    body = json.dumps(
        {
            "email": ENVIRONMENT["AIVO_ADMIN_EMAIL"],
            "password": started.secret("admin-password"),
            "cookie": True,
        }
    )
    head = (
        "POST /api/auth/login HTTP/1.1\r\nHost: aivo\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    )
    edge = started.ip(started.containers("edge")[0], "front")

    def answer(*prefix: str) -> str:
        script = f"exec 3<>/dev/tcp/{edge}/8000; printf '%s' \"$0\" >&3; cat <&3"
        return started.run(*prefix, "bash", "-c", script, head + body)

    by_proxy = answer("docker", "compose", "exec", "-T", "proxy")
    by_another = answer()
    assert " 200 " in by_proxy.splitlines()[0]
    assert " 200 " in by_another.splitlines()[0]
    assert re.search("(?im)^set-cookie:.*; secure", by_proxy)
    assert not re.search("(?im)^set-cookie:.*; secure", by_another)


async def test_the_first_administrator_logs_in_through_the_proxy(
    started: Deployment, school: School
) -> None:
    credentials = {
        "email": ENVIRONMENT["AIVO_ADMIN_EMAIL"],
        "password": started.secret("admin-password"),
    }
    status, session = request(school.stack, "POST", "/api/auth/login", credentials)
    assert status == 200, session
    # An edge serves before its first report.
    await eventually(
        lambda: asyncio.to_thread(
            request, school.stack, "GET", "/api/websocket/metrics", None, session["access_token"]
        ),
        lambda told: told[0] == 200 and told[1]["edges"]["reporting"] == EDGES,
    )


def test_the_page_is_there(started: Deployment) -> None:
    page = started.run("curl", "--silent", "--fail", f"{started.http_url}/")
    assert 'id="root"' in page


async def test_an_answer_reaches_the_watchers_and_its_trace_the_operators(
    started: Deployment, school: School, learner: str
) -> None:
    trace = uuid.uuid4().hex
    async with (
        open_socket(started.ws_url, school.token("teacher")) as teacher,
        open_socket(started.ws_url, school.token(learner)) as pupil,
    ):
        await teacher.ask("subscribe_learner", learner_id=learner)
        context = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        answered = await pupil.interact(learner, **context)
        (update,) = await teacher.until_revision(learner, 1)
    assert (answered["trace_id"], update["trace_id"]) == (trace, trace)
    port = started.compose("port", "jaeger", "16686").strip().rpartition(":")[2]
    spans = Jaeger(otlp_port=0, http_port=int(port)).spans(trace, {"ws.receive": 1, "commit": 1})
    assert {one["service"] for one in spans["commit"]} == {"brain"}


def test_prometheus_scrapes_every_one_of_our_containers(started: Deployment) -> None:
    prometheus = Prometheus(f"http://{started.compose('port', 'prometheus', '9090').strip()}")
    expected = sorted(f"aivo-{name}" for name in ("edge", *OURS))

    def all_up() -> bool:
        targets = prometheus.get("targets")["activeTargets"]
        up = sorted(target["labels"]["job"] for target in targets if target["health"] == "up")
        return up == expected and len(targets) == len(expected)

    started.until(all_up, "Prometheus reaches each of ours and looks for nobody else")
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 20
    runbooks = started.run("curl", "--silent", "--fail", f"{prometheus.url}/consoles/runbooks.html")
    assert 'id="aivoservicegone"' in runbooks


def test_nothing_of_ours_is_published_but_the_proxy(started: Deployment) -> None:
    for name in OURS:
        for container in started.containers(name):
            assert not any((container["NetworkSettings"]["Ports"] or {}).values()), name


def test_again_changes_nothing(started: Deployment) -> None:
    def ids() -> dict[str, set[str]]:
        return {name: {one["Id"] for one in started.containers(name)} for name in (*OURS, "proxy")}

    before = ids()
    started.run("make", "up", f"EDGES={EDGES}")
    assert ids() == before

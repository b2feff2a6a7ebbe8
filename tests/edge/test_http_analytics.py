"""Analytics and the stream of metrics over HTTP; what ends the stream is in test_live.py."""

from __future__ import annotations

import pytest

from edge.ports import UpstreamError
from tests.support.http_api import Api, problem


async def test_analytics_are_asked_for_as_the_query_says(api: Api) -> None:
    query = (
        "from=2026-01-01T00:00:00Z&to=2026-01-01T02:00:00%2B01:00&interval=300"
        "&type=ping&type=error&role=learner"
    )
    response = await api("GET", f"/api/websocket/analytics?{query}", token="admin")

    assert api.metrics.asked == [
        {
            "from_ms": 1_767_225_600_000,
            "to_ms": 1_767_229_200_000,
            "interval_s": 300,
            "types": ["ping", "error"],
            "roles": ["learner"],
        }
    ]
    body = response.json()
    assert (body["interval_s"], body["rows"][0]["type"], body["rows"][0]["direction"]) == (
        300,
        "ping",
        "inbound",
    )
    assert body["from"].startswith("2026-01-01T00:00:00")


async def test_analytics_without_a_query_are_the_last_hour_by_minutes(api: Api) -> None:
    await api("GET", "/api/websocket/analytics", token="admin")

    assert api.metrics.asked == [
        {"from_ms": 0, "to_ms": 0, "interval_s": 60, "types": [], "roles": []}
    ]


@pytest.mark.parametrize(
    "query",
    [
        "interval=0",
        "interval=61",
        "interval=-60",
        "interval=x",
        "from=yesterday",
        "from=2026-01-01T00:00:00",
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=1900-01-01T00:00:00Z",
        "to=1970-01-01T00:00:00Z",
        "type=Ping",
        "type=",
        "role=a%20b",
        "&".join(["type=ping"] * 65),
    ],
)
async def test_a_bad_question_about_analytics_is_a_problem(api: Api, query: str) -> None:
    problem(
        await api("GET", f"/api/websocket/analytics?{query}", token="admin"), 422, "bad_request"
    )
    assert api.metrics.asked == []


async def test_what_the_metrics_service_refuses_is_a_problem(api: Api) -> None:
    api.metrics.fault = UpstreamError(
        "bad_request", "more than 1500 intervals; ask for a shorter range"
    )

    problem(await api("GET", "/api/websocket/analytics", token="admin"), 400, "bad_request")


def test_analytics_are_described(api: Api) -> None:
    found = api.transport.app.openapi()  # type: ignore[attr-defined]
    described = found["paths"]["/api/websocket/analytics"]["get"]

    assert {one["name"] for one in described["parameters"] if one["in"] == "query"} == {
        "from", "to", "interval", "type", "role",
    }  # fmt: skip
    assert all(one["description"] for one in described["parameters"] if one["in"] == "query")
    assert described["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/Analytics"
    )
    assert set(found["components"]["schemas"]["Analytics"]["properties"]) == {
        "from",
        "to",
        "interval_s",
        "rows",
    }


# The stream of metrics


async def test_a_stream_of_figures_is_asked_for_at_an_interval_within_bounds(api: Api) -> None:
    path = "/api/websocket/metrics/stream"
    for query, status in (
        ("", 200),
        ("?interval_ms=250", 200),
        ("?interval_ms=249", 422),
        ("?interval_ms=10001", 422),
    ):
        assert (await api("GET", path + query, token="admin")).status_code == status

    assert api.metrics.asked == [{"interval_ms": 2_000}, {"interval_ms": 250}]


async def test_a_stream_that_cannot_begin_is_a_problem(api: Api) -> None:
    api.metrics.fault = UpstreamError("unavailable", "One sentence.", retry_after_ms=1000)
    for _ in range(3):  # more than a user may hold: none is held
        problem(
            await api("GET", "/api/websocket/metrics/stream", token="admin"), 503, "unavailable"
        )
    api.metrics.fault, api.draining = None, True
    problem(await api("GET", "/api/websocket/metrics/stream", token="admin"), 503, "unavailable")


def test_the_stream_is_described(api: Api) -> None:
    described = api.transport.app.openapi()["paths"]["/api/websocket/metrics/stream"]["get"]  # type: ignore[attr-defined]

    assert [one["name"] for one in described["parameters"] if one["in"] == "query"] == [
        "interval_ms"
    ]
    assert list(described["responses"]["200"]["content"]) == ["text/event-stream"]
    assert described["responses"].keys() >= {"200", "429", "503"}

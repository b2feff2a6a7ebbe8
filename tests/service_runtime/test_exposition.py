"""What any process shows to Prometheus: its metrics as they are when asked, at one path, until it
stops.
"""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from service_runtime.addresses import OFF, check_listen, parse_address
from service_runtime.exposition import Exposition, exposed
from service_runtime.metrics import Family, Histogram, counter, gauge, histogram
from service_runtime.settings import SettingsError
from service_runtime.version import VERSION

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


def fetch(
    port: int, path: str = "/metrics", host: str = "127.0.0.1", **headers: str
) -> tuple[str, str]:
    request = urllib.request.Request(f"http://{host}:{port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.headers["Content-Type"], response.read().decode()


async def shown(*families: Family, **headers: str) -> str:
    exposition = Exposition(lambda: families)
    port = await exposition.start("127.0.0.1", 0)
    _, text = await asyncio.to_thread(fetch, port, **headers)
    await exposition.stop()
    return text


def samples(text: str, prefix: str = "test_") -> dict[tuple[str, ...], float]:
    found = (
        sample
        for family in parse(text)
        for sample in family.samples
        if sample.name.startswith(prefix)
    )
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


async def test_a_scrape_shows_the_figures_of_the_moment() -> None:
    sent = [1]
    exposition = Exposition(lambda: [counter("test_sent", "Sent.", sent[0])])
    port = await exposition.start("127.0.0.1", 0)
    _, before = await asyncio.to_thread(fetch, port)
    sent[0] = 5
    _, after = await asyncio.to_thread(fetch, port)
    await exposition.stop()

    assert samples(before) == {("test_sent_total",): 1}
    assert samples(after) == {("test_sent_total",): 5}


async def test_labelled_figures_keep_their_labels() -> None:
    text = await shown(
        gauge("test_up", "Up.", {("brain", "a:1"): 1, ("auth", "b:2"): 0}, "service", "peer"),
        counter("test_closes", "Closes.", {("1000",): 7}, "code"),
    )

    assert samples(text) == {
        ("test_up", "a:1", "brain"): 1,
        ("test_up", "b:2", "auth"): 0,
        ("test_closes_total", "1000"): 7,
    }


async def test_each_scrape_tells_the_version() -> None:
    assert samples(await shown(), "aivo_build_info") == {("aivo_build_info", VERSION): 1}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], [0, 0, 0]),
        ([0.0, 1.0], [2, 2, 2]),
        ([1.0000001, 2.0], [0, 2, 2]),
        ([2.5, 1e9], [0, 0, 2]),
        ([1.0, 2.0, 3.0], [1, 2, 3]),
    ],
)
async def test_a_histogram_counts_cumulatively_and_bounds_are_inclusive(
    values: list[float], expected: list[int]
) -> None:
    counted = Histogram((1.0, 2.0))
    for value in values:
        counted.observe(value)
    found = samples(await shown(histogram("test_size", "Sizes.", counted)))

    assert [found["test_size_bucket", bound] for bound in ("1.0", "2.0", "+Inf")] == expected
    assert found["test_size_count",] == len(values)
    assert found["test_size_sum",] == pytest.approx(sum(values))


async def test_exemplars_carry_the_trace_when_open_metrics_are_asked_for_and_only_then() -> None:
    counted = Histogram((1.0, 2.0))
    counted.observe(1.5, TRACE)
    counted.observe(0.5)
    metrics = histogram("test_size", "Sizes.", counted)
    families = {
        family.name: family
        for family in parse_open_metrics(await shown(metrics, Accept=OPEN_METRICS))
    }
    buckets = [
        sample for sample in families["test_size"].samples if sample.name.endswith("_bucket")
    ]

    assert [sample.exemplar and sample.exemplar.labels for sample in buckets] == [
        None,
        {"trace_id": TRACE},
        None,
    ]
    assert buckets[1].exemplar.value == 1.5
    assert TRACE not in await shown(metrics)


async def test_a_family_does_not_change_after_it_was_read() -> None:
    counted = Histogram((1.0,))
    family = histogram("test_size", "Sizes.", counted)
    counted.observe(0.5, TRACE)

    assert samples(await shown(family))["test_size_count",] == 0


async def test_every_process_shows_itself_and_how_long_the_scrape_waited_for_its_loop() -> None:
    names = {family.name for family in parse(await shown())}

    assert {
        "process_cpu_seconds",
        "process_open_fds",
        "python_info",
        "aivo_event_loop_wait_seconds",
    } <= names


async def test_other_paths_are_not_found() -> None:
    exposition = Exposition(lambda: [])
    port = await exposition.start("127.0.0.1", 0)
    for path in ("/", "/metrics/", "/metricsx"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            await asyncio.to_thread(fetch, port, path)
        refused.value.close()
        assert refused.value.code == 404
    await exposition.stop()


async def test_figures_are_read_on_the_loop() -> None:
    loops = []

    def read() -> Iterable[Family]:
        loops.append(asyncio.get_running_loop())
        return []

    exposition = Exposition(read)
    port = await exposition.start("127.0.0.1", 0)
    await asyncio.to_thread(fetch, port)
    await exposition.stop()

    assert loops == [asyncio.get_running_loop()]


async def test_a_scrape_that_fails_does_not_end_the_listener() -> None:
    faults: list[Callable[[], None]] = [lambda: [][0]]

    def read() -> Iterable[Family]:
        if faults:
            faults.pop()()
        return [gauge("test_up", "Up.", 1)]

    exposition = Exposition(read)
    port = await exposition.start("127.0.0.1", 0)
    with pytest.raises(OSError):  # noqa: PT011 - a status or a broken connection, as the library has it
        await asyncio.to_thread(fetch, port)
    _, text = await asyncio.to_thread(fetch, port)
    await exposition.stop()

    assert samples(text) == {("test_up",): 1}


async def test_the_port_is_free_again_after_the_stop() -> None:
    first = Exposition(lambda: [])
    port = await first.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        await Exposition(lambda: []).start("127.0.0.1", port)
    await first.stop()
    await first.stop()
    second = Exposition(lambda: [])
    assert await second.start("127.0.0.1", port) == port
    await second.stop()


async def test_a_taken_port_is_told_with_the_variable_to_change() -> None:
    holder = Exposition(lambda: [])
    port = await holder.start("127.0.0.1", 0)
    with pytest.raises(
        SettingsError, match=r"EDGE_EXPOSITION_LISTEN: cannot listen on 127\.0\.0\.1"
    ):
        async with exposed(f"127.0.0.1:{port}", lambda: [], variable="EDGE_EXPOSITION_LISTEN"):
            pass
    await holder.stop()


async def test_off_reads_nothing_and_listens_nowhere() -> None:
    async with exposed(OFF, lambda: pytest.fail("read"), variable="X"):
        pass


def test_addresses_are_host_and_port() -> None:
    assert parse_address("127.0.0.1:8004") == ("127.0.0.1", 8004)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert check_listen("off", variable="X") == check_listen("0.0.0.0:8004", variable="X") == []


@pytest.mark.parametrize(
    "text",
    ["", "8007", "localhost", "localhost:", ":8007", "localhost:99999", "localhost:-1", "on"],
)
def test_what_is_no_address_is_explained(text: str) -> None:
    (problem,) = check_listen(text, variable="EDGE_EXPOSITION_LISTEN")

    assert problem.startswith("EDGE_EXPOSITION_LISTEN: must look like")

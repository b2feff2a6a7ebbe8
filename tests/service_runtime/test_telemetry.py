"""Which work is traced, what is recorded of it, and that processes without a collector pay
nothing.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.root import ROOT
from service_runtime import telemetry, trace_context
from service_runtime.settings import SettingsError
from service_runtime.spans import Span
from service_runtime.telemetry import (
    Sampler,
    Tracer,
    exporting,
    read_sampler,
    rpc_attributes,
    rpc_name,
)
from service_runtime.trace_context import TraceContext

EVERY = 1 << 64
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}

contexts = st.builds(
    TraceContext,
    st.integers(1, (1 << 128) - 1).map(lambda number: f"{number:032x}"),
    st.integers(1, EVERY - 1).map(lambda number: f"{number:016x}"),
    st.booleans(),
)


@pytest.mark.parametrize(
    ("variables", "sampler"),
    [
        ({}, Sampler(EVERY, True)),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, Sampler(EVERY, False)),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, Sampler(0, False)),
        (
            {"OTEL_TRACES_SAMPLER": "parentbased_always_off", "OTEL_TRACES_SAMPLER_ARG": "1"},
            Sampler(0, True),
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            Sampler(EVERY // 4, False),
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, Sampler(EVERY, True)),
    ],
)
def test_the_standard_variables_choose_the_sampler(
    variables: dict[str, str], sampler: Sampler
) -> None:
    assert read_sampler(variables) == sampler


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.01"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "some"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
        {"OTEL_TRACES_EXPORTER": "zipkin"},
    ],
)
async def test_what_we_cannot_do_is_refused_with_the_name_of_the_variable(
    variables: dict[str, str],
) -> None:
    with pytest.raises(SettingsError, match=list(variables)[-1]):
        async with exporting("any", ENDPOINT | variables):
            pass


@pytest.mark.parametrize(
    "variables", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
                  ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}]
)  # fmt: skip
async def test_without_an_endpoint_or_when_switched_off_there_is_no_tracer(
    variables: dict[str, str],
) -> None:
    async with exporting("any", variables) as tracer:
        assert tracer is None


def test_a_process_without_a_collector_does_not_even_load_the_sdk() -> None:
    program = """
import asyncio, sys
import brain_service.__main__, edge.__main__
from service_runtime.telemetry import exporting
async def main():
    async with exporting("edge", {}) as tracer:
        assert tracer is None
asyncio.run(main())
heavy = ("opentelemetry.sdk", "opentelemetry.exporter")
sys.exit(any(name.startswith(heavy) for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=60).returncode == 0


@given(parent=contexts, bound=st.integers(0, EVERY))
def test_a_parents_decision_is_kept_and_its_trace_continued(
    parent: TraceContext, bound: int
) -> None:
    context = Tracer(Sampler(bound, True), _fail).begin(parent)

    assert (context.trace_id, context.sampled) == (parent.trace_id, parent.sampled)
    assert context.span_id != parent.span_id


@given(parent=contexts, bound=st.integers(0, EVERY))
def test_every_process_decides_the_same_for_one_trace_id(parent: TraceContext, bound: int) -> None:
    sampler = Sampler(bound, False)
    decided = sampler.decide(parent.trace_id, parent)

    assert decided is (int(parent.trace_id, 16) % EVERY < bound)
    assert (
        decided
        is sampler.decide(parent.trace_id, None)
        is Tracer(sampler, _fail).begin(parent).sampled
    )


def test_a_ratio_records_that_part_of_new_traces() -> None:
    tracer = Tracer(Sampler(EVERY // 10, True), _fail)
    sampled = sum(tracer.begin().sampled for _ in range(20_000))

    assert 1_700 < sampled < 2_300  # ten standard deviations


@given(context=contexts, other=st.text(max_size=60))
def test_only_sampled_traceparents_count_as_sampled(context: TraceContext, other: str) -> None:
    assert trace_context.sampled(trace_context.render(context)) == (
        context if context.sampled else None
    )
    assert trace_context.sampled(other) is None


def test_log_fields_are_the_ids_of_sampled_and_unsampled_work_alike() -> None:
    for sampled in (True, False):
        context = trace_context.new_root(sampled=sampled)
        fields = trace_context.log_fields(trace_context.render(context))
        assert fields == {"trace_id": context.trace_id, "span_id": context.span_id}
    assert trace_context.log_fields("00-abc") == {}


def test_links_are_bounded() -> None:
    spans: list[Span] = []
    root = trace_context.new_root(sampled=True)
    Tracer(Sampler(EVERY, True), spans.append).record(
        "many", root, None, 1, end_ns=2, links=[root] * 500
    )

    assert len(spans[0].links) == telemetry.MAX_LINKS


def test_metadata_carry_the_present_trace_and_only_it() -> None:
    root = trace_context.new_root(sampled=True)
    plain = (("authorization", "x"),)
    with telemetry.within(root):
        assert telemetry.outgoing(plain) == (*plain, ("traceparent", trace_context.render(root)))
    assert telemetry.outgoing(plain) is plain


def _fail(span: Any) -> None:
    raise AssertionError(f"nothing is recorded by beginning, but was: {span}")


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("aivo.auth.v1.AuthService/Authorize", "auth.Authorize"),
        ("aivo.metrics.v1.MetricsService/GetSnapshot", "metrics.GetSnapshot"),
        ("grpc.health.v1.Health/Check", "health.Check"),
    ],
)
def test_a_call_has_a_name_that_fits_into_a_tree_and_keeps_its_whole_one(
    method: str, name: str
) -> None:
    assert rpc_name(method) == name
    assert rpc_attributes(method)["rpc.method"] == method

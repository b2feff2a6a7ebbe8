"""Trace contexts survive the wire; garbage starts none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_runtime.trace_context import child, new_root, parse, render

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_rendered_context_parses_to_itself() -> None:
    context = new_root(sampled=True)

    assert parse(render(context)) == context


def test_a_child_stays_in_the_trace_with_a_span_of_its_own() -> None:
    parent = new_root()

    assert child(parent).trace_id == parent.trace_id
    assert child(parent).span_id != parent.span_id


@pytest.mark.parametrize(
    "bad",
    [
        "",
        GOOD[:-1],
        GOOD.upper(),
        GOOD.replace("-", "_"),
        GOOD + "-extra",
        "ff" + GOOD[2:],
        "00-" + "0" * 32 + GOOD[35:],
        GOOD[:36] + "0" * 16 + GOOD[52:],
    ],
)
def test_malformed_headers_carry_no_context(bad: str) -> None:
    assert parse(bad) is None


def test_a_future_version_is_read_by_the_known_rules() -> None:
    assert parse("01" + GOOD[2:] + "-future") == parse(GOOD)


@given(st.text(max_size=80))
def test_any_text_is_parsed_or_refused_without_error(text: str) -> None:
    context = parse(text)

    assert context is None or render(context)[3:52] == text[3:52]

"""Interactions are written into one message a batch, where a field that cannot be written would
fail its neighbours.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.frames import incoming
from edge.ports import Interaction
from edge.upstream import interactions
from service_runtime import trace_context

TEXTS = st.text(max_size=128)
CONTEXTS = st.fixed_dictionaries(
    {},
    optional={
        "correct": st.none() | st.booleans(),
        "difficulty": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "subject": st.none() | TEXTS,
        "skill": st.none() | TEXTS | st.lists(TEXTS, max_size=9),
        "time_taken": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "hints": st.none() | st.integers(),
        "attempts": st.none() | st.integers(),
        "item_id": st.none() | TEXTS,
    },
)
TIMES = [
    "1970-01-01T00:00:00.001Z",
    "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999-14:00",
    None,
]


def accepted(data: dict[str, Any]) -> Interaction | None:
    """Return an interaction as it waits to be sent; None when decoding refuses it."""
    frame = {"type": "virtual_brain_interact", "data": data}
    try:
        decoded = incoming.decode(json.dumps(frame).encode())
        assert isinstance(decoded, incoming.VirtualBrainInteract)
        context = incoming.decode_context(decoded.data.context)
        if decoded.data.occurred_at is not None:
            incoming.check_moment(decoded.data.occurred_at, "data.occurred_at")
    except incoming.BadFrameError:
        return None
    return Interaction(
        decoded.data, context, interaction_id="i", received_at_ms=1, trace=trace_context.new_root()
    )


@given(content=TEXTS, response=st.none() | TEXTS, context=CONTEXTS, at=st.sampled_from(TIMES))
def test_whatever_decoding_accepts_can_be_written(
    content: str, response: str | None, context: dict[str, Any], at: str | None
) -> None:
    data = {
        "learner_id": "ada",
        "type": "practice",
        "content": content,
        "response": response,
        "context": context,
    }
    sent = accepted(data | ({"occurred_at": at} if at else {}))
    if sent is None:
        return

    (written,) = interactions.request([sent]).interactions

    assert (written.content, written.HasField("response")) == (content, response is not None)
    assert json.loads(written.context_json) == context


@pytest.mark.parametrize("name", ["correct", "difficulty", "time_taken_s", "hints", "attempts"])
def test_zero_is_told_and_nothing_is_not(name: str) -> None:
    field = name.removesuffix("_s")
    zero: object = False if name == "correct" else 0
    base = {"learner_id": "ada", "type": "practice", "content": "x"}
    told, untold = accepted(base | {"context": {field: zero}}), accepted(base)
    assert told is not None
    assert untold is not None

    with_zero, without = interactions.request([told, untold]).interactions

    assert with_zero.context.HasField(name)
    assert not without.context.HasField(name)

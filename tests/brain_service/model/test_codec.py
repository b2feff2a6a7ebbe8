"""Stored bytes as claims: exact round trips, and nothing damaged or foreign is ever misread."""

from __future__ import annotations

import random
from struct import pack
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.model import Statistics, Step, apply, assess, interaction_from_context
from brain_service.model.codec import (
    STAMP_BYTES,
    CorruptBytesError,
    UnknownLayoutError,
    constants_of,
    decode_assessment,
    decode_state,
    encode_assessment,
    encode_state,
    is_up_to_date,
    told,
)
from brain_service.model.levels import BASES
from brain_service.model.params import PARAMS_HASH
from brain_service.model.state import BLANK


def learner(seed: int, steps: int, skills: int = 12, items: int = 30, gap: float = 40.0) -> Step:
    dice = random.Random(seed)
    step = None
    for i in range(steps):
        kind = dice.choice(
            ["question_response", "question_response", "practice", "content_view", "hint_request"]
        )
        context: dict[str, object] = {}
        if kind != "content_view":
            context |= {
                "correct": dice.random() < 0.6,
                "skill": [f"скилл-{dice.randrange(skills)}" for _ in range(2)],
            }
        if dice.random() < 0.8:
            context["time_taken"] = dice.uniform(0, 90)
        interaction = interaction_from_context(kind, f"q{dice.randrange(items)}", context)
        step = apply(step.state if step else None, Statistics(), interaction, 1e9 + gap * i)
    assert step is not None
    return step


steps = st.builds(
    learner, st.integers(0, 2**32), st.integers(1, 60), gap=st.sampled_from([1.0, 40.0, 90_000.0])
)


@settings(max_examples=50)
@given(steps)
def test_states_and_outcomes_come_back_exactly(step: Step) -> None:
    state = decode_state(encode_state(step.state))

    assert state == step.state
    assert list(state.skills) == list(step.state.skills)
    for assessment in (step.assessment, assess(step.state)):
        as_told, kept = told(assessment)
        assert decode_assessment(kept) == as_told
        # What was told once can be told again.
        assert told(as_told) == (as_told, kept)


@settings(max_examples=50)
@given(steps)
def test_what_is_told_is_what_the_model_says_to_four_decimals(step: Step) -> None:
    (levels, parts, evidence), *_ = (step.assessment.estimates,)
    as_told = told(step.assessment)[0]

    assert [round(level, 4) for level in as_told.estimates.levels] == pytest.approx(
        levels, abs=5.0001e-5
    )
    told_of, exact_of = (each.performance._asdict() for each in (as_told, step.assessment))
    for name, value in exact_of.items():
        assert told_of[name] == (value and pytest.approx(value, rel=5e-5))
    assert as_told.estimates.evidence == pytest.approx(evidence, abs=3e-4)
    for level, base, mine, exact in zip(
        as_told.estimates.levels, BASES, as_told.estimates.contributions, parts, strict=True
    ):
        assert mine == pytest.approx(exact, abs=3e-4)
        assert level in (0.0, 1.0) or sum(mine) == pytest.approx(level - base, abs=1e-12)
    assert as_told.meaning is not None
    assert step.assessment.meaning is not None
    assert as_told.meaning.bands == step.assessment.meaning.bands


def test_a_state_of_256_skills_and_a_blank_one_come_back_exactly() -> None:
    full = learner(1, 900, skills=400, items=200).state

    assert (len(full.skills), len(full.item_keys) // 8) == (256, 64)
    assert decode_state(encode_state(full)) == full
    assert decode_state(encode_state(BLANK)) == BLANK


def test_a_state_of_twelve_skills_is_small() -> None:
    """About 1 KB and 95 bytes a skill, or better."""
    state = learner(2, 400).state

    assert len(encode_state(state)) <= 1024 + 95 * len(state.skills)


@given(st.data())
def test_truncated_or_damaged_bytes_are_refused(data: st.DataObject) -> None:
    step = learner(3, 30)
    for encode, decode in ((encode_state, decode_state), (encode_assessment, decode_assessment)):
        good = encode(step.state if encode is encode_state else step.assessment)  # type: ignore[operator]
        cut = data.draw(st.integers(0, len(good) - 1))
        at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
        flipped = bytearray(good)
        flipped[at] ^= 1 << bit

        for bad in (good[:cut], bytes(flipped), good + b"\0"):
            with pytest.raises((CorruptBytesError, UnknownLayoutError)):
                decode(bad)


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused_even_with_a_good_checksum(garbage: bytes) -> None:
    body = bytes([1]) + PARAMS_HASH + garbage
    sealed = body + pack("<I", crc32(body))

    for decode in (decode_state, decode_assessment):
        with pytest.raises((CorruptBytesError, UnknownLayoutError)):
            decode(sealed)


def sealed(body: bytes) -> bytes:
    return body + pack("<I", crc32(body))


def test_a_state_of_other_constants_is_read_and_known_as_such() -> None:
    state = learner(4, 5).state
    todays, others = encode_state(state), encode_state(state, b"8 others")

    assert decode_state(others) == state
    assert (constants_of(todays), constants_of(others)) == (PARAMS_HASH, b"8 others")
    assert (is_up_to_date(todays), is_up_to_date(others)) == (True, False)
    assert is_up_to_date(todays[:STAMP_BYTES])
    assert not is_up_to_date(bytes([0]) + todays[1:])


@pytest.mark.parametrize("number", [0, 100, 255])
def test_an_unknown_layout_is_refused_by_its_number(number: int) -> None:
    step = learner(5, 5)

    with pytest.raises(UnknownLayoutError, match=f"layout {number}"):
        decode_state(sealed(bytes([number]) + encode_state(step.state)[1:-4]))
    with pytest.raises(UnknownLayoutError, match=f"layout {number}"):
        decode_assessment(sealed(bytes([number]) + encode_assessment(step.assessment)[1:-4]))


def test_empty_bytes_are_refused() -> None:
    with pytest.raises(UnknownLayoutError, match="empty"):
        decode_state(b"")
    with pytest.raises(UnknownLayoutError, match="empty"):
        decode_assessment(b"")


def test_an_outcome_of_an_earlier_model_keeps_its_version() -> None:
    assessment = learner(6, 5).assessment._replace(model_version="vb-ssm/0.0")

    assert decode_assessment(encode_assessment(assessment)).model_version == "vb-ssm/0.0"

"""What levels mean, on the wire: it says exactly what the model says, for every learner."""

from __future__ import annotations

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivo.brain.v1 import brain_pb2 as pb
from brain_service.model import Assessment, LearnerState, Statistics, apply, explain
from brain_service.model.attention import REASONS, Attention
from brain_service.model.interaction import interaction_from_context
from brain_service.model.meaning import NAMES, Meaning
from brain_service.model.words import Because
from brain_service.servicer.meaning import explanations
from tests.brain_service.servicer.contract import assessment_of

FIELDS: Final = {
    "cognitive_load": "cognitive_load",
    "engagement_level": "engagement",
    "frustration_level": "frustration",
    "fatigue_level": "fatigue",
    "confidence_level": "confidence",
    "motivation_level": "motivation",
}
"""The six levels in the contract's order, and the fields of `Levels` that they are told in."""

histories = st.lists(
    st.fixed_dictionaries(
        {"correct": st.none() | st.booleans(), "gap_s": st.sampled_from([5.0, 60.0, 4000.0])},
        optional={"difficulty": st.integers(1, 5), "time_taken": st.floats(0.3, 120)},
    ),
    min_size=1,
    max_size=24,
)


def after(history: list[dict[str, Any]]) -> tuple[LearnerState, Assessment]:
    state, now = None, 0.0
    for number, fields in enumerate(history):
        context = {key: value for key, value in fields.items() if key != "gap_s"}
        now += fields["gap_s"]
        step = interaction_from_context("practice", f"q{number % 5}", {"skill": "sums", **context})
        state, assessment, _ = apply(state, Statistics(), step, now)
    return state, assessment  # type: ignore[return-value]


def six(levels: pb.Levels) -> list[float]:
    return [getattr(levels, FIELDS[name]) for name in NAMES]


def told(because: Any) -> list[Because]:
    return [Because(one.code, one.direction == pb.DIRECTION_UP, one.words) for one in because]


@given(histories)
def test_the_message_says_what_the_model_says(history: list[dict[str, Any]]) -> None:
    check(after(history)[1])


def check(assessment: Assessment) -> None:
    meaning, message = assessment.meaning, assessment_of(assessment).meaning
    assert meaning is not None
    comparison = meaning.comparison(assessment.estimates)
    assert list(message.bands) == [meaning.band(name) for name in FIELDS]
    assert six(message.usual) == list(comparison.usual)
    assert six(message.spread) == list(comparison.spread)
    assert six(message.deviation) == list(comparison.deviation)
    assert message.HasField("struggle") == (meaning.struggle is not None)
    if meaning.struggle is not None:
        assert message.struggle.probability == meaning.struggle
        assert message.struggle.usual == meaning.rate
        assert told(message.struggle.because) == list(meaning.because())
    assert message.HasField("too_early") == (meaning.early is not None)
    if meaning.early is not None:
        assert (message.too_early.code, message.too_early.needs) == meaning.early
        assert message.too_early.sentence == meaning.too_early
    assert message.HasField("attention")
    assert message.attention.level == pb.ATTENTION_LEVEL_NONE + meaning.attention
    assert message.attention.code == meaning.code
    assert message.attention.reason == meaning.reason
    assert bool(meaning.code) == bool(meaning.reason)


def some_meaning(**fields: Any) -> tuple[Assessment, Meaning]:
    _, assessment = after([{"correct": True, "gap_s": 30.0}] * 12)
    assert assessment.meaning is not None
    meaning = assessment.meaning._replace(**fields)
    return assessment._replace(meaning=meaning), meaning


@pytest.mark.parametrize("level", [Attention.LOOK, Attention.NOW])
@pytest.mark.parametrize("why", range(1, len(REASONS)))
def test_every_call_has_a_code_a_sentence_and_a_time(level: Attention, why: int) -> None:
    assessment, _ = some_meaning(attention=int(level), why=why, failures=4, since=1_700_000_000.5)

    check(assessment)
    attention = assessment_of(assessment).meaning.attention
    assert attention.code == REASONS[why]
    assert attention.reason.endswith(".")
    assert attention.since_ms == 1_700_000_000_500


@pytest.mark.parametrize(("logit", "word"), [(-1.0, "manage"), (1.0, "watch")])
def test_a_day_unlike_usual_is_told_where_nobody_is_called(logit: float, word: str) -> None:
    bands = bytes([5, 4, 2, 2, 4, 3])
    assessment, _ = some_meaning(bands=bands, attention=0, why=0, since=0.0, logit=logit)

    check(assessment)
    attention = assessment_of(assessment).meaning.attention
    assert (attention.level, attention.code) == (pb.ATTENTION_LEVEL_NONE, "unlike_usual")
    assert word in attention.reason
    assert attention.since_ms == 0


def test_where_nothing_is_unusual_nothing_is_said() -> None:
    assessment, _ = some_meaning(bands=bytes([3] * 6), attention=0, why=0, since=0.0)
    attention = assessment_of(assessment).meaning.attention

    assert (attention.level, attention.code, attention.reason, attention.since_ms) == (
        pb.ATTENTION_LEVEL_NONE, "", "", 0,
    )  # fmt: skip


def test_explanations_name_their_levels_and_what_pulls_them() -> None:
    history = [{"correct": number % 3 != 0, "difficulty": 2, "gap_s": 30.0} for number in range(40)]
    state, _ = after([*history, *[{"correct": False, "difficulty": 5, "gap_s": 30.0}] * 6])
    message = pb.Assessment.FromString(explanations(state))

    names = {
        pb.LEVEL_COGNITIVE_LOAD: "cognitive_load",
        pb.LEVEL_ENGAGEMENT: "engagement_level",
        pb.LEVEL_FRUSTRATION: "frustration_level",
        pb.LEVEL_FATIGUE: "fatigue_level",
        pb.LEVEL_CONFIDENCE: "confidence_level",
        pb.LEVEL_MOTIVATION: "motivation_level",
    }
    found = {names[each.level]: tuple(told(each.because)) for each in message.explanations}
    assert found == explain(state)
    assert found

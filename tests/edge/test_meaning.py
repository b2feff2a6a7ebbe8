"""What the levels mean for a learner, from the brain's words to the frames'."""

from __future__ import annotations

import json

from aivo.brain.v1 import brain_pb2
from edge.frames import outgoing
from edge.upstream import assessments
from edge.upstream.meaning import LEVEL_NAMES


def assessment() -> brain_pb2.Assessment:
    six = {
        "cognitive_load": 0.1, "engagement": 0.2, "frustration": 0.3,
        "fatigue": 0.4, "confidence": 0.5, "motivation": 0.6,
    }  # fmt: skip
    because = brain_pb2.Because(
        code="err", direction=brain_pb2.DIRECTION_UP, words="more mistakes than usual"
    )
    return brain_pb2.Assessment(
        levels=brain_pb2.Levels(**six),
        model_version="test/meaning",
        recommendations=[brain_pb2.Recommendation(code="x", because=[because])],
        meaning=brain_pb2.Meaning(
            bands=[1, 2, 3, 4, 5, 6],
            usual=brain_pb2.Levels(**six),
            spread=brain_pb2.Levels(**six),
            deviation=brain_pb2.Levels(cognitive_load=-2.5),
            struggle=brain_pb2.Struggle(probability=0.61, usual=0.3, because=[because]),
            attention=brain_pb2.Attention(
                level=brain_pb2.ATTENTION_LEVEL_NOW, code="stuck", reason="Why.", since_ms=1_000
            ),
        ),
        explanations=[brain_pb2.Explanation(level=brain_pb2.LEVEL_FRUSTRATION, because=[because])],
    )


def told(value: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(outgoing.encode(value))
    return found


BECAUSE = {"code": "err", "direction": "up", "words": "more mistakes than usual"}


def test_all_of_it_reaches_the_learner_and_watchers_alike() -> None:
    result = told(assessments.result(assessment()))
    live = assessments.assessment(assessment())

    assert result["meaning"] == told(live.meaning)
    state = assessments.state_response(brain_pb2.LearnerSnapshot(assessment=assessment()), "epoch")
    assert told(state)["explanations"] == {"frustration_level": [BECAUSE]}
    meaning = told(live.meaning)
    assert meaning["bands"] == {
        "cognitive_load": "much_lower",
        "engagement_level": "lower",
        "frustration_level": "as_usual",
        "fatigue_level": "higher",
        "confidence_level": "much_higher",
        "motivation_level": "too_early",
    }
    assert meaning["deviation"]["cognitive_load"] == -2.5  # type: ignore[index]
    assert meaning["struggle"] == {"probability": 0.61, "usual": 0.3, "because": [BECAUSE]}
    assert meaning["attention"] == {
        "level": "now", "code": "stuck", "reason": "Why.", "since": "1970-01-01T00:00:01.000Z"
    }  # fmt: skip
    assert "too_early" not in meaning
    assert told(live.actions[0])["because"] == [BECAUSE]


def test_too_early_says_what_it_needs() -> None:
    message = assessment()
    message.meaning.too_early.MergeFrom(
        brain_pb2.TooEarly(code="new_learner", needs=5, sentence="Five.")
    )
    message.meaning.ClearField("struggle")

    meaning = told(assessments.assessment(message).meaning)

    assert meaning["too_early"] == {"code": "new_learner", "needs": 5, "sentence": "Five."}
    assert "struggle" not in meaning


def test_what_an_older_brain_does_not_say_is_absent_and_what_a_newer_one_adds_is_harmless() -> None:
    older, newer = assessment(), assessment()
    older.ClearField("meaning")
    older.ClearField("explanations")
    newer.meaning.bands[0] = 99  # type: ignore[call-overload]
    newer.meaning.attention.level = 99  # type: ignore[assignment]
    del newer.meaning.bands[4:]

    assert "meaning" not in told(assessments.result(older))
    state = assessments.state_response(brain_pb2.LearnerSnapshot(assessment=older), "epoch")
    assert not {"meaning", "explanations"} & set(told(state))
    meaning = told(assessments.assessment(newer).meaning)
    assert meaning["bands"]["cognitive_load"] == "too_early"  # type: ignore[index]
    assert meaning["bands"]["motivation_level"] == "too_early"  # type: ignore[index]
    assert meaning["attention"]["level"] == "none"  # type: ignore[index]


def test_every_level_of_the_contract_has_a_name() -> None:
    assert set(LEVEL_NAMES) == set(brain_pb2.Level.values()) - {brain_pb2.LEVEL_UNSPECIFIED}

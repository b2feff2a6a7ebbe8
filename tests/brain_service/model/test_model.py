"""The learner model as claims: bounds, explanations that add up, determinism, memory, time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brain_service.model import (
    Assessment,
    BadInteractionError,
    Interaction,
    LearnerState,
    Statistics,
    Step,
    apply,
    assess,
    interaction_from_context,
    levels,
    mastery,
    mastery_of_all,
    params,
)
from brain_service.model.alerts import QUIET, RISING, WATCHED, Crossing, crossings, signs
from brain_service.model.codec import decode_state, encode_state
from brain_service.model.habits import Band
from brain_service.model.levels import NAMES, PRIORS
from brain_service.model.population import USUAL, Population
from brain_service.model.recommend import Urgency
from brain_service.model.state import BLANK

START = 1_700_000_000.0

contexts = st.fixed_dictionaries(
    {},
    optional={
        "correct": st.booleans(),
        "difficulty": st.floats(1, 5),
        "subject": st.sampled_from(["math", "reading"]),
        "skill": st.lists(st.sampled_from(["add", "sub", "mul", "div"]), max_size=4),
        "time_taken": st.floats(0, 3600),
        "hints": st.integers(0, 12),
        "attempts": st.integers(0, 12),
    },
)
interactions = st.builds(
    interaction_from_context,
    st.sampled_from(
        ["question_response", "content_view", "hint_request", "assessment", "practice"]
    ),
    st.sampled_from(["q1", "q2", "q3"]),
    contexts,
)
statistics = st.builds(
    Statistics,
    st.floats(-6, 6),
    st.integers(0, 500),
    st.floats(-1, 6),
    st.integers(0, 500),
    st.floats(-2, 2),
    st.builds(
        Population,
        intercept=st.floats(-3, 3),
        slope=st.floats(0.2, 1.6),
        rate=st.floats(0, 1),
        look=st.floats(-2, 2),
        now=st.floats(-2, 2),
        answers=st.just(9.0),
    ),
    st.just(USUAL),
    st.floats(-2, 2),
    st.floats(-2, 2),
)
gaps = st.one_of(st.floats(-1000, 120), st.floats(0, 40 * 86_400))
steps = st.tuples(interactions, statistics, gaps)
logs = st.lists(steps, min_size=1, max_size=25)
monotonous = st.builds(lambda step, times: [step] * times, steps, st.integers(20, 60))
"""The same again and again, which drives the levels to the ends of their range."""


def run(
    log: list[tuple[Interaction, Statistics, float]], state: LearnerState | None = None
) -> list[Step]:
    found = []
    now = START if state is None else state.session.time
    for interaction, known, gap in log:
        now += gap
        found.append(apply(state, known, interaction, now))
        state = found[-1].state
        now = state.session.time
    return found


def answer(correct: bool, **context: Any) -> Interaction:
    return interaction_from_context(
        "question_response", "q1", {"correct": correct, "skill": "add", **context}
    )


@given(logs | monotonous)
def test_every_number_stays_in_its_range(log: list[tuple[Interaction, Statistics, float]]) -> None:
    for _, assessment, increments in run(log):
        performance = assessment.performance
        shares = [
            *assessment.estimates.levels,
            *assessment.estimates.evidence,
            performance.accuracy,
            performance.consistency,
        ]
        shares += [skill.probability for skill in assessment.mastery]
        shares += [] if assessment.predicted_correct is None else [assessment.predicted_correct]
        shares.append(levels.confidence(assessment.estimates))

        assert all(0.0 <= share <= 1.0 for share in shares)
        assert -1.0 <= performance.improvement_rate <= 1.0
        assert all(0.0 < error < 1.0 for error in levels.uncertainty(assessment.estimates))
        assert 1 <= len(assessment.recommendations) <= 3
        assert math.isfinite(increments.delta)


@given(logs | monotonous)
def test_drivers_add_up_to_the_level(log: list[tuple[Interaction, Statistics, float]]) -> None:
    for applied in run(log):
        estimates = applied.assessment.estimates
        for i, level in enumerate(estimates.levels):
            parts = sum(driver.contribution for driver in levels.drivers(estimates, i))

            assert level == pytest.approx(levels.BASES[i] + parts, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "end", "context"),
    [
        ("cognitive_load", 1.0, {"difficulty": 5.0}),
        ("engagement_level", 0.0, {"difficulty": 5.0, "time_taken": 100.0, "hints": 3}),
    ],
)
def test_a_level_beyond_its_range_ends_there_and_says_what_was_clipped(
    name: str, end: float, context: dict[str, Any]
) -> None:
    estimates = run([(answer(False, **context), Statistics(), 120.0)] * 60)[-1].assessment.estimates
    position = NAMES.index(name)
    *_, last = levels.drivers(estimates, position)

    assert estimates.levels[position] == end
    assert last.name == "clipped"
    assert (last.contribution > 0) == (end == 0.0)


@given(logs)
def test_drivers_are_named_and_weighed_as_the_table_of_levels_says(
    log: list[tuple[Interaction, Statistics, float]],
) -> None:
    """Guards the unrolled read-out against a slip in the order of signals."""
    state, assessment, _ = run(log)[-1]
    estimates = assessment.estimates
    off = [s - w * prior for s, w, prior in zip(state.signals, state.weights, PRIORS, strict=True)]
    value = dict(zip(levels.INDEX, off, strict=True))
    weight = dict(zip(levels.INDEX, state.weights, strict=True))
    for i, level in enumerate(params.LEVELS[:5]):
        expected = {
            name: coefficient * value[name] for name, coefficient in level.coefficients.items()
        }

        assert expected == pytest.approx(
            dict(zip(level.coefficients, estimates.contributions[i], strict=True))
        )
        assert estimates.evidence[i] == pytest.approx(
            min(weight[name] for name in level.coefficients), abs=1e-12
        )
    rests_on = {"expect", "engage", "persist", "rtvar"} | {
        n for level in params.LEVELS[:2] for n in level.coefficients
    }
    assert estimates.evidence[5] == pytest.approx(
        min(weight[n] for n in {*params.LEVELS[0].coefficients, "rtvar"})
    )
    assert estimates.evidence[6] == pytest.approx(min(weight[n] for n in rests_on))


@given(logs, st.integers(0, 25))
def test_replay_from_any_snapshot_equals_the_straight_run(
    log: list[tuple[Interaction, Statistics, float]], cut: int
) -> None:
    straight = run(log)
    cut = min(cut, len(log) - 1)
    snapshot = decode_state(encode_state(straight[cut].state))

    assert [encode_state(a.state) for a in straight[cut + 1 :]] == [
        encode_state(a.state) for a in run(log[cut + 1 :], snapshot)
    ]


@given(logs)
def test_the_same_input_twice_gives_equal_bytes(
    log: list[tuple[Interaction, Statistics, float]],
) -> None:
    assert [encode_state(a.state) for a in run(log)] == [encode_state(a.state) for a in run(log)]


@given(logs, steps)
def test_apply_leaves_the_state_before_untouched(
    log: list[tuple[Interaction, Statistics, float]], step: tuple[Interaction, Statistics, float]
) -> None:
    state = run(log)[-1].state
    before = encode_state(state)

    run([step], state)

    assert encode_state(state) == before


@settings(max_examples=300)
@given(logs, statistics, contexts, st.floats(0, 600))
def test_a_right_answer_never_lowers_mastery_of_its_skill(
    log: list[tuple[Interaction, Statistics, float]],
    known: Statistics,
    context: dict[str, Any],
    gap: float,
) -> None:
    state = run(log)[-1].state
    right = interaction_from_context(
        "practice", "q9", {**context, "correct": True, "skill": ["add", "mul"]}
    )
    before = {skill: mastery(state, skill) for skill in ("add", "mul")}

    after, assessment, _ = apply(state, known, right, state.session.time + gap)

    for skill, was in before.items():
        now = mastery(after, skill)
        assert now is not None
        assert now in assessment.mastery
        if was is not None:
            assert now.probability >= was.probability - 1e-12


@given(logs, st.floats(0, 30 * 86_400), st.floats(1, 30 * 86_400))
def test_idle_time_moves_fading_signals_toward_their_priors(
    log: list[tuple[Interaction, Statistics, float]], gap: float, longer: float
) -> None:
    """Seen through an untimed view, which pushes no evidence but the engagement estimates."""
    state = run(log)[-1].state
    view = interaction_from_context("content_view", "q1", {})
    sooner = apply(state, Statistics(), view, state.session.time + gap).state
    later = apply(state, Statistics(), view, state.session.time + gap + longer).state

    for i in range(params.FADING):
        off = [abs(s.signals[i] - s.weights[i] * PRIORS[i]) for s in (state, sooner, later)]
        assert off[0] + 1e-15 >= off[1]
        assert off[1] + 1e-15 >= off[2]
    assert later.session.tank <= sooner.session.tank <= state.session.tank


@given(logs)
def test_the_assessment_at_rest_equals_the_last_one(
    log: list[tuple[Interaction, Statistics, float]],
) -> None:
    state, assessment, _ = run(log)[-1]
    at_rest = assess(state)

    assert assessment == at_rest._replace(
        mastery=assessment.mastery, predicted_correct=assessment.predicted_correct
    )
    assert set(assessment.mastery) <= set(at_rest.mastery)
    assert at_rest.mastery == mastery_of_all(state)


@given(logs, st.floats(0.001, 1e6))
def test_a_clock_running_backwards_counts_as_standing_still(
    log: list[tuple[Interaction, Statistics, float]], back: float
) -> None:
    state = run(log)[-1].state
    step = answer(True)

    assert apply(state, Statistics(), step, state.session.time - back) == apply(
        state, Statistics(), step, state.session.time
    )


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "state", [None, BLANK._replace(revision=1, session=BLANK.session._replace(time=START))]
)
def test_a_time_that_is_no_number_is_refused(now: float, state: LearnerState | None) -> None:
    with pytest.raises(BadInteractionError, match="finite"):
        apply(state, Statistics(), answer(True), now)


def test_nothing_is_invented_for_a_missing_input() -> None:
    """A view without a time pushes nothing but the engagement that was read."""
    state, assessment, increments = apply(
        None, Statistics(), interaction_from_context("content_view", "text", {}), START
    )
    pushed = [
        signal.name for signal, weight in zip(params.SIGNALS, state.weights, strict=True) if weight
    ]

    assert pushed == ["engage"]
    assert assessment.predicted_correct is None
    assert assessment.performance.response_time is None
    assert (increments.item, increments.subject) == (None, None)


def test_an_untimed_answer_teaches_nothing_about_time() -> None:
    state = apply(None, Statistics(), answer(False), START).state
    weight = dict(zip(levels.INDEX, state.weights, strict=True))

    assert [name for name in ("slow", "fast", "idle", "haste", "rtvar") if weight[name]] == []
    assert weight["err"] > 0


def test_an_ungraded_answer_is_not_predicted() -> None:
    ungraded = interaction_from_context("question_response", "essay", {"time_taken": 60.0})
    state, assessment, increments = apply(None, Statistics(), ungraded, START)

    assert (assessment.predicted_correct, state.progress.answers, increments.item) == (
        None,
        0,
        None,
    )


def test_skills_and_items_are_remembered_up_to_their_limits_least_recently_used_first() -> None:
    state = None
    for i in range(400):
        step = interaction_from_context(
            "practice", f"q{i}", {"correct": i % 3 > 0, "skill": ["kept", f"s{i}"]}
        )
        state = apply(state, Statistics(), step, START + i).state
    assert state is not None

    assert (len(state.skills), len(state.item_keys) // 8) == (params.MAX_SKILLS, params.MAX_ITEMS)
    assert {"kept", "s399", f"s{400 - params.MAX_SKILLS + 1}"} <= set(state.skills)
    assert "s10" not in state.skills


def test_a_declared_difficulty_stands_in_for_an_unknown_item_only() -> None:
    unknown = [
        apply(None, Statistics(), answer(True, difficulty=d), START).assessment for d in (1, 3, 5)
    ]
    known = [
        apply(None, Statistics(0.1, 9), answer(True, difficulty=d), START).assessment
        for d in (1, 3, 5)
    ]
    predicted = [assessment.predicted_correct for assessment in unknown]

    assert predicted == sorted(predicted, reverse=True)  # type: ignore[type-var]
    assert len(set(predicted)) == 3
    assert len({assessment.predicted_correct for assessment in known}) == 1


def test_hints_on_the_present_item_are_counted_until_the_item_changes() -> None:
    hint = interaction_from_context("hint_request", "q1", {})
    state = None
    for _ in range(2):
        state = apply(state, Statistics(), hint, START).state
    assert state is not None
    state = apply(
        state, Statistics(), interaction_from_context("content_view", "explanation", {}), START
    ).state
    assert state.task.hints == 2
    state = apply(state, Statistics(), answer(False), START).state
    assert (state.task.hints, state.task.attempts) == (2, 1)
    other = interaction_from_context("question_response", "q2", {"correct": True})

    assert apply(state, Statistics(), other, START).state.task.hints == 0


def test_half_an_hour_of_idling_ends_a_session_and_a_shorter_pause_does_not() -> None:
    state = apply(None, Statistics(), answer(True, time_taken=100.0), START).state
    same = apply(state, Statistics(), answer(True, time_taken=50.0), START + 1800).state
    new = apply(state, Statistics(), answer(True, time_taken=50.0), START + 1900).state

    assert (same.session.active_s, same.session.session_start) == (150.0, START)
    assert (new.session.active_s, new.session.session_start) == (50.0, START + 1900)
    assert new.session.presence > 1.9


def test_grades_say_what_each_level_was_checked_against() -> None:
    assert {level.name: level.grade for level in params.LEVELS} == {
        "cognitive_load": "human",
        "frustration_level": "human",
        "confidence_level": "human",
        "item_confidence": "human",
        "engagement_level": "convergent",
        "fatigue_level": "theory",
        "motivation_level": "theory",
    }


def test_uncertainty_shrinks_with_evidence_toward_the_measured_error() -> None:
    first = levels.uncertainty(
        apply(None, Statistics(), answer(True, time_taken=9.0), START).assessment.estimates
    )
    last = levels.uncertainty(
        run([(answer(True, time_taken=9.0), Statistics(), 10.0)] * 60)[-1].assessment.estimates
    )

    assert all(later < sooner for sooner, later in zip(first[:5], last[:5], strict=True))
    assert last[0] == pytest.approx(0.23, abs=0.001)


def test_blank_values_are_the_documented_bases() -> None:
    """Of a learner of whom nothing is known, the levels are base + Σ coefficient · prior."""
    direct = levels.read_direct(BLANK.signals, BLANK.weights)

    assert direct[:5] == levels.BASES[:5]
    assert dict(zip(NAMES, levels.BASES, strict=True)) == pytest.approx(
        {
            "cognitive_load": 0.39 + 0.59 * 0.5 + 0.08 * 0.34 + 0.26 * 0.34,
            "frustration_level": 0.28 + 0.36 * 0.34 + 0.30 * 0.5 + 0.15 * 0.2 + 0.15 * 0.1,
            "confidence_level": 0.72 - 0.42 * 0.34 - 0.15 * 0.34,
            "item_confidence": 0.78 - 0.60 * 0.34,
            "engagement_level": 0.78 - 0.35 * 0.05 - 0.30 * 0.2 - 0.25 * 0.34 + 0.08 * 0.6,
            "fatigue_level": 0.03 + 0.62 * 0.6,
            "motivation_level": 0.10 + 0.45 * 0.66 + 0.35 * 0.6 + 0.15 * 0.5 - 0.25 * 0.4,
        }
    )


def crossed(before: Assessment | None, after: Assessment) -> tuple[Crossing, ...]:
    return crossings(QUIET if before is None else signs(before), signs(after), after)


@given(logs)
def test_crossings_tell_exactly_which_levels_changed_sides(
    log: list[tuple[Interaction, Statistics, float]],
) -> None:
    assessments = [applied.assessment for applied in run(log)]
    for before, after in pairwise(assessments):
        found = {crossing.name: crossing for crossing in crossed(before, after)}
        assert before.meaning is not None
        assert after.meaning is not None
        for name in WATCHED:
            was, now = (
                meaning.band(name) is (Band.MUCH_HIGHER if name in RISING else Band.MUCH_LOWER)
                for meaning in (before.meaning, after.meaning)
            )
            assert (name in found) == (was != now)
            if was != now:
                assert found[name] == Crossing(name, now == (name in RISING), after.level(name))
        attentions = before.meaning.attention, after.meaning.attention
        assert ("attention" in found) == (attentions[0] != attentions[1])
        urgencies = before.recommendations[0].urgency, after.recommendations[0].urgency
        assert ("recommendation" in found) == (urgencies[0] != urgencies[1])
        assert crossed(after, after) == ()


def test_the_first_outcome_crosses_only_where_it_alerts() -> None:
    assessment = apply(None, Statistics(), answer(True), START).assessment
    assert assessment.meaning is not None
    calm = assessment._replace(meaning=assessment.meaning._replace(bands=bytes([3] * 6)))
    alarmed = assessment._replace(
        meaning=assessment.meaning._replace(bands=bytes([5, 5, 3, 1, 5, 1]), attention=2)
    )
    from_before = assessment._replace(meaning=None)
    first = assessment.recommendations[0].urgency

    assert [c.name for c in crossed(None, calm) if c.name != "recommendation"] == []
    assert {c.name for c in crossed(None, alarmed)} - {"recommendation"} == {
        "cognitive_load", "frustration_level", "engagement_level", "fatigue_level",
        "motivation_level", "attention",
    }  # fmt: skip
    assert {c.name for c in crossed(None, from_before)} <= {"recommendation"}
    assert any(c.name == "recommendation" for c in crossed(None, calm)) == (
        first is not Urgency.NONE
    )

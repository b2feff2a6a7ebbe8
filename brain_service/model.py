"""The learner model: what one interaction changes in a learner's state, and what can be read out of it.

A pure function of values with constant cost; it knows neither clock, storage nor transport. Formulas and their sources
are explained in `docs/model.md`, constants live in `params`.

Where the description of the model leaves a choice, this is what the reference calculation does:
presence fades with the same idle time as the signals; time evidence (slow, fast, idle, rtvar) counts for every timed
interaction, views included; a subject's time norm counts from its first observation on, for answers and views alike;
a skill named twice in one interaction counts and is learned twice; evidence of outcome counts only where `correct` is
told; an answer after a failure counts as persistence also where its time is unknown.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from math import exp, isfinite, log, log1p, sqrt
from typing import Final, NamedTuple

from brain_service import params
from brain_service.interaction import ANONYMOUS_SKILL, BadInteraction, Interaction, interaction_from_context
from brain_service.levels import INDEX, NAMES, PRIORS, SIX, Readout, deviations, direct_level, read
from brain_service.params import FADING, FEATURES, SIGNALS, VERSION
from brain_service.recommend import REVIEW_AFTER_S, Recommendation, Situation, recommend
from brain_service.state import BLANK, ItemMemory, LearnerState, SkillMemory

__all__ = [
    "VERSION",
    "Applied",
    "BadInteraction",
    "Increments",
    "Interaction",
    "LearnerState",
    "Outcome",
    "Performance",
    "SkillMastery",
    "Statistics",
    "apply",
    "interaction_from_context",
    "mastery",
    "reading",
]


class Statistics(NamedTuple):
    """What the item bank knows for one interaction."""

    easiness: float = params.BANK_PRIOR
    """Logit of the item being answered right, other things equal; the bank's prior where `count` is 0."""
    count: int = 0
    """Answers behind it; 0 means the item is unknown, and a declared difficulty then takes precedence."""
    log_time: float = 0.0
    """Mean log-seconds in the subject."""
    time_count: int = 0
    """Observations behind it; 0 means there is no norm."""


class Increments(NamedTuple):
    """What one interaction adds to the bank; a part that it adds nothing to is None."""

    item: str | None
    base: float
    """Easiness that the item started from, where it was unknown; otherwise what it was before this answer."""
    delta: float
    """Easiness to add."""
    subject: str | None
    log_time: float
    """Observed log-seconds in that subject."""


class SkillMastery(NamedTuple):
    """Probability of solving a middling item (declared difficulty 3) of one skill, and what it rests on."""

    skill: str
    probability: float
    answers: int
    standard_error: float


class Performance(NamedTuple):
    """How the learner has been doing."""

    accuracy: float
    """Share of right answers, 0…1: an average with half-life 8 answers, the missing weight .5^(n/8) filled with .658."""
    response_time: float | None
    """Seconds per timed answer: an average with half-life 8 that starts at the first value; None before it."""
    consistency: float
    """1 − ½(ρ + τ), 0…1. ρ is the root mean squared surprise (c − P; half-life 16 answers, prior .22), τ a third of the
    mean |z| of log time (that is half of the signal rtvar), both clipped to [0, 1]: 1 is even results at an even pace."""
    improvement_rate: float
    """Fast minus slow average of residuals (half-lives 2 and 32 answers), −1…1: above 0 when better than of late."""


class Outcome(NamedTuple):
    """What the model says of a learner, after an interaction or at rest."""

    revision: int
    time: float
    """Time of the interaction it stands for, epoch seconds."""
    readout: Readout
    """The levels with drivers and evidence; see `levels.drivers`, `levels.uncertainty`, `levels.confidence`."""
    performance: Performance
    mastery: tuple[SkillMastery, ...]
    """Of the skills touched; at rest, of all."""
    predicted_correct: float | None
    """Probability of a right answer before it was seen; None when there was no graded answer."""
    recommendations: tuple[Recommendation, ...]
    """One to three, most urgent first."""
    model_version: str = VERSION

    def level(self, name: str) -> float:
        """One level by its name, in [0, 1]."""
        return self.readout.levels[NAMES.index(name)]

    def six(self) -> dict[str, float]:
        """The six levels that are shown, by name."""
        return {NAMES[i]: self.readout.levels[i] for i in SIX}


class Applied(NamedTuple):
    """All that one interaction brings about."""

    state: LearnerState
    outcome: Outcome
    increments: Increments


def _keep(half_life: float) -> float:
    return float(0.5 ** (1.0 / half_life))


_W_B, _W_FAST, _W_MID, _W_SLOW, _W_MEAN, _W_LOGN, _W_LAST, _W_RIGHTS, _W_WRONGS = list(FEATURES.values())[:9]
_K_FAST, _K_MID, _K_MEAN, _K_LOGN, _K_LAST, _K_GAP, _W_NEW, _W_ITEM, _W_ATTEMPTS = list(FEATURES.values())[9:]
_FAST, _MID, _SLOW = map(_keep, params.G_HALF_LIVES)
_SKILL_FAST, _SKILL_MID = map(_keep, params.K_HALF_LIVES)
_RECENT, _SPREAD = _keep(params.PERFORMANCE_HALF_LIFE), _keep(params.SPREAD_HALF_LIFE)
_KEEP: Final = tuple(_keep(signal.half_life) for signal in SIGNALS)
_MIDDLING: Final = _W_B * params.LEVEL_B[2]
_LOAD, _ENGAGEMENT = NAMES.index("cognitive_load"), NAMES.index("engagement_level")
_DECLARED, _DEMAND, _TIME_SLOW, _ERR, _NEGSUR, _IMPASSE, _HELP, _TIME_FAST, _IDLE, _HASTE = (
    INDEX[name] for name in ("declared", "demand", "slow", "err", "negsur", "impasse", "help", "fast", "idle", "haste")
)
_FLOW, _EXPECT, _SUR1, _DEM1, _SUR, _RTVAR, _ENGAGE, _PERSIST = (
    INDEX[name] for name in ("flow", "expect", "sur1", "dem1", "sur", "rtvar", "engage", "persist")
)
_IMPASSE_SCALE: Final = log(6.0)
_REVIEW_SCAN: Final = 8


def apply(state: LearnerState | None, statistics: Statistics, interaction: Interaction, now: float) -> Applied:
    """Return the state after one interaction, what to say about it, and what the bank learns from it.

    `state` is None before the learner's first interaction. `now` is when it happened, epoch seconds; an earlier time than
    the last one counts as the last one. The same input always gives the same output. Raises `BadInteraction` if `now`
    is not finite.
    """
    if not isfinite(now):
        raise BadInteraction("The time of the interaction must be a finite number of seconds.")
    before = BLANK if state is None else state
    time_taken = interaction.time_taken
    if before.revision == 0:
        time, session_start, active_s, presence, tank = now, now, 0.0, 1.0, 0.0
        signals, weights = list(before.signals), list(before.weights)
    else:
        time = max(now, before.time)
        idle_s = max(0.0, time - before.time - (time_taken or 0.0))
        session_start, active_s, presence, tank = _rest(before, time, idle_s)
        fade = 0.5 ** (idle_s / params.SIGNAL_HALF_LIFE_S)
        signals = [s * fade for s in before.signals[:FADING]] + list(before.signals[FADING:])
        weights = [w * fade for w in before.weights[:FADING]] + list(before.weights[FADING:])

    evidence: list[tuple[int, float]] = []
    subject = log_time = z = None
    time_mean, time_var, time_count = before.time_mean, before.time_var, before.time_count
    if time_taken is not None:
        subject = interaction.subject
        log_time = log(max(time_taken, params.MIN_TIME_S))
        z, time_mean, time_var = _pace(before, statistics, log_time, known_subject=subject is not None)
        time_count += 1
        evidence += (
            (_TIME_SLOW, z / 2.0),
            (_TIME_FAST, -z / 3.0 if z < 0.0 else 0.0),
            (_IDLE, 1.0 if z > params.LONG_Z or time_taken > params.LONG_S else 0.0),
            (_RTVAR, abs(z) / 1.5),
        )

    item = item_key(interaction.item)
    attempts, hints = (before.attempts, before.hints) if item == before.item else (0, 0)
    present_item: int | None = item
    answer: _Answer | None = None
    skills, items = before.skills, before.items
    if interaction.correct is not None:
        attempts = max(attempts + 1, interaction.attempts or 0)
        hints = max(hints, interaction.hints or 0)
        answer = _answer(before, statistics, interaction, item, time)
        skills, items = answer.skills, answer.items
        _judge(evidence, before, interaction, answer, attempts, hints, z)
    elif interaction.kind == "hint_request":
        hints = max(hints + 1, interaction.hints or 0)
        evidence.append((_HELP, 1.0))
    else:
        present_item, attempts, hints = before.item, before.attempts, before.hints

    for i, x in evidence:
        keep = _KEEP[i]
        gain = 1.0 - keep
        signals[i] = keep * signals[i] + gain * x
        weights[i] = keep * weights[i] + gain

    active = min(time_taken or 0.0, params.MAX_ACTIVE_S)
    off = deviations(signals, weights)
    keep = _KEEP[_ENGAGE]
    signals[_ENGAGE] = keep * signals[_ENGAGE] + (1.0 - keep) * direct_level(_ENGAGEMENT, off)
    weights[_ENGAGE] = keep * weights[_ENGAGE] + 1.0 - keep
    tank += (1.0 - tank) * (1.0 - exp(-direct_level(_LOAD, off) * active / params.TANK_FILL_S))

    after = LearnerState(
        before.revision + 1,
        time,
        session_start,
        active_s + active,
        presence,
        tank,
        tuple(signals),
        tuple(weights),
        *((before[8:17]) if answer is None else _answered(before, answer, time_taken)),
        time_mean,
        time_var,
        time_count,
        present_item,
        attempts,
        hints,
        before.advice,
        skills,
        items,
    )
    touched = interaction.skills if answer else ()
    outcome, advice = _outcome(after, touched, answer.predicted if answer else None)
    if advice != before.advice:
        after = after._replace(advice=advice)
    return Applied(
        after,
        outcome,
        Increments(
            interaction.item if answer else None,
            answer.easiness if answer else 0.0,
            answer.step if answer else 0.0,
            subject,
            log_time or 0.0,
        ),
    )


def reading(state: LearnerState) -> Outcome:
    """What the model says of a learner at rest, as of the last interaction; idle time since then does not change it.

    Equal to the last outcome, except that mastery covers every remembered skill and nothing was predicted.
    """
    outcome, _ = _outcome(state, tuple(state.skills), None)
    return outcome


def mastery(state: LearnerState) -> tuple[SkillMastery, ...]:
    """Mastery of every remembered skill, the one practised longest ago first."""
    return _mastery(state, tuple(state.skills))


@lru_cache(maxsize=65_536)
def item_key(item: str) -> int:
    """The 64-bit number under which a learner's state remembers an item."""
    return int.from_bytes(blake2b(item.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def sigmoid(x: float) -> float:
    """The logistic function, its argument clamped to ±30."""
    return 1.0 / (1.0 + exp(-min(max(x, -30.0), 30.0)))


def _rest(before: LearnerState, time: float, idle_s: float) -> tuple[float, float, float, float]:
    """Session start, active seconds, presence and tank after idling."""
    tank = before.tank
    if idle_s > params.TANK_GRACE_S:
        tank *= 0.5 ** (idle_s / params.TANK_HALF_LIFE_S)
    presence = before.presence * 0.5 ** (idle_s / params.PRESENCE_HALF_LIFE_S)
    if idle_s > params.SESSION_GAP_S:
        return time, 0.0, presence + 1.0, tank
    return before.session_start, before.active_s, presence, tank


def _pace(
    before: LearnerState, statistics: Statistics, log_time: float, *, known_subject: bool
) -> tuple[float, float, float]:
    """How unusual this time is for this learner (z), and the mean and variance of their log times with it."""
    normed = known_subject and statistics.time_count > 0
    residual = log_time - statistics.log_time if normed else log_time
    mean, var = before.time_mean, before.time_var
    if before.time_count == 0:
        mean = residual / 2.0 if normed else residual
    off = residual - mean
    z = min(max(off / sqrt(var), -params.MAX_Z), params.MAX_Z)
    gain = 1.0 / min(before.time_count + 2, params.TIME_WINDOW)
    if before.time_count >= 2:
        var = max(params.TIME_VAR_FLOOR, var + gain * (off * off - var))
    return z, mean + gain * off, var


class _Answer(NamedTuple):
    """A graded answer, its prediction, and what is learned from it."""

    correct: float
    predicted: float
    easiness: float
    expected: float
    """Probability that the item alone lets expect."""
    step: float
    """What the answer adds to the item's easiness."""
    fast: float
    mid: float
    slow: float
    total: float
    streak: int
    skills: dict[str, SkillMemory]
    items: dict[int, ItemMemory]


def _answer(before: LearnerState, statistics: Statistics, interaction: Interaction, item: int, time: float) -> _Answer:
    """Predict a graded answer from what was known before it, then learn from it."""
    correct = 1.0 if interaction.correct else 0.0
    easiness = statistics.easiness
    if statistics.count == 0 and interaction.difficulty is not None:
        easiness = params.LEVEL_B[min(max(round(interaction.difficulty), 1), 5) - 1]
    general = _general(before.fast, before.mid, before.slow, before.total, before.answers, before.streak)
    logit = general + _W_B * easiness
    known = 0
    for skill in interaction.skills:
        if memory := before.skills.get(skill):
            known += 1
            logit += _special(memory, before.answers) / len(interaction.skills)
    if not known:
        logit += _W_NEW
    seen = before.items.get(item)
    if seen is not None:
        logit += _W_ITEM * seen.last + _W_ATTEMPTS * log1p(seen.attempts)
    predicted = sigmoid(logit)

    expected = sigmoid(easiness)
    residual = correct - expected
    fast = _FAST * before.fast + (1.0 - _FAST) * residual
    mid = _MID * before.mid + (1.0 - _MID) * residual
    slow = _SLOW * before.slow + (1.0 - _SLOW) * residual
    total = before.total + residual
    last = 1 if interaction.correct else -1
    streak = before.streak + last if before.streak * last > 0 else last
    skills = dict(before.skills)
    general_after = _general(fast, mid, slow, total, before.answers + 1, streak)
    for skill in interaction.skills:
        skills[skill] = _practise(skills.pop(skill, None), before.answers, time, residual, last, general, general_after)
    while len(skills) > params.MAX_SKILLS:
        del skills[next(iter(skills))]
    items = dict(before.items)
    items.pop(item, None)
    items[item] = ItemMemory(last, 1 if seen is None else seen.attempts + 1)
    if len(items) > params.MAX_ITEMS:
        del items[next(iter(items))]
    step = params.BANK_GAIN / (1.0 + params.BANK_COOLING * statistics.count) * (correct - predicted)
    return _Answer(correct, predicted, easiness, expected, step, fast, mid, slow, total, streak, skills, items)


def _general(fast: float, mid: float, slow: float, total: float, answers: int, streak: int) -> float:
    """The learner's part of the logit of a right answer."""
    logit = (
        params.BIAS
        + _W_FAST * fast
        + _W_MID * mid
        + _W_SLOW * slow
        + _W_MEAN * total / (answers + params.G_SHRINK)
        + _W_LOGN * log1p(answers)
    )
    if streak > 0:
        return logit + _W_LAST + _W_RIGHTS * log1p(streak)
    if streak < 0:
        return logit - _W_LAST + _W_WRONGS * log1p(-streak)
    return logit


def _special(memory: SkillMemory, answers: int) -> float:
    """One skill's part of the logit, when the learner has given so many answers in all."""
    fast, mid, total, _, _, count, answered_at, last = memory
    return (
        _K_FAST * fast
        + _K_MID * mid
        + _K_MEAN * total / (count + params.K_SHRINK)
        + _K_LOGN * log1p(count)
        + _K_LAST * last
        + _K_GAP * log1p(answers - answered_at)
    )


def _practise(
    memory: SkillMemory | None, answers: int, time: float, residual: float, last: int, general: float, after: float
) -> SkillMemory:
    """One skill after an answer on it; `general` and `after` are the learner's part of the logit before and after.

    A right answer on an easy item can lower the formula (it was expected, so averages shrink). Nobody should see their
    mastery fall for being right, so the difference is kept as `lift` until the next wrong answer.
    """
    if memory is None:
        fast = mid = total = 0.0
        count = 0
        shown = general + _W_NEW
    else:
        fast, mid, total, _, lift, count, _, _ = memory
        shown = general + _special(memory, answers) + lift
    learned = SkillMemory(
        _SKILL_FAST * fast + (1.0 - _SKILL_FAST) * residual,
        _SKILL_MID * mid + (1.0 - _SKILL_MID) * residual,
        total + residual,
        time,
        0.0,
        count + 1,
        answers,
        last,
    )
    if last > 0:
        lift = shown - after - _special(learned, answers + 1)
        if lift > 0.0:
            return learned._replace(lift=lift)
    return learned


def _judge(
    evidence: list[tuple[int, float]],
    before: LearnerState,
    interaction: Interaction,
    answer: _Answer,
    attempts: int,
    hints: int,
    z: float | None,
) -> None:
    """Add what a graded answer says to the evidence."""
    p, surprise = answer.predicted, answer.correct - answer.predicted
    wrong = 1.0 - answer.correct
    difficulty, time_taken = interaction.difficulty, interaction.time_taken
    failures = max(-answer.streak, attempts - 1) if wrong else 0
    evidence += (
        (_DECLARED, 1.0 - answer.expected if difficulty is None else (difficulty - 1.0) / 4.0),
        (_DEMAND, 1.0 - p),
        (_ERR, wrong),
        (_NEGSUR, p if wrong else 0.0),
        (_IMPASSE, min(1.0, log1p(failures) / _IMPASSE_SCALE)),
        (_HELP, min(1.0, hints / 3.0)),
        (_FLOW, max(0.0, 1.0 - abs(p - 0.75) / 0.5)),
        (_EXPECT, p),
        (_SUR1, surprise),
        (_DEM1, 1.0 - p),
        (_SUR, surprise),
    )
    hasty = 0.0
    if time_taken is not None and z is not None:
        hasty = 1.0 if wrong and (time_taken < params.HASTY_S or z < params.HASTY_Z) else 0.0
        evidence.append((_HASTE, hasty))
    if before.streak < 0:
        evidence.append((_PERSIST, 1.0 - hasty))


def _answered(
    before: LearnerState, answer: _Answer, time_taken: float | None
) -> tuple[int, int, float, float, float, float, float, float, float | None]:
    """The performance part of the state after an answer, in the order of its fields."""
    surprise = answer.correct - answer.predicted
    response_time = before.response_time
    if time_taken is not None:
        response_time = time_taken if response_time is None else _RECENT * response_time + (1.0 - _RECENT) * time_taken
    return (
        before.answers + 1,
        answer.streak,
        answer.fast,
        answer.mid,
        answer.slow,
        answer.total,
        _RECENT * before.accuracy + (1.0 - _RECENT) * answer.correct,
        _SPREAD * before.spread + (1.0 - _SPREAD) * surprise * surprise,
        response_time,
    )


def _outcome(state: LearnerState, skills: tuple[str, ...], predicted: float | None) -> tuple[Outcome, int]:
    """Read a state; also returns the recommendations that are on, as bits."""
    signals, weights = state.signals, state.weights
    readout = read(signals, weights, state.tank, state.presence)
    levels = readout.levels
    situation = Situation(
        state.tank,
        state.active_s,
        levels[1],
        levels[0],
        max(-state.streak, state.attempts - 1) if state.streak < 0 else 0,
        signals[_EXPECT] + (1.0 - weights[_EXPECT]) * PRIORS[_EXPECT],
        signals[_HASTE] + (1.0 - weights[_HASTE]) * PRIORS[_HASTE],
        signals[_IDLE] + (1.0 - weights[_IDLE]) * PRIORS[_IDLE],
        _due(state),
    )
    recommendations, advice = recommend(situation, state.advice)
    outcome = Outcome(
        state.revision,
        state.time,
        readout,
        _performance(state),
        _mastery(state, skills) if skills else (),
        predicted,
        recommendations,
    )
    return outcome, advice


def _performance(state: LearnerState) -> Performance:
    n = state.answers
    accuracy = state.accuracy + 0.5 ** (n / params.PERFORMANCE_HALF_LIFE) * params.P_GLOBAL
    surprise = sqrt(state.spread + 0.5 ** (n / params.SPREAD_HALF_LIFE) * params.SPREAD_PRIOR)
    pace = (state.signals[_RTVAR] + (1.0 - state.weights[_RTVAR]) * PRIORS[_RTVAR]) / 2.0
    return Performance(
        min(max(accuracy, 0.0), 1.0),
        state.response_time,
        1.0 - 0.5 * (min(surprise, 1.0) + min(max(pace, 0.0), 1.0)),
        min(max(state.fast - state.slow, -1.0), 1.0),
    )


def _mastery(state: LearnerState, skills: tuple[str, ...]) -> tuple[SkillMastery, ...]:
    known = state.skills
    general = _MIDDLING + _general(state.fast, state.mid, state.slow, state.total, state.answers, state.streak)
    found = []
    for skill in skills if len(skills) == 1 else dict.fromkeys(skills):
        memory = known.get(skill)
        if memory is not None and skill != ANONYMOUS_SKILL:
            p = sigmoid(general + _special(memory, state.answers) + memory.lift)
            n = memory.answers
            found.append(SkillMastery(skill, p, n, sqrt(p * (1.0 - p) / (n + params.K_SHRINK))))
    return tuple(found)


def _due(state: LearnerState) -> tuple[str, float, float] | None:
    """The weakest skill not practised for a week, among the eight practised longest ago (which keeps the cost constant)."""
    last_day = state.time - REVIEW_AFTER_S
    due: list[str] = []
    for skill, memory in state.skills.items():
        if memory.practised_at > last_day or len(due) == _REVIEW_SCAN:
            break
        due.append(skill)
    if not due:
        return None
    weakest = min(_mastery(state, tuple(due)), key=lambda found: found.probability, default=None)
    if weakest is None:
        return None
    return weakest.skill, weakest.probability, (state.time - state.skills[weakest.skill].practised_at) / 86400.0

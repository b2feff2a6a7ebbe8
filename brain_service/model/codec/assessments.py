"""Assessments as bytes. One carries the version that made it.

The log keeps every assessment, so its numbers are short: levels and what stands in lists three
bytes, a float of four without its lowest byte; contributions, evidence and what its meaning rests
on, half a float. Clients see what is stored: `told` returns both.
"""

from __future__ import annotations

from functools import lru_cache
from math import isnan, nan
from struct import Struct, error
from typing import Any, Final, NamedTuple

from brain_service.model import layouts
from brain_service.model.assessment import Assessment, Performance
from brain_service.model.codec.envelope import CorruptBytesError, layout_of, seal, unseal
from brain_service.model.layouts import ASSESSMENT, ASSESSMENTS, AssessmentLayout
from brain_service.model.levels import BASES, NAMES, Estimates
from brain_service.model.meaning import Meaning
from brain_service.model.prediction import SkillMastery
from brain_service.model.recommend import ADVICE, Advice, Recommendation
from brain_service.model.values import maker

_pack_assessment: Final = ASSESSMENTS[ASSESSMENT].fixed.pack
_pack_meaning: Final = ASSESSMENTS[ASSESSMENT].meaning.pack
_make_assessment, _make_estimates = maker(Assessment), maker(Estimates)
_UNPACK_MEANING: Final = ASSESSMENTS[ASSESSMENT].meaning.unpack
_make_meaning, _make_mastery = maker(Meaning), maker(SkillMastery)
_make_performance, _make_recommendation = maker(Performance), maker(Recommendation)
_BASES: Final = dict(zip(NAMES, BASES, strict=True))
_ENDS: Final = (0.0, 1.0)
"""Where levels are clipped: there contributions need not add up."""
_VERSIONS: Final = ("vb-ssm/0.1", "vb-ssm/0.2", "vb-ssm/0.3")
"""Versions stored as a number. Add new ones at the end; others are stored as text."""
_KNOWN: Final = 128
_VERSION_NUMBERS: Final = {version: _KNOWN + n for n, version in enumerate(_VERSIONS)}
_NUMBER: Final = Struct("<I")
_LEVEL_HABITS: Final = Struct("<12f")
_CAUSES: Final = Struct("<4f")
_MASTERY: Final = Struct("<ddI")
_ADVICE: Final = Struct("<BB")


def encode_assessment(assessment: Assessment) -> bytes:
    """Write an assessment; see `told`."""
    return told(assessment)[1]


def told(assessment: Assessment) -> tuple[Assessment, bytes]:
    """Return an assessment as clients see it, its numbers no finer than stored, and its bytes:
    about 220, plus 12 and the name for each skill touched (at most 255).
    """
    shortened = _shortened(assessment)
    return _in_short(shortened.kept, ASSESSMENTS[ASSESSMENT]), _written(assessment, shortened)


def in_short(assessment: Assessment) -> Assessment:
    """Return an assessment as clients see it, with any number of skills, without bytes."""
    return _in_short(_shortened(assessment).kept, ASSESSMENTS[ASSESSMENT])


class _Shortened(NamedTuple):
    """An assessment whose numbers are short."""

    kept: _Kept
    fine: bytearray
    """Floats, the lowest byte of each 0."""
    coarse: bytes
    """Half floats."""
    said: bytes
    """The rest of its meaning; empty if it has none."""


def _shortened(assessment: Assessment) -> _Shortened:
    (
        revision, time, (levels, contributions, evidence), performance, mastery, predicted,
        recommendations, meaning, version,
    ) = assessment  # fmt: skip
    accuracy, response_time, consistency, improvement_rate = performance
    # To four decimals, which cutting off a byte does not change: clients see the model's value.
    levels = tuple([int(level * 1e4 + 0.5) / 1e4 for level in levels])
    fine = [
        *levels, accuracy, nan if response_time is None else response_time, consistency,
        improvement_rate, nan if predicted is None else predicted,
    ]  # fmt: skip
    for _, probability, _, standard_error in mastery:
        fine += probability, standard_error
    for _, values, _ in recommendations:
        fine += values
    coarse: list[float] = []
    for level, parts in zip(levels, contributions, strict=True):
        coarse += parts
        if level not in _ENDS:
            coarse[-1] = 0.0  # it follows from the others, see `_with_last`
    coarse += evidence
    said = b""
    if meaning is not None:
        (
            bands, habits, answers, judged, logit, rate, causes, attention, why, failures, since
        ) = meaning  # fmt: skip
        fine.append(logit)
        coarse += judged, rate, *_LEVEL_HABITS.unpack(habits), *_CAUSES.unpack(causes)
        said = _pack_meaning(bands, answers, attention, why, min(failures, 0xFFFF), int(since))
    shape, short = _floats(len(fine)), _halves(len(coarse))
    floats, halves = bytearray(shape.pack(*fine)), short.pack(*coarse)
    floats[::4] = bytes(len(fine))
    kept = _Kept(
        revision, time, version, [(skill, answers) for skill, _, answers, _ in mastery],
        [(each, len(values), skill) for each, values, skill in recommendations],
        None if meaning is None else _UNPACK_MEANING(said),
        shape.unpack(floats), short.unpack(halves),
    )  # fmt: skip
    return _Shortened(kept, floats, halves, said)


def _written(assessment: Assessment, shortened: _Shortened) -> bytes:
    kept, fine, coarse, said = shortened
    mastery, recommendations = assessment.mastery, assessment.recommendations
    number, name = _VERSION_NUMBERS.get(kept.version), b""
    if number is None:
        name = kept.version.encode()
        number = len(name)
    body = b"".join((
        _pack_assessment(
            ASSESSMENT, kept.revision, kept.time, number, len(mastery), len(recommendations)
        ),
        name,
        *[_NUMBER.pack(answers) + _text(skill) for skill, _, answers, _ in mastery],
        *[_ADVICE.pack(each.number, len(v)) + _text(skill) for each, v, skill in recommendations],
        said,
        coarse, fine[1::4], fine[2::4], fine[3::4],
    ))  # fmt: skip
    return seal(body)


def _with_last(
    levels: tuple[float, ...], coarse: tuple[float, ...], layout: AssessmentLayout
) -> tuple[tuple[float, ...], ...]:
    """Return the contributions to each level, including the last one, which is not stored: they add
    up to the level minus its base exactly, whatever rounding did.
    """
    contributions = []
    for level, name, drivers in zip(levels, layout.names, layout.contributions, strict=True):
        parts = coarse[drivers]
        if level not in _ENDS:
            *others, _ = parts
            rest = level - _BASES[name]
            for contribution in others:
                rest -= contribution
            parts = (*others, rest)
        contributions.append(parts)
    return tuple(contributions)


class _Kept(NamedTuple):
    """An assessment as stored."""

    revision: int
    time: float
    version: str
    skills: list[tuple[str, int]]
    advice: list[tuple[Advice, int, str]]
    meaning: tuple[Any, ...] | None
    fine: tuple[float, ...]
    """Levels, performance, and what stands in lists, to 1 in 30,000."""
    coarse: tuple[float, ...]
    """Contributions, evidence and what meaning rests on, to 1 in 2,000."""


def _in_short(kept: _Kept, layout: AssessmentLayout) -> Assessment:
    revision, time, version, skills, advice, said, fine, coarse = kept
    levels = fine[layout.levels]
    estimates: layouts.Estimates = (
        levels,
        _with_last(levels, coarse, layout),
        coarse[layout.evidence],
    )
    if layout.drivers != ASSESSMENTS[ASSESSMENT].drivers:
        estimates = layouts.renamed(layout, estimates, ASSESSMENTS[ASSESSMENT], _BASES)
    at = layout.levels.stop
    accuracy, response_time, consistency, improvement_rate, predicted = fine[at : at + 5]
    at += 5
    mastery = []
    for skill, answers in skills:
        mastery.append(_make_mastery((skill, fine[at], answers, fine[at + 1])))
        at += 2
    recommendations = []
    for each, count, skill in advice:
        recommendations.append(_make_recommendation((each, fine[at : at + count], skill)))
        at += count
    meaning = None
    if said is not None:
        bands, answers, attention, why, failures, since = said
        judged, rate, *rest = coarse[layout.evidence.stop :]
        meaning = _make_meaning((
            bands, _LEVEL_HABITS.pack(*rest[:12]), answers, judged, fine[at], rate,
            _CAUSES.pack(*rest[12:]), attention, why, failures, float(since),
        ))  # fmt: skip
    return _make_assessment((
        revision, time, _make_estimates(estimates),
        _make_performance((
            accuracy, None if response_time != response_time else response_time, consistency,
            improvement_rate,
        )),
        tuple(mastery), None if predicted != predicted else predicted, tuple(recommendations),
        meaning, version,
    ))  # fmt: skip


def _read_short(body: bytes, layout: AssessmentLayout) -> Assessment:
    _, revision, time, number, mastered, recommended = layout.fixed.unpack_from(body)
    at = layout.fixed.size
    version = "" if number < _KNOWN else _VERSIONS[number - _KNOWN]
    if not version:
        version, at = body[at : at + number].decode(), at + number
    skills, advice, fine = [], [], layout.levels.stop + 5 + 2 * mastered
    for _ in range(mastered):
        (answers,) = _NUMBER.unpack_from(body, at)
        skill, at = _read_text(body, at + _NUMBER.size)
        skills.append((skill, answers))
    for _ in range(recommended):
        code, count = _ADVICE.unpack_from(body, at)
        skill, at = _read_text(body, at + _ADVICE.size)
        advice.append((ADVICE[code], count, skill))
        fine += count
    coarse, said = layout.evidence.stop, None
    if len(body) - at != 2 * coarse + 3 * fine:
        said, at = layout.meaning.unpack_from(body, at), at + layout.meaning.size
        coarse, fine = coarse + 18, fine + 1
    if len(body) - at != 2 * coarse + 3 * fine:
        raise ValueError
    halves = _halves(coarse).unpack_from(body, at)
    at += 2 * coarse
    kept = bytearray(4 * fine)
    for place in (1, 2, 3):
        kept[place::4] = body[at : at + fine]
        at += fine
    numbers = _floats(fine).unpack(kept)
    return _in_short(_Kept(revision, time, version, skills, advice, said, numbers, halves), layout)


def decode_assessment(data: bytes) -> Assessment:
    """Read an assessment: exactly as written, or converted from an older layout.

    Raises `UnknownLayoutError` or `CorruptBytesError`.
    """
    layout = layout_of("assessment", data, ASSESSMENTS)
    body = unseal(data)
    try:
        return _read_short(body, layout) if layout.short else _assessment(body, layout)
    except (error, IndexError, KeyError, ValueError) as fault:
        raise CorruptBytesError("The stored assessment is damaged.") from fault


def _assessment(body: bytes, layout: AssessmentLayout) -> Assessment:
    fields = layout.fixed.unpack_from(body)
    estimates: layouts.Estimates = (
        fields[layout.levels],
        tuple([fields[drivers] for drivers in layout.contributions]),
        fields[layout.evidence],
    )
    if layout.drivers != ASSESSMENTS[ASSESSMENT].drivers:
        estimates = layouts.renamed(layout, estimates, ASSESSMENTS[ASSESSMENT], _BASES)
    version_length, mastered, recommended = fields[-3:]
    at = layout.fixed.size
    version = body[at : at + version_length].decode()
    at += version_length
    mastery = []
    for _ in range(mastered):
        probability, standard_error, answers = _MASTERY.unpack_from(body, at)
        skill, at = _read_text(body, at + _MASTERY.size)
        mastery.append(SkillMastery(skill, probability, answers, standard_error))
    recommendations = []
    for _ in range(recommended):
        number, count = _ADVICE.unpack_from(body, at)
        at += _ADVICE.size
        values = _doubles(count).unpack_from(body, at)
        skill, at = _read_text(body, at + _doubles(count).size)
        recommendations.append(Recommendation(ADVICE[number], values, skill))
    accuracy, response_time, consistency, improvement_rate, predicted = fields[-8:-3]
    return _make_assessment(
        (
            fields[1],
            fields[2],
            _make_estimates(estimates),
            Performance(
                accuracy,
                None if isnan(response_time) else response_time,
                consistency,
                improvement_rate,
            ),
            tuple(mastery),
            None if isnan(predicted) else predicted,
            tuple(recommendations),
            _meaning(body, at, layout.meaning),
            version,
        )
    )


def _meaning(body: bytes, at: int, layout: Struct) -> Meaning | None:
    """Read what the levels mean; None if absent."""
    return None if at == len(body) else _make_meaning(layout.unpack_from(body, at))


def _text(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(2, "little") + encoded


def _read_text(body: bytes, at: int) -> tuple[str, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2], "little")
    return body[at + 2 : end].decode(), end


# A structure per count of values: at most a few hundred, and expensive to make.


@lru_cache(maxsize=64)
def _doubles(count: int) -> Struct:
    return Struct(f"<{count}d")


@lru_cache(maxsize=64)
def _floats(count: int) -> Struct:
    return Struct(f"<{count}f")


@lru_cache(maxsize=64)
def _halves(count: int) -> Struct:
    return Struct(f"<{count}e")

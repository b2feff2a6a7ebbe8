"""Checks what a teacher acts on: bands, the forecast, attention and advice, on whole logs.

Every assessment is compared with what the learner did next.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from brain_service.model import Assessment, Interaction, interaction_from_context
from brain_service.model.attention import Attention
from brain_service.model.bank import Bank
from brain_service.model.habits import Band
from brain_service.model.meaning import NAMES
from brain_service.model.recommend import contradicts
from evaluation import data, measures
from evaluation.check import Check
from evaluation.measures import Floats
from evaluation.replay import EDNET_PRIOR, Replay

AHEAD: Final = 3
ENOUGH: Final = 2
BUDGET: Final = 0.10

Step = tuple[str, Interaction, float]
"""A learner, what they did, and when."""


class BandShare(NamedTuple):
    """How often a level stands in each band, over the answers of one log."""

    log: str
    level: str
    shares: tuple[float, ...]
    """In the order of `Band`."""


@dataclass(slots=True)
class Told:
    """The assessments after each answer of a log."""

    learners: list[str] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    struggle: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    mastery: list[float] = field(default_factory=list)
    attention: list[int] = field(default_factory=list)
    bands: list[bytes] = field(default_factory=list)
    contradictions: int = 0

    def add(self, learner: str, interaction: Interaction, assessment: Assessment) -> None:
        """Add the assessment after an interaction."""
        meaning = assessment.meaning
        if meaning is None:
            raise ValueError("An assessment must say what it means.")
        self.contradictions += sum(
            contradicts(each.advice.number, meaning.bands, meaning.attention)
            for each in assessment.recommendations
        )
        if interaction.correct is None:
            return
        struggle = meaning.struggle
        if struggle is None:
            raise ValueError("After an answer there must be a forecast.")
        self.learners.append(learner)
        self.right.append(interaction.correct)
        self.struggle.append(struggle)
        self.accuracy.append(assessment.performance.accuracy)
        touched = [each.probability for each in assessment.mastery]
        self.mastery.append(sum(touched) / len(touched) if touched else 0.5)
        self.attention.append(meaning.attention)
        self.bands.append(meaning.bands)


def checks(path: Path, *, sample: int | None) -> tuple[list[Check], list[BandShare]]:
    """Run all on ASSISTments 2009 (test learners, after the training ones), a school's year
    (ASSISTments 2017) and EdNet. With `sample`, only every so many-th learner of the first two.
    """
    bank = Bank()
    lines: list[Check] = []
    shares: list[BandShare] = []
    train, test = (list(_assist09(path, part, sample)) for part in ("train", "test"))
    tell(Replay(bank, once=True), train)
    for name, steps, replay in (
        ("assist09", test, Replay(bank, once=True)),
        ("assist17", list(_assist17(path, sample)), Replay(Bank(), once=True)),
        ("EdNet", list(_ednet(path)), Replay(Bank(prior=EDNET_PRIOR), once=True)),
    ):
        told = tell(replay, steps)
        lines += judge(name, told, judged=sample is None or name == "EdNet")
        shares += band_shares(name, told)
    return lines, shares


def tell(replay: Replay, steps: Iterable[Step]) -> Told:
    """Replay a log and collect the assessments."""
    told = Told()
    for learner, interaction, now in steps:
        told.add(learner, interaction, replay.step(learner, interaction, now))
    return told


def judge(name: str, told: Told, *, judged: bool = True) -> list[Check]:
    """Compare assessments with what came next."""
    struggled = next_ones(told)
    known = ~np.isnan(struggled)
    came = struggled[known]
    forecast = np.array(told.struggle)[known]
    accuracy, mastery = -np.array(told.accuracy)[known], -np.array(told.mastery)[known]
    attention = np.array(told.attention)
    on = attention[known] > Attention.NONE
    shares = [share for each in band_shares(name, told) for share in each.shares]
    much_higher = max(each.shares[Band.MUCH_HIGHER - 1] for each in band_shares(name, told))
    curve = measures.calibration(came, forecast)
    at_least, lift, error = _TARGETS[name]
    simple = {"accuracy": accuracy, "accuracy + mastery": accuracy + mastery}
    return [
        Check(
            name=f"{name}, AUC of struggle",
            value=measures.auc(came, forecast),
            at_least=at_least,
            baselines={other: measures.auc(came, score) for other, score in simple.items()},
            note=f"two of the next three answers wrong, {came.mean():.0%} of {len(came):,}",
            judged=judged,
        ),
        Check(
            name=f"{name}, calibration error of struggle",
            value=measures.calibration_error(curve),
            at_most=error,
            judged=judged,
        ),
        Check(
            name=f"{name}, attention on",
            value=float((attention > Attention.NONE).mean()),
            at_most=BUDGET,
            note=f"for help now {(attention == Attention.NOW).mean():.1%}",
            judged=judged,
        ),
        Check(
            name=f"{name}, lift of attention",
            value=lift_of(came, on),
            at_least=lift,
            baselines={
                other: lift_of(came, score >= np.quantile(score, 1.0 - on.mean()))
                for other, score in simple.items()
            },
            note="struggle after attention, against struggle after any answer",
            judged=judged,
        ),
        Check(
            name=f"{name}, largest share of a band",
            value=max(shares),
            at_most=0.60,
            note="of six levels and six bands, too early among them",
            judged=judged,
        ),
        Check(
            name=f"{name}, share of much higher",
            value=much_higher,
            at_most=0.08,
            note="the level with the most",
            judged=judged,
        ),
        Check(
            name=f"{name}, contradictions of advice",
            value=told.contradictions,
            at_most=0,
            digits=0,
            judged=judged,
        ),
    ]


_TARGETS: Final[dict[str, tuple[float | None, float | None, float]]] = {
    "assist09": (None, None, 0.03),
    "assist17": (0.73, 1.52, 0.05),
    "EdNet": (0.585, 1.45, 0.05),
}
"""Per log, the least AUC, the least lift, and the largest calibration error."""


def lift_of(came: Floats, on: np.typing.NDArray[np.bool_]) -> float:
    """How much more often something came where a sign was on than overall; NaN where it never
    was.
    """
    return float(came[on].mean() / came.mean()) if on.any() else float("nan")


def next_ones(told: Told) -> Floats:
    """Per answer, 1 where at least two of the learner's next three were wrong, else 0; NaN where
    fewer than three followed.
    """
    found = np.full(len(told.right), np.nan)
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, learner in enumerate(told.learners):
        places[learner].append(place)
    wrong = ~np.array(told.right)
    for own in places.values():
        for first, *following in zip(*(own[n:] for n in range(AHEAD + 1)), strict=False):
            found[first] = wrong[following].sum() >= ENOUGH
    return found


def band_shares(name: str, told: Told) -> list[BandShare]:
    """Return how often each level stands in each band."""
    bands = np.array([list(each) for each in told.bands])
    return [
        BandShare(name, level, tuple(float((bands[:, place] == band).mean()) for band in Band))
        for place, level in enumerate(NAMES)
    ]


def _assist09(path: Path, part: str, sample: int | None) -> Iterator[Step]:
    for answer in _sampled(data.assist09(path, part), sample):
        yield answer.learner, _answer(answer), 0.0


def _assist17(path: Path, sample: int | None) -> Iterator[Step]:
    answers = data.assist17(path)
    when = {id(answer): time for answer, time in answers}
    for answer in _sampled([answer for answer, _ in answers], sample):
        yield answer.learner, _answer(answer), when[id(answer)]


def _ednet(path: Path) -> Iterator[Step]:
    for frame in data.json_lines(path, "ednet_kt4_frames.jsonl.gz"):
        interaction = interaction_from_context(frame["type"], frame["content"], frame["context"])
        yield frame["learner_id"], interaction, frame["ts"]


def _answer(answer: data.GradedAnswer) -> Interaction:
    context = {"item_id": answer.item, "skill": answer.skills, "correct": answer.correct}
    return interaction_from_context("question_response", "", context)


def _sampled(answers: list[data.GradedAnswer], sample: int | None) -> list[data.GradedAnswer]:
    chosen = set(list(dict.fromkeys(answer.learner for answer in answers))[::sample])
    return [answer for answer in answers if answer.learner in chosen]

"""The checks of the evaluation, one function each: what is compared with what, and which value is
good enough.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Final

import numpy as np

from brain_service.model import Assessment, Interaction, interaction_from_context
from brain_service.model.bank import Bank
from evaluation import baselines, data, meaning, measures, replay
from evaluation.check import Check
from evaluation.data import Action, GradedAnswer, Rating
from evaluation.meaning import BandShare
from evaluation.measures import Bin, Floats
from evaluation.replay import EDNET_PRIOR, NBACK_PRIOR, Replay, ednet_digest, frames, nback_trial

Progress = Callable[[str], None]

NEARLY: Final = 1e-6
SAMPLE: Final = 10
"""`--quick` takes every so many-th learner of ASSISTments 2009."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All lines, and what the plots need."""

    checks: tuple[Check, ...]
    calibration: tuple[Bin, ...]
    bands: tuple[BandShare, ...]


def run(path: Path, *, quick: bool, progress: Progress) -> Findings:
    """Run all checks on the data in `path`."""
    checks: list[Check] = []
    progress("golden files")
    checks.append(golden(path))
    predicted, curve = prediction(path, quick=quick, progress=progress)
    checks += predicted
    progress("n-back and NASA-TLX")
    checks += workload(path)
    progress("engagement on single actions")
    checks += engagement(data.affect_rows(path))
    progress("determinism")
    checks.append(determinism(path))
    progress("cold items")
    log = data.json_lines(path, "ednet_kt4_frames.jsonl.gz")
    told = frames(Replay(Bank(prior=EDNET_PRIOR)), log)
    checks.append(cold_items(log, told))
    progress("bands, forecast, attention, advice")
    meant, bands = meaning.checks(path, sample=SAMPLE if quick else None)
    checks += meant
    return Findings(checks=tuple(checks), calibration=tuple(curve), bands=tuple(bands))


def golden(path: Path) -> Check:
    """Replay both golden files and return the largest difference in any prediction or level."""
    worst, lines = 0.0, 0
    ednet = data.json_lines(path, "golden_ednet.jsonl.gz")
    log = data.json_lines(path, "ednet_kt4_frames.jsonl.gz")[: len(ednet)]
    nback = data.json_lines(path, "golden_nback.jsonl.gz")
    trials = [nback_trial(row["learner_id"], row, row["ts"]) for row in nback]
    for expected, told in (
        (ednet, frames(Replay(Bank(prior=EDNET_PRIOR), lessons=False), log)),
        (nback, frames(Replay(Bank(prior=NBACK_PRIOR), lessons=False), trials)),
    ):
        for row, assessment in zip(expected, told, strict=True):
            worst = max(worst, _difference(row, assessment))
            lines += 1
    return Check(
        name="golden files, largest difference",
        value=worst,
        at_most=NEARLY,
        note=f"{lines:,} lines",
        digits=10,
    )


def prediction(path: Path, *, quick: bool, progress: Progress) -> tuple[list[Check], list[Bin]]:
    """ASSISTments 2009: training fills the bank, then every test answer is predicted before it is
    learned from.
    """
    train, test = data.assist09(path, "train"), data.assist09(path, "test")
    if quick:
        train, test = _sample(train), _sample(test)
    progress(f"assist09: {len(train):,} training answers fill the bank")
    bank = Bank()
    trained = _predictions(Replay(bank, once=True), train)
    frozen = deepcopy(bank)
    progress(f"assist09: {len(test):,} test answers, each predicted before it is learned from")
    online, still = (
        _predictions(Replay(bank, once=True), test),
        _predictions(Replay(frozen, learning=False), test),
    )
    progress("assist09: the same, every answer teaching")
    unguarded = Bank()
    _predictions(Replay(unguarded), train)
    reference = _predictions(Replay(unguarded), test)
    others: dict[str, Floats] = {}
    for name, predictor in (
        ("item mean", baselines.item_mean),
        ("PFA", baselines.pfa),
        ("BKT", baselines.bkt),
        ("Elo", baselines.elo),
    ):
        progress(f"assist09: baseline {name}")
        others[name] = predictor(train, test)
    others["guide"] = baselines.guide_accuracy(test)

    right = np.array([answer.correct for answer in test])
    curve = measures.calibration(right, online)

    def error(probability: Floats) -> float:
        return measures.calibration_error(measures.calibration(right, probability))

    return [
        Check(
            name="assist09, AUC of the next answer",
            value=measures.auc(right, online),
            at_least=0.770,
            reference=".776",
            baselines={
                name: measures.auc(right, probability) for name, probability in others.items()
            },
            note=f"{len(test):,} test answers of {len({a.learner for a in test}):,} learners"
            + (f"; a sample, every {SAMPLE}th learner" if quick else ""),
            judged=not quick,
        ),
        Check(
            name="– the same, every answer teaching the bank",
            value=measures.auc(right, reference),
            reference=".776",
            note="as in the reference calculation; in a brain a learner teaches an item once",
            judged=not quick,
        ),
        Check(
            name="– the same with a frozen bank",
            value=measures.auc(right, still),
            reference=".774",
            note="item statistics as training left them",
            judged=not quick,
        ),
        Check(
            name="– the same on the training learners",
            value=measures.auc(np.array([answer.correct for answer in train]), trained),
            note="predicted before learned, the bank starting empty; the weights were fitted here",
            judged=not quick,
        ),
        Check(
            name="assist09, calibration error (10 bins)",
            value=measures.calibration_error(curve),
            at_most=0.02,
            reference=".008",
            baselines={name: error(probability) for name, probability in others.items()},
            judged=not quick,
        ),
    ], curve


def workload(path: Path) -> list[Check]:
    """n-back: the levels after each block of trials against what the person then said of it on
    NASA-TLX scales.
    """
    rule: defaultdict[str, baselines.GuideRule] = defaultdict(baselines.GuideRule)
    block: list[bool] = []
    ratings: list[Rating] = []
    ours, guide, simple = [], [], []
    for row, now, told in replay.nback(path):
        thumb = rule[row.person]
        if isinstance(row, Rating):
            ratings.append(row)
            ours.append([told.level(name) for name in _RATED])
            guide.append([thumb.cognitive_load, thumb.frustration, thumb.confidence])
            simple.append([float(row.n), sum(block) / len(block), told.performance.accuracy])
            block = []
        else:
            thumb.answer(correct=row.correct, seconds=row.seconds, minutes=now / 60.0)
            block.append(row.correct)

    people = [rating.person for rating in ratings]
    said = np.array(
        [(rating.mental_demand, rating.frustration, rating.performance) for rating in ratings]
    )
    levels, thumbs, plain = np.array(ours), np.array(guide), np.array(simple)

    def r(x: Floats, scale: int) -> float:
        return measures.within_person(people, x, said[:, scale])

    lines = []
    for scale, (name, at_least, reference, comparison) in enumerate(
        (
            ("cognitive load × mental demand", 0.75, ".770", {"difficulty alone": plain[:, 0]}),
            ("frustration × frustration", 0.60, ".629", {"difficulty alone": plain[:, 0]}),
            (
                "confidence × own performance",
                None,
                ".616",
                {"block accuracy": plain[:, 1], "accuracy": plain[:, 2]},
            ),
        )
    ):
        low, high = measures.within_person_interval(people, levels[:, scale], said[:, scale])
        lines.append(
            Check(
                name=f"n-back, {name}, r within person",
                value=r(levels[:, scale], scale),
                at_least=at_least,
                reference=reference,
                baselines={"guide": r(thumbs[:, scale], scale)}
                | {other: r(values, scale) for other, values in comparison.items()},
                note=(
                    f"{len(set(people))} people, {len(ratings)} ratings; 95 % interval {low:.2f} to"
                    f" {high:.2f}"
                ),
            )
        )
    return lines


_RATED: Final = ("cognitive_load", "frustration_level", "confidence_level")


def engagement(actions: list[Action]) -> list[Check]:
    """ASSISTments 2017: engagement read from each action alone, against published detectors' view
    of that action.

    Every action is the first of a blank learner. The subject's time norm is the mean over all
    actions. Engaged means that the detector of concentration is above those of boredom, off-task
    behaviour and gaming.
    """
    seconds = [max(action.seconds, 0.2) for action in actions]
    bank = Bank()
    bank.load({}, {"mathematics": (sum(map(log, seconds)) / len(seconds), float(len(seconds)))})
    ours = [Replay(bank, learning=False).step("anyone", _action(action), 0.0) for action in actions]
    level = np.array([assessment.level("engagement_level") for assessment in ours])
    concentrating = np.array([action.concentrating for action in actions])
    worst = np.array([max(action.bored, action.off_task, action.gaming) for action in actions])
    engaged = concentrating > worst
    thumbs = np.array([1.0 - 0.1 * action.hints - 0.1 * action.errors for action in actions])
    right = np.array([action.correct is True for action in actions], dtype=np.float64)
    answers = np.array([action.correct is not None for action in actions])
    return [
        Check(
            name="assist17, engagement against detectors, AUC",
            value=measures.auc(engaged, level),
            at_least=0.79,
            reference=".798",
            baselines={
                "guide": measures.auc(engaged, thumbs),
                "right answer": measures.auc(engaged, right),
            },
            note=(
                f"{len(actions):,} actions, {engaged.mean():.0%} engaged: concentrating above"
                " bored, off-task, gaming"
            ),
        ),
        Check(
            name="– answers only, without hint requests",
            value=measures.auc(engaged[answers], level[answers]),
            baselines={
                "guide": measures.auc(engaged[answers], thumbs[answers]),
                "right answer": measures.auc(engaged[answers], right[answers]),
            },
        ),
        Check(
            name="– engaged: none of the three above one half",
            value=measures.auc(worst <= 0.5, level),
            note="another reading of the detectors",
        ),
        Check(
            name="– engaged: concentration above its median",
            value=measures.auc(concentrating > np.median(concentrating), level),
            note="the least favourable reading",
        ),
    ]


def determinism(path: Path) -> Check:
    """Replay the EdNet log here and in another process with another hash seed; count differing
    state hashes.
    """
    other = subprocess.run(
        [sys.executable, "-m", "evaluation.replay"],
        env={**os.environ, data.VARIABLE: str(path), "PYTHONHASHSEED": "7"},
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    hashes = {ednet_digest(path), ednet_digest(path), other.stdout.strip()}
    return Check(
        name="determinism, different state hashes",
        value=len(hashes) - 1,
        at_most=0,
        reference="0",
        note="twice here, once in another process",
        digits=0,
    )


def cold_items(log: Sequence[dict[str, Any]], told: Sequence[Assessment]) -> Check:
    """EdNet: items chosen adaptively, nearly all unknown to the bank; a known weakness, so it has
    no target.
    """
    pairs = [
        (frame["context"]["correct"], assessment.predicted_correct)
        for frame, assessment in zip(log, told, strict=True)
        if assessment.predicted_correct is not None
    ]
    right, probability = zip(*pairs, strict=True)
    return Check(
        name="EdNet, AUC on cold items",
        value=measures.auc(right, probability),
        reference=".56",
        note=(
            f"{len(pairs):,} answers of {len({frame['learner_id'] for frame in log})} learners; no"
            " target"
        ),
    )


def _difference(row: dict[str, Any], assessment: Assessment) -> float:
    told: dict[str, float | None] = {
        "predicted_correct": assessment.predicted_correct,
        **assessment.six(),
    }
    told["item_confidence"] = assessment.level("item_confidence")
    differences = [0.0]
    for name, value in told.items():
        if (value is None) != (row[name] is None):
            return float("inf")
        if value is not None:
            differences.append(abs(value - row[name]))
    return max(differences)


def _sample(answers: list[GradedAnswer]) -> list[GradedAnswer]:
    chosen = set(list(dict.fromkeys(answer.learner for answer in answers))[::SAMPLE])
    return [answer for answer in answers if answer.learner in chosen]


def _predictions(replay: Replay, answers: list[GradedAnswer]) -> Floats:
    """The probability of a right answer for each, before it is learned from. The data have no
    times: all are 0.
    """
    return np.array([_predict(replay, answer) for answer in answers])


def _predict(replay: Replay, answer: GradedAnswer) -> float:
    context = {"item_id": answer.item, "skill": answer.skills, "correct": answer.correct}
    told = replay.step(
        answer.learner, interaction_from_context("question_response", "", context), 0.0
    )
    if told.predicted_correct is None:
        raise ValueError("An answer must be predicted.")
    return told.predicted_correct


def _action(action: Action) -> Interaction:
    context: dict[str, object] = {
        "item_id": "action",
        "skill": action.skill,
        "subject": "mathematics",
        "time_taken": action.seconds,
        "hints": action.hints,
        "attempts": action.attempts,
        "correct": action.correct,
    }
    kind = "hint_request" if action.correct is None else "question_response"
    return interaction_from_context(kind, "", context)

"""Draws what the evaluation found: calibration (an aggregate), and the levels of one learner over a
session.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from brain_service.model import Assessment, interaction_from_context
from brain_service.model.bank import Bank
from brain_service.model.params import SESSION_GAP_S
from demo import simulator
from evaluation import data, replay
from evaluation.measures import Bin

SIMULATED_LEARNER: Final = "demo-ada"
SIMULATED_SEED: Final = 7
SIMULATED_S: Final = 35 * 60.0
_COLOURS: Final = {
    "cognitive_load": "#0b6e99",
    "frustration_level": "#b3362b",
    "confidence_level": "#2f7d4f",
    "engagement_level": "#8a5a00",
    "fatigue_level": "#6b4a9e",
    "motivation_level": "#5b6770",
}


def calibration(curve: Sequence[Bin], path: Path) -> None:
    """Draw predicted against observed shares of right answers, with 95 % intervals and the number
    of answers.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(4, 1))
    predicted = [found.predicted for found in curve]
    observed = [found.observed for found in curve]
    doubt = [1.96 * sqrt(found.observed * (1 - found.observed) / found.answers) for found in curve]
    upper.plot((0, 1), (0, 1), color="#9aa3aa", linewidth=1, linestyle="--", label="perfect")
    upper.errorbar(
        predicted,
        observed,
        doubt,
        color="#0b6e99",
        marker="o",
        markersize=4,
        capsize=2,
        label="vb-ssm/0.1",
    )
    upper.set(ylabel="share answered right", xlim=(0, 1), ylim=(0, 1))
    upper.set_title("Calibration on ASSISTments 2009, test learners", fontsize=11)
    upper.legend(frameon=False, loc="upper left")
    lower.bar(predicted, [found.answers for found in curve], width=0.06, color="#9aa3aa")
    lower.set(xlabel="predicted probability of a right answer", ylabel="answers")
    for axes in (upper, lower):
        _quiet(axes)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def simulated_session(path: Path) -> None:
    """Draw the levels of one simulated learner, labelled as simulated; the same picture
    every time.
    """
    pupil = simulator.make_pupil(SIMULATED_LEARNER, SIMULATED_SEED)
    mind, bank_replay = simulator.fresh_mind(pupil), replay.Replay(Bank())
    now, told = 0.0, []
    while now < SIMULATED_S:
        mind, action = simulator.act(pupil, mind)
        now += action.pause_s + action.takes_s
        interaction = interaction_from_context(action.kind, action.content, action.context)
        told.append(bank_replay.step(SIMULATED_LEARNER, interaction, now))
    _session(told, "One SIMULATED learner over a session", path)


def real_session(data_path: Path, path: Path) -> None:
    """Draw the longest session in the EdNet log. The picture shows one person's data: it must not
    be published.
    """
    log = data.json_lines(data_path, "ednet_kt4_frames.jsonl.gz")
    everything = replay.frames(replay.Replay(Bank(prior=replay.EDNET_PRIOR)), log)
    sessions: list[list[Assessment]] = []
    last: tuple[str, float] | None = None
    for frame, assessment in zip(log, everything, strict=True):
        if (
            last is None
            or frame["learner_id"] != last[0]
            or assessment.time - last[1] > SESSION_GAP_S
        ):
            sessions.append([])
        sessions[-1].append(assessment)
        last = frame["learner_id"], assessment.time
    longest = max(
        sessions, key=lambda session: sum(told.predicted_correct is not None for told in session)
    )
    _session(longest, "One real learner over a session – do not publish", path)


def _session(told: Sequence[Assessment], title: str, path: Path) -> None:
    figure = Figure(figsize=(8.0, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(4, 1.4))
    minutes = [(assessment.time - told[0].time) / 60.0 for assessment in told]
    for name, colour in _COLOURS.items():
        label = name.removesuffix("_level").replace("_", " ")
        upper.plot(
            minutes,
            [assessment.level(name) for assessment in told],
            color=colour,
            linewidth=1.5,
            label=label,
        )
    upper.set(ylim=(0, 1), ylabel="level")
    upper.set_title(title, fontsize=11)
    upper.legend(ncols=3, frameon=False, fontsize=9)
    chances = [
        (minute, assessment.predicted_correct)
        for minute, assessment in zip(minutes, told, strict=True)
        if assessment.predicted_correct is not None
    ]
    lower.plot(
        *zip(*chances, strict=True), color="#5b6770", marker=".", markersize=4, linewidth=0.8
    )
    lower.set(ylim=(0, 1), ylabel="P(correct)", xlabel="minutes")
    for axes in (upper, lower):
        _quiet(axes)
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="y", color="#e6e9ec", linewidth=0.8)
    axes.set_axisbelow(True)

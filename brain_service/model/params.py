"""Every fitted or chosen constant of the learner model `vb-ssm/0.3`, as data.

A change of any constant here changes `PARAMS_HASH` and must bump `VERSION`. States computed with
other constants continue; `python -m brain_service rebuild` recomputes them.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

VERSION: Final = "vb-ssm/0.3"

# Prediction of an answer: logistic regression over item difficulty and the learner's history.

FEATURES: Final = {
    "b": 1.0123941129993055,
    "g_fast": 0.06342119778257135,
    "g_mid": 0.7118787314253219,
    "g_slow": 0.7619931587920773,
    "g_mean": 1.8076250211928098,
    "g_logn": 0.0075574806855554,
    "g_last": -0.11205953476798827,
    "streak_pos": -0.051678458117580706,
    "streak_neg": -0.5180179872049067,
    "k_fast": 0.16234541816334067,
    "k_mid": 0.435167822921574,
    "k_mean": 0.9075371097236592,
    "k_logn": 0.0504278692105576,
    "k_last": 0.09540355219254766,
    "k_gap": -0.06879809904297711,
    "new_skill": -0.5699058238059719,
    "i_last": 0.11692854143918992,
    "i_att": 0.13661894763699248,
}
"""Weight of each feature of an answer, fitted on the training half of ASSISTments 2009."""

BIAS: Final = 0.3555709121220022
LEVEL_B: Final = (
    2.4732146069563083,
    1.4074244315346394,
    0.7239440284608216,
    0.15965040321209206,
    -0.6178617090280313,
)
"""Easiness (logit of being answered right) expected of an unknown item whose declared difficulty is
1, 2, 3, 4, 5.
"""
BANK_PRIOR: Final = 0.65
"""Easiness (logit) expected of an unknown item of undeclared difficulty; σ(.65) is the share of
right answers.
"""
P_GLOBAL: Final = 0.6581860317171809
"""Share of right answers over all learners: what accuracy shrinks to where there is little
evidence.
"""

G_HALF_LIVES: Final = (2.0, 8.0, 32.0)
"""Half-lives, in answers, of the learner's averages of residuals (fast, mid, slow)."""
K_HALF_LIVES: Final = (2.0, 6.0)
"""Half-lives, in answers on the skill, of a skill's averages of residuals (fast, mid)."""
G_SHRINK: Final = 5.0
K_SHRINK: Final = 2.0
"""Pseudo-answers that shrink a mean residual to zero, for the learner and for a skill."""
BANK_GAIN: Final = 0.8
BANK_COOLING: Final = 0.15
"""Elo step of an item's easiness, gain/(1 + cooling·n) (Pelánek's uncertainty schedule)."""
NORM_WINDOW: Final = 200
"""A subject's time norm is a mean whose newest value weighs at least 1/200."""

MAX_SKILLS: Final = 256
MAX_ITEMS: Final = 64
"""How many skills and items of one learner are remembered; the least recently used are forgotten.
"""

# Time.

SIGNAL_HALF_LIFE_S: Final = 900.0
TANK_HALF_LIFE_S: Final = 1200.0
TANK_GRACE_S: Final = 60.0
TANK_FILL_S: Final = 3600.0
PRESENCE_HALF_LIFE_S: Final = 7 * 86400.0
SESSION_GAP_S: Final = 1800.0
MAX_ACTIVE_S: Final = 300.0
MIN_TIME_S: Final = 0.2
HASTY_S: Final = 3.0
HASTY_Z: Final = -1.7
LONG_S: Final = 80.0
LONG_Z: Final = 2.0
MAX_Z: Final = 3.0
TIME_VAR_START: Final = 0.35
TIME_VAR_FLOOR: Final = 0.04
TIME_WINDOW: Final = 20
PERFORMANCE_HALF_LIFE: Final = 8.0
"""Half-life, in answers, of accuracy and response time."""
SPREAD_HALF_LIFE: Final = 16.0
SPREAD_PRIOR: Final = 0.22
"""Half-life (answers) and prior of the mean squared surprise; .22 ≈ p(1 − p) at the global share of
right answers.
"""


class Signal(NamedTuple):
    """One running average of evidence; see the table of signals in `docs/model.md`."""

    name: str
    prior: float
    half_life: float
    """In pushes of evidence."""


SIGNALS: Final = (
    Signal("declared", 0.50, 4),
    Signal("demand", 0.34, 4),
    Signal("slow", 0.0, 4),
    Signal("err", 0.34, 4),
    Signal("negsur", 0.20, 4),
    Signal("impasse", 0.10, 4),
    Signal("help", 0.0, 4),
    Signal("fast", 0.20, 6),
    Signal("idle", 0.05, 6),
    Signal("haste", 0.03, 6),
    Signal("flow", 0.60, 8),
    Signal("expect", 0.66, 8),
    Signal("sur1", 0.0, 1),
    Signal("dem1", 0.34, 1),
    Signal("sur", 0.0, 16),
    Signal("rtvar", 0.50, 16),
    Signal("engage", 0.60, 16),
    Signal("persist", 0.50, 16),
)
"""The signals in the order in which a state stores them: those that fade with idle time first."""
(
    DECLARED, DEMAND, SLOW, ERR, NEGSUR, IMPASSE, HELP, FAST, IDLE, HASTE,
    FLOW, EXPECT, SUR1, DEM1, SUR, RTVAR, ENGAGE, PERSIST,
) = range(len(SIGNALS))  # fmt: skip
"""Where each signal lies in every tuple of signals or weights."""
PRIORS: Final = tuple(signal.prior for signal in SIGNALS)
FADING: Final = 14
"""The number of signals, from the first, that fade in real time (half-life 15 min); the rest stay
until new evidence comes.
"""


class Level(NamedTuple):
    """One reading: base + Σ coefficient · driver, clipped to [0, 1]."""

    name: str
    base: float
    coefficients: dict[str, float]
    rmse: float
    """Typical error against what it was checked with; where nothing was, a cautious .25."""
    grade: str
    """What it was checked against: `human` ratings, `convergent` (published detectors), or only
    `theory`.
    """


LEVELS: Final = (
    Level(
        "cognitive_load",
        0.39,
        {"declared": 0.59, "demand": 0.08, "slow": 0.04, "err": 0.26},
        0.23,
        "human",
    ),
    Level(
        "frustration_level",
        0.28,
        {"err": 0.36, "declared": 0.30, "negsur": 0.15, "impasse": 0.15, "help": 0.05},
        0.28,
        "human",
    ),
    Level(
        "confidence_level",
        0.72,
        {"sur": 1.10, "demand": -0.42, "err": -0.15, "slow": -0.06},
        0.27,
        "human",
    ),
    Level(
        "item_confidence",
        0.78,
        {"sur": 0.90, "sur1": 0.35, "dem1": -0.60, "slow": -0.08},
        0.25,
        "human",
    ),
    Level(
        "engagement_level",
        0.78,
        {"idle": -0.35, "fast": -0.30, "help": -0.25, "err": -0.25, "slow": -0.10, "flow": 0.08},
        0.25,
        "convergent",
    ),
    Level("fatigue_level", 0.03, {"load": 0.62, "tank": 0.45, "rtvar": 0.05}, 0.25, "theory"),
    Level(
        "motivation_level",
        0.10,
        {"expect": 0.45, "engage": 0.35, "persist": 0.15, "presence": 0.05, "cost": -0.25},
        0.25,
        "theory",
    ),
)
"""The levels, in the order in which they are computed: the last two build on the ones before."""

REFERENCE: Final = {"load": 0.6, "tank": 0.0, "rtvar": 0.5, "presence": 0.0, "cost": 0.4}
"""What a driver that is no signal is compared with (a signal is compared with its prior)."""
PRESENCE_FULL: Final = 3.0
"""Recent sessions after which presence counts fully."""
PRIOR_SD: Final = 0.25
"""Error added to a level that rests on no evidence at all."""

# What is usual for a learner, and bands.

HABIT_HALF_LIFE: Final = 64.0
"""Half-life, in answers, of what is usual for a learner."""
HABIT_PRIOR: Final = 8.0
"""Answers that the usual values of all learners count for at first."""
HABIT_NEEDS: Final = 10
"""Answers until there are bands; what is usual rests first on others as much as on the learner."""
HABIT_EVIDENCE: Final = 0.25
"""Evidence weight that a level needs for a band: two answers after a break."""
SPREAD_FLOOR: Final = 0.03
"""The least spread; smaller movements of a level mean nothing."""
INNER_EDGE: Final = 0.6
OUTER_EDGE: Final = 1.8
"""Spreads from the usual value at which bands end."""
EDGE_GRIP: Final = 0.35
"""Spreads beyond an edge that a level needs to leave its band, so that bands do not flicker."""
FADES: Final = (1.0, 1.0, 0.35, 1.0, 1.0, 0.6)
"""Per level of the six, the share of its movement that fades in idle time. What is usual fades with
it, or every learner would stand out after every break.
"""
USUAL_START: Final = (
    (0.75, 0.62, 0.50, 0.65, 0.55, 0.63),
    (0.006, 0.011, 0.011, 0.004, 0.003, 0.003),
)
"""Initial means and within-learner variances of the six levels."""
TEACH_EVERY: Final = 8
"""A learner teaches the common usual values with every n-th answer, from twice as many on."""

# The forecast: are at least two of the next three answers wrong?

STRUGGLE: Final = {
    "accuracy": -0.23948,
    "mastery": -0.48841,
    "ability": -1.31814,
    "failures": 0.32305,
}
STRUGGLE_BIAS: Final = -1.4067
"""Weights of the logits of recent accuracy and of the mean mastery of the touched skills, of the
mean residual, and of failures in a row; and the logit of a usual learner. `docs/model.md` describes
how they and the gains below were fitted.
"""
FAILURES_MOST: Final = 4
FAILURES_HALVE: Final = 10.0
"""Most failures in a row, after the first, that count. They count half after ten answers, a third
after twenty: they say more about a new learner.
"""
STRUGGLE_MEANS: Final = {"accuracy": 0.66, "mastery": 0.70}
"""What these are for a usual learner. Residuals are around 0."""
STRUGGLE_RANGE: Final = (0.02, 0.98)
"""Where accuracy and mastery are cut before their logits are taken."""
STRUGGLE_CENTRE: Final = -0.9
"""Logit around which the slope turns."""


class Gain(NamedTuple):
    """The step of an online mean or regression: max(floor, first / (1 + cooling · n))."""

    first: float
    cooling: float
    floor: float


INTERCEPT_GAIN: Final = Gain(0.125, 0.08, 0.002)
SUBJECT_OUTLOOK_GAIN: Final = INTERCEPT_GAIN
"""Each learns one half: what a subject has in common with the others, and what is its own."""
SLOPE_GAIN: Final = Gain(0.002, 0.0, 0.002)
SLOPE_RANGE: Final = (0.2, 1.6)
ITEM_OUTLOOK_GAIN: Final = Gain(0.17, 0.02, 0.01)
TASK_OUTLOOK_GAIN: Final = Gain(0.035, 0.005, 0.01)
PASSAGE_GAIN: Final = Gain(0.15, 0.02, 0.005)
RATE_GAIN: Final = Gain(0.05, 0.02, 0.001)
CUT_GAIN: Final = Gain(0.3, 0.01, 0.001)
USUAL_GAIN: Final = Gain(0.5, 0.1, 0.003)
CROWD_START: Final = (0.0, 1.0, 0.29, 0.6, 1.4)
"""Intercept, slope and rate of the forecast, and the cuts of attention, before any answer."""

# Attention.

BUDGET: Final = (0.07, 0.025)
"""Budget of answers with attention: a look or help now; help now alone."""
CUT_GRIP: Final = 0.15
"""Logits below a cut at which attention turns off."""
ATTENTION_NEEDS: Final = 3
"""Answers before there is any attention."""
STUCK_STEP: Final = 0.0
STUCK_MOST: Final = 5
"""What failures in a row add to the score, each, and how many count."""
GIVING_UP: Final = 0.2
GIVING_UP_STEP: Final = 0.3
"""Share of hasty, wrong answers that looks like giving up, and what it adds to the score."""
DISTRESS_STEP: Final = 0.1
"""What load or frustration much higher than usual adds to the score, each."""

PARAMS_HASH: Final = hashlib.blake2b(
    repr(
        (
            VERSION, FEATURES, BIAS, LEVEL_B, BANK_PRIOR, P_GLOBAL, G_HALF_LIVES, K_HALF_LIVES,
            G_SHRINK, K_SHRINK,
            BANK_GAIN, BANK_COOLING, NORM_WINDOW, MAX_SKILLS, MAX_ITEMS, SIGNAL_HALF_LIFE_S,
            TANK_HALF_LIFE_S,
            TANK_GRACE_S, TANK_FILL_S, PRESENCE_HALF_LIFE_S, SESSION_GAP_S, MAX_ACTIVE_S,
            MIN_TIME_S, HASTY_S, HASTY_Z,
            LONG_S, LONG_Z, MAX_Z, TIME_VAR_START, TIME_VAR_FLOOR, TIME_WINDOW,
            PERFORMANCE_HALF_LIFE,
            SPREAD_HALF_LIFE, SPREAD_PRIOR, SIGNALS, FADING, LEVELS, REFERENCE, PRESENCE_FULL,
            PRIOR_SD, HABIT_HALF_LIFE, HABIT_PRIOR, HABIT_NEEDS, HABIT_EVIDENCE, SPREAD_FLOOR,
            INNER_EDGE, OUTER_EDGE, EDGE_GRIP, FADES, USUAL_START, TEACH_EVERY, STRUGGLE,
            STRUGGLE_BIAS, FAILURES_MOST, FAILURES_HALVE, STRUGGLE_MEANS, STRUGGLE_RANGE,
            STRUGGLE_CENTRE, INTERCEPT_GAIN, SUBJECT_OUTLOOK_GAIN, SLOPE_GAIN, SLOPE_RANGE,
            ITEM_OUTLOOK_GAIN, TASK_OUTLOOK_GAIN, PASSAGE_GAIN, RATE_GAIN, CUT_GAIN, USUAL_GAIN,
            CROWD_START,
            BUDGET, CUT_GRIP, ATTENTION_NEEDS, STUCK_STEP, STUCK_MOST, GIVING_UP,
            GIVING_UP_STEP, DISTRESS_STEP,
        )
    ).encode(),
    digest_size=8,
).digest()  # fmt: skip
"""Eight bytes that name this exact set of constants; every stored state carries them."""

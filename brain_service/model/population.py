"""What all learners share besides items and times: the forecast's bias, the cuts of attention, what
is usual in a subject, the outlook of items, kinds of task and subjects, and how a kind of task goes
after itself and after another.

Pure values and the steps they learn by. The bank keeps them (`bank`), in rows of its items whose
names no item can have: they begin with a control character.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple

from brain_service.model import params
from brain_service.model.params import Gain
from brain_service.model.values import maker

MARK: Final = "\x01"
"""Prefix of the names of rows that are not items; `interaction` refuses it in item names."""
_SEPARATOR: Final = "\x02"


class Population(NamedTuple):
    """What all learners share, whatever the subject."""

    intercept: float
    """Logits by which struggling is likelier here than where the weights were fitted."""
    slope: float
    """Slope of the forecast here; 1 is as where it was fitted."""
    rate: float
    """Share of forecasts after which two of three answers were wrong."""
    look: float
    now: float
    """Scores above which a learner is worth a look, or needs help now."""
    answers: float = 0.0
    """Answers behind these values."""


Shared = tuple[float, ...]
"""Values that learners share, the number of answers behind them last: a `Population`, or what is
usual in a subject: the means, then the variances within a learner of the six levels.
"""


class Lesson(NamedTuple):
    """What one answer teaches about all learners, before it is weighed."""

    error: float
    """The forecast of three answers ago: 1 or 0 as it came, minus its probability."""
    lean: float
    """The forecast's logit, from the centre of the slope."""
    struggled: float
    """1 where at least two of the three answers were wrong, else 0."""
    keys: tuple[bytes, ...]
    """The item, kind of task and subject it followed; empty if no forecast was due."""
    looked: float
    called: float
    """Whether attention is on now (1 or 0), and whether it is for help now."""
    subject: str
    """Empty if there was none."""
    usual: tuple[float, ...] | None
    """The learner's own means and variances, now and then."""
    passage: bytes = b""
    """The passage between kinds of task, see `passage_key`; empty for none."""
    surprise: float = 0.0
    """1 or 0 as the answer was, minus its probability."""


START: Final = Population(*params.CROWD_START)
USUAL: Final[Shared] = (*params.USUAL_START[0], *params.USUAL_START[1], 0.0)
_VARIANCES: Final = slice(len(params.USUAL_START[0]), len(USUAL) - 1)
_crowd = maker(Population)


def step(gain: Gain, observations: float) -> float:
    """Return how far to move after so many observations."""
    moved = gain.first / (1.0 + gain.cooling * observations)
    return moved if moved > gain.floor else gain.floor


def learn(population: Population, lesson: Lesson) -> Population:
    """Return what all learners share after one more answer.

    The intercept and slope follow the gradient of the log loss. Each cut moves so that in the long
    run the budgeted share of answers lies above it [Robbins & Monro 1951].
    """
    intercept, slope, rate, look, now, answers = population
    error, lean, struggled, keys, looked, called, *_ = lesson
    if keys:
        intercept += step(params.INTERCEPT_GAIN, answers) * error
        slope += step(params.SLOPE_GAIN, answers) * error * lean
        low, high = params.SLOPE_RANGE
        slope = low if slope < low else high if slope > high else slope
        rate += step(params.RATE_GAIN, answers) * (struggled - rate)
    moved = step(params.CUT_GAIN, answers)
    look += moved * (looked - params.BUDGET[0])
    now += moved * (called - params.BUDGET[1])
    return _crowd((intercept, slope, rate, look, now, answers + 1.0))


def learn_usual(usual: Shared, values: tuple[float, ...]) -> Shared:
    """Return what is usual in a subject after one learner's own values were seen."""
    answers = usual[-1]
    moved = step(params.USUAL_GAIN, answers)
    learned = [old + moved * (new - old) for old, new in zip(usual, values, strict=False)]
    return (*learned, answers + 1.0)


def task_key(skills: tuple[str, ...]) -> bytes:
    """The eight bytes that name a kind of task: the skills it exercises."""
    return blake2b(
        _SEPARATOR.join(skills).encode("utf-8", "surrogatepass"), digest_size=8, person=b"task"
    ).digest()


def passage_key(skills: tuple[str, ...], again: bool) -> bytes:
    """The eight bytes that name a kind of task after itself (`again`) or after another one."""
    person = b"again" if again else b"switch"
    name = _SEPARATOR.join(skills).encode("utf-8", "surrogatepass")
    return blake2b(name, digest_size=8, person=person).digest()


def subject_key(subject: str | None) -> bytes:
    """The eight bytes that name a subject, or work without one."""
    name = (subject or "").encode("utf-8", "surrogatepass")
    return blake2b(name, digest_size=8, person=b"subject").digest()


class Kind(NamedTuple):
    """The keys of a kind of task in a subject."""

    task: bytes
    subject: bytes
    after_itself: bytes
    after_another: bytes


@lru_cache(maxsize=65_536)
def kind_of(skills: tuple[str, ...], subject: str | None) -> Kind:
    """Return the keys of tasks that exercise these skills."""
    return Kind(
        task_key(skills),
        subject_key(subject),
        passage_key(skills, True),
        passage_key(skills, False),
    )


def outlook_row(key: bytes) -> str:
    """Return the name of the bank's outlook row of an item, a kind of task or a subject."""
    return MARK + key.hex()


@lru_cache(maxsize=4096)
def rows(subject: str | None) -> tuple[str, ...]:
    """Return the names of the bank's rows of the population (None) or a subject's usual values,
    one per value.
    """
    if subject is None:
        return tuple(f"{MARK}{_SEPARATOR}{field}" for field in Population._fields[:-1])
    places = range(len(USUAL) - 1)
    return tuple(f"{MARK}{_SEPARATOR}{place}{_SEPARATOR}{subject}" for place in places)


def is_shared(row: str) -> bool:
    """Return whether a row of the bank is one of `rows`."""
    return row.startswith(MARK + _SEPARATOR)


def subject_of(row: str) -> str | None:
    """Return the subject whose row this is; None for a row of the population."""
    _, _, *subject = row.split(_SEPARATOR, 2)
    return subject[0] if subject else None


def start_of(subject: str | None) -> Shared:
    """Return the values that a population (None) or a subject starts from."""
    return START if subject is None else USUAL


def shared(subject: str | None, values: Shared) -> Shared:
    """Return values as a `Population` for None, else as a subject's usual values.

    Brains add up what each learned by itself. Where several start a subject at once, or an
    increment is written twice, the sum overshoots; a variance is then 0 until it recovers.
    """
    if subject is None:
        return _crowd(values)
    if min(values[_VARIANCES]) >= 0.0:
        return values
    return (*values[: _VARIANCES.start], *[max(0.0, v) for v in values[_VARIANCES]], values[-1])

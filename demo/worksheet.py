"""Arithmetic tasks for simulated learners: twenty of each skill and difficulty, always the same.
Knows no learner.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

SUBJECT = "math"
SKILLS = ("addition", "multiplication", "fractions", "percentages", "equations")

_EXPLANATIONS = {
    "addition": "Adding in columns: ones under ones, tens under tens; carry what is over nine.",
    "multiplication": "Multiplying in parts: 7 × 14 is 7 × 10 and 7 × 4 together.",
    "fractions": (
        "A fraction of a number: divide by the number below the line, multiply by the one above."
    ),
    "percentages": "Per cent means of a hundred: 30 % of 80 is 80 ÷ 100 × 30.",
    "equations": (
        "What is done to one side of an equation is done to the other, until x stands alone."
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task with its answer and some wrong ones that look right."""

    item_id: str
    skill: str
    level: int
    """Difficulty, 1 (easy) to 5 (hard)."""
    question: str
    answer: str
    distractors: tuple[str, ...]


@cache
def task(skill: str, level: int, number: int) -> Task:
    """Return task `number` of a skill and difficulty; the numbers in it grow with the
    difficulty.
    """
    item_id = f"{skill}-{level}-{number:02}"
    draw = Random(item_id)
    question, answer = _WRITERS[skill](draw, level)
    offsets = draw.sample([offset for offset in (-10, -2, -1, 1, 2, 10) if answer + offset >= 0], 3)
    return Task(
        item_id=item_id,
        skill=skill,
        level=level,
        question=question,
        answer=str(answer),
        distractors=tuple(str(answer + offset) for offset in offsets),
    )


def explanation(skill: str) -> str:
    """Return a text to read about a skill."""
    return _EXPLANATIONS[skill]


def _addition(draw: Random, level: int) -> tuple[str, int]:
    size = (9, 30, 90, 400, 2_000)[level - 1]
    a, b = draw.randint(size // 3, size), draw.randint(size // 3, size)
    return f"{a} + {b} = ?", a + b


def _multiplication(draw: Random, level: int) -> tuple[str, int]:
    a = draw.randint(2, (5, 10, 12, 25, 60)[level - 1])
    b = draw.randint(2, (5, 10, 20, 25, 60)[level - 1])
    return f"{a} × {b} = ?", a * b


def _fractions(draw: Random, level: int) -> tuple[str, int]:
    below = draw.choice(((2,), (2, 4), (3, 4, 5), (5, 6, 8), (7, 9, 12))[level - 1])
    above = 1 if level == 1 else draw.randint(1, below - 1)
    whole = below * draw.randint(2, 4 * level)
    return f"What is {above}/{below} of {whole}?", whole // below * above


def _percentages(draw: Random, level: int) -> tuple[str, int]:
    per_cent = draw.choice(((50, 100), (10, 50), (20, 25), (15, 30, 75), (12, 35, 85))[level - 1])
    whole = 100 * draw.randint(1, 2 + level) if level != 3 else 20 * draw.randint(2, 10)
    return f"What is {per_cent} % of {whole}?", whole * per_cent // 100


def _equations(draw: Random, level: int) -> tuple[str, int]:
    x = draw.randint(1, 4 * level)
    factor = 1 if level < 3 else draw.randint(2, 2 * level)
    added = draw.randint(1, 5 * level)
    left = f"{'' if factor == 1 else factor}x"
    if level == 5:
        other = factor - 1
        return f"{left} + {added} = {other}x + {added + x}. x = ?", x
    return f"{left} + {added} = {factor * x + added}. x = ?", x


_WRITERS = {
    "addition": _addition,
    "multiplication": _multiplication,
    "fractions": _fractions,
    "percentages": _percentages,
    "equations": _equations,
}

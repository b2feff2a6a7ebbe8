"""Tasks are what they say: the answer solves the question."""

from __future__ import annotations

import re
from fractions import Fraction

import pytest

from demo.worksheet import SKILLS, explanation, task

ALL = [
    task(skill, level, number) for skill in SKILLS for level in range(1, 6) for number in range(20)
]


@pytest.mark.parametrize("skill", SKILLS)
def test_every_skill_has_an_explanation(skill: str):
    assert explanation(skill)


def test_distractors_are_never_the_answer_and_never_negative():
    assert all(one.answer not in one.distractors for one in ALL)
    assert all(int(wrong) >= 0 for one in ALL for wrong in one.distractors)


def test_every_answer_solves_its_question():
    wrong = [one for one in ALL if solve(one.question) != int(one.answer)]

    assert wrong == []


def solve(question: str) -> Fraction:
    """Solve a question by reading it, not by how it was made."""
    if match := re.fullmatch(r"(\d+) \+ (\d+) = \?", question):
        return Fraction(int(match[1]) + int(match[2]))
    if match := re.fullmatch(r"(\d+) × (\d+) = \?", question):
        return Fraction(int(match[1]) * int(match[2]))
    if match := re.fullmatch(r"What is (\d+)/(\d+) of (\d+)\?", question):
        return Fraction(int(match[1]), int(match[2])) * int(match[3])
    if match := re.fullmatch(r"What is (\d+) % of (\d+)\?", question):
        return Fraction(int(match[1]), 100) * int(match[2])
    match = re.fullmatch(r"(\d*)x \+ (\d+) = (?:(\d*)x \+ )?(\d+)\.( x = \?)", question)
    assert match, question
    left = int(match[1] or 1)
    right = 0 if match[3] is None else int(match[3] or 1)
    return Fraction(int(match[4]) - int(match[2]), left - right)

"""The pure model of learners: what an interaction changes, what a state means, what to advise.

Values in, values out: no clock, no storage, no transport. `update.apply` is the entry point; this
page exports what other packages use.
"""

from brain_service.model.alerts import QUIET, Crossing, Signs, crossings, signs
from brain_service.model.assessment import Assessment, Performance, assess, mastery_of_all
from brain_service.model.explain import explain
from brain_service.model.interaction import (
    BadInteractionError,
    Interaction,
    interaction_from_context,
)
from brain_service.model.params import VERSION
from brain_service.model.prediction import SkillMastery, Statistics, mastery
from brain_service.model.state import LearnerState
from brain_service.model.update import Increments, Step, apply

__all__ = [
    "QUIET",
    "VERSION",
    "Assessment",
    "BadInteractionError",
    "Crossing",
    "Increments",
    "Interaction",
    "LearnerState",
    "Performance",
    "Signs",
    "SkillMastery",
    "Statistics",
    "Step",
    "apply",
    "assess",
    "crossings",
    "explain",
    "interaction_from_context",
    "mastery",
    "mastery_of_all",
    "signs",
]

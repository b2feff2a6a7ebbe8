"""The frames of the protocol as types; docs/protocol.md says what each field means. A test holds
them against the JSON Schema of the socket.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Frame: TypeAlias = dict[str, Any]
"""Any frame, as JSON has it. Unknown fields of a newer server are kept."""


class Levels(TypedDict):
    """Six levels in [0, 1], or a value per level."""

    cognitive_load: float
    engagement_level: float
    frustration_level: float
    fatigue_level: float
    confidence_level: float
    motivation_level: float


class Words(TypedDict):
    """A word for each level."""

    cognitive_load: str
    engagement_level: str
    frustration_level: str
    fatigue_level: str
    confidence_level: str
    motivation_level: str


class Performance(TypedDict):
    """A summary of the answers so far."""

    accuracy: float
    response_time: float | None
    consistency: float
    improvement_rate: float


class Because(TypedDict):
    """One reason, in the words of a teacher."""

    code: str
    direction: Literal["up", "down"]
    words: str


class Action(TypedDict):
    """A recommendation for machines."""

    code: str
    reason: list[str]
    urgency: str
    because: NotRequired[list[Because]]


class Attention(TypedDict):
    """Who needs help now, who is worth a look."""

    level: Literal["now", "look", "none"]
    code: str
    reason: str
    since: str


class Struggle(TypedDict):
    """The probability that at least two of the next three answers are wrong."""

    probability: float
    usual: float
    because: list[Because]


class TooEarly(TypedDict):
    """Why there are no bands yet."""

    code: str
    needs: int
    sentence: str


class Meaning(TypedDict):
    """What the levels mean for this learner."""

    bands: Words
    usual: Levels
    spread: Levels
    deviation: Levels
    attention: Attention
    struggle: NotRequired[Struggle]
    too_early: NotRequired[TooEarly]


class Crossing(TypedDict):
    """A change that is never skipped silently."""

    name: str
    rising: bool
    value: float
    revision: int


class Mastery(TypedDict):
    """How well a skill is mastered."""

    probability: float
    answers: int
    standard_error: float


class Assessment(TypedDict):
    """What the model says after an interaction."""

    success: bool
    state: Levels
    performance: Performance
    mastery: dict[str, float]
    predicted_correct: float | None
    recommendations: list[str]
    actions: list[Action]
    drivers: dict[str, dict[str, float]]
    confidence: float
    model_version: str
    uncertainty: Levels
    grades: Words
    item_confidence: float
    processing_time: NotRequired[float]
    meaning: NotRequired[Meaning]


class Context(TypedDict, total=False):
    """What the model reads of an interaction's context; other keys are stored."""

    correct: bool | None
    difficulty: float | None
    subject: str | None
    skill: str | list[str] | None
    time_taken: float | None
    hints: int | None
    attempts: int | None
    item_id: str | None


class InteractionData(TypedDict):
    """One thing a learner did."""

    learner_id: str
    type: Literal["question_response", "content_view", "hint_request", "assessment", "practice"]
    content: str
    response: NotRequired[str | None]
    context: NotRequired[Context]
    interaction_id: NotRequired[str | None]
    occurred_at: NotRequired[str | None]
    traceparent: NotRequired[str]


class AdaptData(TypedDict):
    """Content to adapt for a learner."""

    learner_id: str
    content: str
    content_type: str
    target_difficulty: NotRequired[float | None]
    focus_areas: NotRequired[list[str] | None]


class StateUpdate(TypedDict):
    """A learner's state moved; `subscribed` frames, which show the present one, have the same
    fields but for `coalesced`, `crossings` and `trace_id`.
    """

    type: str
    learner_id: str
    state: Levels
    timestamp: str
    epoch: str
    revision: int
    coalesced: int
    crossings: list[Crossing]
    performance: Performance
    recommendations: list[str]
    actions: list[Action]
    occurred_at: str
    meaning: NotRequired[Meaning]
    trace_id: NotRequired[str]


class VirtualBrainResponse(TypedDict):
    """An interaction is committed."""

    type: str
    learner_id: str
    result: Assessment
    timestamp: str
    interaction_id: str
    revision: int
    duplicate: bool
    trace_id: NotRequired[str | None]
    id: NotRequired[str | int | None]


class StateResponse(TypedDict):
    """A learner's present state; null where there is none yet."""

    type: str
    learner_id: str
    state: Levels | None
    performance: Performance | None
    epoch: str
    revision: int
    timestamp: str
    mastery: NotRequired[dict[str, Mastery]]
    recommendations: NotRequired[list[str]]
    actions: NotRequired[list[Action]]
    drivers: NotRequired[dict[str, dict[str, float]]]
    uncertainty: NotRequired[Levels]
    grades: NotRequired[Words]
    confidence: NotRequired[float]
    model_version: NotRequired[str]
    occurred_at: NotRequired[str]
    meaning: NotRequired[Meaning]
    explanations: NotRequired[dict[str, list[Because]]]
    id: NotRequired[str | int | None]


class Change(TypedDict):
    """What was changed in adapted content, and how to undo it."""

    code: str
    description: str
    reason: str
    undo: str


class ContentAdapted(TypedDict):
    """Content in a form that fits the learner."""

    type: str
    learner_id: str
    original_content: str
    adapted_content: str
    timestamp: str
    changes: NotRequired[list[Change]]
    id: NotRequired[str | int | None]

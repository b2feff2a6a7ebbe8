"""The byte layouts of states and assessments of every version, and the steps to today's.

Never change a layout that a build has written: a new field, signal or level makes a new entry. A
changed constant needs none. How to add a field: `docs/model.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate, pairwise
from math import isnan
from struct import Struct
from typing import Any, Final, NamedTuple

Fields = dict[str, Any]
"""A state's fields by name, as they were at some layout; `skills` maps names to packed memories."""


class Field(NamedTuple):
    """A field of fixed size, or a tuple of such values."""

    name: str
    code: str
    """What `struct` calls it."""
    length: int | None = None
    """The number of values; None for a single one, which is not a tuple."""


class StateLayout:
    """The bytes of a state: layout number, constants, fields of fixed size, how many skills and
    items there are; then the skills' memories, the items' keys and counts, and the skills' names.
    """

    def __init__(self, *, signals: tuple[str, ...], fields: tuple[Field, ...], skill: str) -> None:
        """`skill` is the structure of one skill's memory."""
        self.signals = signals
        """The names of the signals, in their order."""
        self.fields = fields
        codes = [f"{each.length or ''}{each.code}" for each in fields]
        self.fixed = Struct("<B8s" + "".join(codes) + "HH")
        self.skill = Struct(skill)
        ends = accumulate([each.length or 1 for each in fields], initial=2)
        self._slices = [slice(*ends_of) for ends_of in pairwise(ends)]

    def read(self, body: bytes) -> tuple[Fields, int, int]:
        """Return the fields by name, and how many skills and items there are.

        Raises `struct.error` when there are too few bytes.
        """
        *values, skills, items = self.fixed.unpack_from(body)
        fields: Fields = {
            field.name: values[place.start] if field.length is None else tuple(values[place])
            for field, place in zip(self.fields, self._slices, strict=True)
        }
        if isnan(fields["response_time"]):
            fields["response_time"] = None
        if not fields.pop("item_known"):
            fields["item"] = None
        return fields, skills, items


_SIGNALS_1: Final = (
    "declared", "demand", "slow", "err", "negsur", "impasse", "help", "fast", "idle", "haste",
    "flow", "expect", "sur1", "dem1", "sur", "rtvar", "engage", "persist",
)  # fmt: skip

_FIELDS_1: Final = (
    Field("revision", "Q"),
    Field("time", "d"),
    Field("session_start", "d"),
    Field("active_s", "d"),
    Field("presence", "d"),
    Field("tank", "d"),
    Field("signals", "d", len(_SIGNALS_1)),
    Field("weights", "d", len(_SIGNALS_1)),
    Field("answers", "Q"),
    Field("streak", "q"),
    Field("fast", "d"),
    Field("mid", "d"),
    Field("slow", "d"),
    Field("total", "d"),
    Field("accuracy", "d"),
    Field("spread", "d"),
    Field("response_time", "d"),  # NaN for none
    Field("time_mean", "d"),
    Field("time_var", "d"),
    Field("time_count", "Q"),
    Field("item_known", "?"),
    Field("item", "8s"),
    Field("attempts", "I"),
    Field("hints", "I"),
    Field("advice", "H"),
)

_FIELDS_2: Final = (
    *_FIELDS_1[:-1],
    Field("advice", "I"),
    Field("level_habits", "48s"),
    Field("habits", "80s"),
    Field("habit_answers", "I"),
    Field("bands", "6s"),
    Field("pending", "72s"),
    Field("recent", "B"),
    Field("logit", "d"),
    Field("rate", "d"),
    Field("causes", "16s"),
    Field("attention", "B"),
    Field("reason", "B"),
    Field("since", "d"),
)


def _with(fields: tuple[Field, ...], *changed: Field) -> tuple[Field, ...]:
    """Return the fields of a layout, some of them of another size."""
    names = {field.name: field for field in changed}
    return tuple(names.get(field.name, field) for field in fields)


_FIELDS_3: Final = _with(_FIELDS_2, Field("pending", "96s"))

STATES: Final[Mapping[int, StateLayout]] = {
    1: StateLayout(
        signals=_SIGNALS_1,
        fields=_FIELDS_1,
        skill="<5dIQb",
    ),
    2: StateLayout(signals=_SIGNALS_1, fields=_FIELDS_2, skill="<5dIQb"),
    # Pending forecasts also name their subject.
    3: StateLayout(signals=_SIGNALS_1, fields=_FIELDS_3, skill="<5dIQb"),
}
"""Every layout of states that was ever written, by its number, the first byte."""
STATE: Final = max(STATES)
"""The layout that is written today."""

Step = Callable[[Fields], Fields]

LEVEL_HABITS_2: Final = Struct("<12f").pack(
    0.75, 0.62, 0.50, 0.65, 0.55, 0.63, 0.077, 0.105, 0.105, 0.063, 0.055, 0.055
)
"""Usual values and spreads of the six levels of anybody, before the first answer."""

STEPS: Final[Mapping[int, Step]] = {
    # A learner's usual values are learned from the next answer on; `rebuild` gets them from the
    # log.
    1: lambda fields: (
        fields
        | {
            "level_habits": LEVEL_HABITS_2,
            "habits": bytes(80),
            "habit_answers": 0,
            "bands": b"\x06" * 6,
            "pending": bytes(72),
            "recent": 0,
            "logit": 0.0,
            "rate": 0.0,
            "causes": bytes(16),
            "attention": 0,
            "reason": 0,
            "since": 0.0,
        }
    ),
    # Pending forecasts are dropped: their subjects are unknown.
    2: lambda fields: fields | {"pending": bytes(96)},
}
"""Steps from one layout's fields to the next one's, by the number of the older."""


def todays(
    fields: Fields, layout: int, steps: Mapping[int, Step] = STEPS, today: int = STATE
) -> Fields:
    """Convert the fields of a state from its layout to today's, step by step."""
    for number in range(layout, today):
        fields = steps[number](fields)
    return fields


class AssessmentLayout:
    """The bytes of an assessment: levels with drivers and evidence, performance and lists, and what
    the levels mean.
    """

    def __init__(
        self, drivers: Mapping[str, tuple[str, ...]], meaning: str = "", *, short: bool = False
    ) -> None:
        """`drivers` are the names of each level's, levels and drivers in their order; `meaning` is
        the structure of what follows the lists, empty where nothing does.

        In `short` layouts numbers are stored separately; see `codec`.
        """
        self.names = tuple(drivers)
        self.drivers = tuple(drivers.values())
        count, total = len(self.names), sum(map(len, self.drivers))
        self.short = short
        if short:
            self.fixed = Struct("<BIdBBB")
            ends = accumulate([*map(len, self.drivers), count], initial=0)
            *self.contributions, self.evidence = (slice(*each) for each in pairwise(ends))
            self.levels = slice(0, count)
            self.meaning = Struct(meaning)
            return
        self.fixed = Struct(f"<BQd{count}d{total}d{count}d4ddBHB")
        ends = accumulate([count, *map(len, self.drivers), count], initial=3)
        self.levels, *self.contributions, self.evidence = (slice(*each) for each in pairwise(ends))
        """Where they lie among the fixed values."""
        self.meaning = Struct(meaning)


_DRIVERS_1: Final = {
    "cognitive_load": ("declared", "demand", "slow", "err"),
    "frustration_level": ("err", "declared", "negsur", "impasse", "help"),
    "confidence_level": ("sur", "demand", "err", "slow"),
    "item_confidence": ("sur", "sur1", "dem1", "slow"),
    "engagement_level": ("idle", "fast", "help", "err", "slow", "flow"),
    "fatigue_level": ("load", "tank", "rtvar"),
    "motivation_level": ("expect", "engage", "persist", "presence", "cost"),
}

ASSESSMENTS: Final[Mapping[int, AssessmentLayout]] = {
    1: AssessmentLayout(_DRIVERS_1),
    # Bands, habits of levels, answers behind them, evidence, logit, rate, causes, attention,
    # reason, failures, since.
    2: AssessmentLayout(_DRIVERS_1, meaning="<6s48sIddd16sBBId"),
    # Numbers apart: bands, answers, attention, reason, failures, since.
    3: AssessmentLayout(_DRIVERS_1, meaning="<6sIBBHI", short=True),
}
"""Every layout of assessments that was ever written, by its number, the first byte."""
ASSESSMENT: Final = max(ASSESSMENTS)
"""The layout that is written today."""

Estimates = tuple[tuple[float, ...], tuple[tuple[float, ...], ...], tuple[float, ...]]
"""Levels, the contributions of each one's drivers, and evidence."""


def renamed(
    old: AssessmentLayout, estimates: Estimates, new: AssessmentLayout, bases: Mapping[str, float]
) -> Estimates:
    """Convert an older assessment's values to a newer layout.

    A new driver contributed nothing. A new level is at its base without evidence, as for an unknown
    learner. Removed ones are left out.
    """
    told, contributions, evidence = estimates
    levels = {**bases, **dict(zip(old.names, told, strict=True))}
    weights = dict(zip(old.names, evidence, strict=True))
    parts = {
        (name, driver): part
        for name, drivers, values in zip(old.names, old.drivers, contributions, strict=True)
        for driver, part in zip(drivers, values, strict=True)
    }
    return (
        tuple([levels[name] for name in new.names]),
        tuple(
            [
                tuple([parts.get((name, driver), 0.0) for driver in drivers])
                for name, drivers in zip(new.names, new.drivers, strict=True)
            ]
        ),
        tuple([weights.get(name, 0.0) for name in new.names]),
    )

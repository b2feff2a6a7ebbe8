"""One line of the evaluation: a figure, the target it is held against, and what others reach."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the table."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    reference: str = "–"
    """What the plain reference calculation of the model's design found."""
    baselines: dict[str, float] = field(default_factory=dict)
    """The same figure for simpler models."""
    note: str = ""
    judged: bool = True
    """False where only a sample was looked at."""
    digits: int = 3

    @property
    def passed(self) -> bool | None:
        """Whether the target was met; None where there is none, or only a sample."""
        if not self.judged or (self.at_least is None and self.at_most is None):
            return None
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

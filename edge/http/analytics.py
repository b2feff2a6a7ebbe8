"""What sums of recorded messages look like in the HTTP API."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class AnalyticsRow(BaseModel):
    """The messages of one interval, type, role and direction."""

    start: datetime = Field(description="Beginning of the interval, UTC.")
    type: str = Field(
        description="Type of the frames; `unknown` for what was not understood.", examples=["ping"]
    )
    role: str = Field(
        description="Role of their users; empty before authentication.", examples=["learner"]
    )
    direction: Literal["inbound", "outbound"] = Field(description="From or to the browser.")
    count: int = Field(description="Messages.")
    errors: int = Field(description="Those that were answered with an error, or were that error.")
    bytes: int = Field(description="Bytes of their payloads.")
    answered: int = Field(
        description="Those with a latency: frames of browsers that were answered."
    )
    average_ms: float = Field(
        description="Of the latency, from receiving a frame to writing its answer; 0 for none."
    )
    p50_ms: float = Field(description="Median of the latency.")
    p95_ms: float = Field(description="95th percentile of the latency.")
    p99_ms: float = Field(description="99th percentile of the latency.")
    max_ms: float = Field(description="Longest latency.")


class Analytics(BaseModel):
    """Sums of recorded messages; intervals without messages have no row."""

    from_: datetime = Field(
        alias="from", description="The range that was used: `from` rounded down to a minute."
    )
    to: datetime = Field(description="`to`, exclusive, rounded up to a minute.")
    interval_s: int = Field(description="Seconds of each row.")
    rows: list[AnalyticsRow] = Field(description="By start, type, role and direction.")

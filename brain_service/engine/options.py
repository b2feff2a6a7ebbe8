"""Limits and intervals of the engine; `__main__` reads them from the settings."""

from __future__ import annotations

from dataclasses import dataclass

from brain_service.engine.teaching import TeachingOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """Limits and intervals of an engine."""

    max_batch: int = 256
    """Interactions per commit: more save little, and the first would wait for the last."""
    max_pending: int = 8192
    """Interactions waiting; above it new ones are refused as overloaded."""
    cache_learners: int = 20_000
    """Learners kept in memory, least recently used dropped first."""
    recent_ids: int = 8192
    """Answers remembered in memory, so that a prompt resend costs no read."""
    quota_a_day: int = 0
    """Interactions that one learner may add in a day, see `quota_price`; 0 for any number."""
    max_age_s: float | None = 7 * 86_400.0
    """How far back `occurred_at_ms` may lie; None for any distance."""
    bank_flush_s: float = 1.0
    """How often the shared bank's increments join a commit at most; a crash loses this much
    learning.
    """
    bank_refresh_s: float = 30.0
    """How often items learned here are reread, for what other brains learned."""
    teaching: TeachingOptions = TeachingOptions()
    """Who may teach the shared bank how much, and what it keeps."""
    log_days: float = 0.0
    """Days that an interaction stays in the log; 0 for ever."""
    erasure_check_s: float = 1.0
    """How often the audit log is read for erasures and rebuilds by other processes."""

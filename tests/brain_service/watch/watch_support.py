"""A log in memory for watches, whose bus can lose, delay and repeat messages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from brain_service.engine.publication import Publication
from brain_service.engine.submission import HistoryEntry, LearnerSnapshot
from brain_service.watch.watch import Batch, Watch

EPOCH = "epoch-1"


class Log:
    """A store in memory: `apply` commits, and what it returns may or may not be published."""

    def __init__(self) -> None:
        self.rows: dict[str, list[HistoryEntry]] = {}
        self.kept: dict[str, int] = {}
        """After which revisions logs are kept."""
        self.epoch = EPOCH
        self.broken = False
        self.error: Exception = OSError("the disk is away")
        self.reads = 0
        self.gate: asyncio.Event | None = None

    def apply(self, learner_id: str) -> Publication:
        rows = self.rows.setdefault(learner_id, [])
        revision = len(rows) + 1
        assessment: Any = f"assessment-{revision}"
        rows.append(
            HistoryEntry(
                revision=revision,
                interaction_id=f"i-{revision}",
                kind="practice",
                content="",
                response=None,
                context_json=b"{}",
                occurred_at_ms=revision,
                received_at_ms=revision,
                traceparent=f"trace-{revision}",
                assessment=assessment,
                crossings=(),
            )
        )
        return Publication(learner_id, revision, assessment, (), f"trace-{revision}", revision)

    def erase(self, learner_id: str) -> Publication:
        self.rows.pop(learner_id, None)
        return Publication(learner_id, 0, None, (), "", 0, gone=True)

    async def snapshots(self, queries: Sequence[tuple[str, int]]) -> list[LearnerSnapshot]:
        found = [self._snapshot(learner_id) for learner_id, _ in queries]
        await self._pass()
        return found

    async def history(
        self, learner_id: str, *, after_revision: int = 0, limit: int = 100, newest: bool = False
    ) -> tuple[Sequence[HistoryEntry], bool]:
        self.reads += 1
        after = max(after_revision, self.kept.get(learner_id, 0))
        rows = self.rows.get(learner_id, [])[after : after + limit]
        await self._pass()
        return rows, False

    async def kept_after(self, learner_ids: Sequence[str]) -> dict[str, int]:
        return {learner: self.kept[learner] for learner in learner_ids if learner in self.kept}

    async def revisions(self, learner_ids: Sequence[str]) -> dict[str, int]:
        found = {
            learner_id: len(self.rows[learner_id])
            for learner_id in learner_ids
            if learner_id in self.rows
        }
        await self._pass()
        return found

    async def _pass(self) -> None:
        if self.broken:
            raise self.error
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)

    def _snapshot(self, learner_id: str) -> LearnerSnapshot:
        rows = self.rows.get(learner_id, [])
        assessment = rows[-1].assessment if rows else None
        return LearnerSnapshot(
            learner_id=learner_id,
            revision=len(rows),
            state=None,
            assessment=assessment,
            occurred_at_ms=0,
        )


def told(batch: Batch) -> list[tuple[str, int, int]]:
    return [
        (update.publication.learner_id, update.publication.revision, update.coalesced)
        for update in batch.updates
    ]


async def take(watch: Watch) -> list[tuple[str, int, int]]:
    async with asyncio.timeout(5):
        return told(await watch.take())


def idle(watch: Watch) -> bool:
    return not watch.due

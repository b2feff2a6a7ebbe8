"""A process that submits without end and prints each id once it is acknowledged;
`test_engine_crash` kills it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from brain_service.engine.engine import Applied
from tests.brain_service.engine.engine_support import Brain, running, submission


async def learn(brain: Brain, learner_id: str, run: str) -> None:
    for n in range(100_000):
        batch = [submission(learner_id, f"{run}-{learner_id}-{n}-{k}") for k in range(1 + n % 4)]
        for sent, result in zip(batch, await brain.apply(*batch, batch[0]), strict=False):
            if isinstance(result, Applied):
                sys.stdout.write(f"{learner_id} {result.revision} {sent.interaction_id}\n")
                sys.stdout.flush()


async def main(path: Path, run: str) -> None:
    async with (
        running(path, clock=time.time, bank_flush_s=0.01) as brain,
        asyncio.TaskGroup() as tasks,
    ):
        for n in range(8):
            tasks.create_task(learn(brain, f"l{n}", run))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

"""The hostile side, in a process of its own so that it disturbs no measurement: reads a plan from
standard input, prints what became of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

import uvloop

from siege.honest import Person
from siege.kinds import KINDS, Kind
from siege.wire import EndedError, Front, Line, Wire

YIELD = 10
"""How much this process gives way: it shares a core with the honest side, which measures."""

AGAIN_S = 0.001
"""Before the next connection; nobody is quicker over a real network."""


async def besiege(front: Front, kinds: list[Kind], *, clients: int, seconds: float) -> None:
    """Let so many clients attack at the same time, each kind in turn, for so long."""
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_one(front, kinds[number % len(kinds)], number))
            for number in range(clients)
        ]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()


async def _one(front: Front, kind: Kind, number: int) -> None:
    while True:
        wire = Wire(front, number)
        try:
            await kind.attack(wire)
        except (EndedError, TimeoutError):
            pass
        finally:
            wire.close()
        await asyncio.sleep(AGAIN_S)


async def _run(given: dict[str, Any]) -> dict[str, Any]:
    front = Front(
        port=given["port"],
        line=Line(given["mbit_per_s"] * 1e6 / 8),
        source=given["source"],
        people=tuple(Person(**one) for one in given["people"]),
        one_user=len(given["kinds"]) == 1 and KINDS[given["kinds"][0]].one_user,
    )
    kinds = [KINDS[name] for name in given["kinds"]]
    await besiege(front, kinds, clients=given["clients"], seconds=given["seconds"])
    return {
        "sent_mb": front.line.sent / 1e6,
        "opened": front.opened,
        "outcomes": dict(front.outcomes.most_common()),
    }


def main() -> int:
    """Run the plan."""
    os.nice(YIELD)
    print(json.dumps(uvloop.run(_run(json.load(sys.stdin)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A storm: all sockets are cut in one moment and come back the way browsers do. How long until each
is authenticated, subscribed again and shown the newest state?
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Final

from bench.measure import Figures, Meter
from bench.target import LoadError, Target, ask, close_sockets, open_socket, open_sockets
from harness import traffic
from harness.websocket import Socket, json_frame

LEAST_WAIT_S, MOST_WAIT_S = 0.5, 30.0
"""How long the client of `web/` waits before it comes back, at least and at most."""
_WRITTEN: Final = 100
"""Answers of one learner while the crowd is away."""
_PATIENCE_S: Final = 120.0


async def storm(target: Target, *, sockets: int) -> Figures:
    """Cut `sockets` sockets that each watch a learner. An operation is a socket that is back and
    current, its latency counts from the cut; `back_s` is that of the last one.

    Raises LoadError when one is shown less than was acknowledged before, or does not come
    back within two minutes.
    """
    writer = await open_socket(target, 0)
    away = await open_sockets(target, sockets)
    returned: list[Socket] = []
    try:
        for number, socket in enumerate(away):
            await _watch(target, socket, number)
        meter = Meter(target.processes, target.on_measuring)
        crowd = _Crowd(target, meter, returned)
        meter.start()
        for socket in away:
            socket.transport.abort()
        cut = time.perf_counter()
        writing = asyncio.create_task(crowd.write(writer))
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(crowd.come_back(number, cut) for number in range(sockets)))
        except TimeoutError:
            raise LoadError(
                f"{target.name}: {sockets - len(returned)} of {sockets} sockets are not back after"
                f" {_PATIENCE_S:g} s"
            ) from None
        await writing
        figures = meter.stop()
        del figures["rate"]
        figures["back_s"] = max(meter.latencies)
        figures["attempts"] = crowd.attempts / sockets
        return figures
    finally:
        await close_sockets([*away, *returned, writer])


@dataclass(slots=True)
class _Crowd:
    """Everybody who comes back, and what they must be shown."""

    target: Target
    meter: Meter
    returned: list[Socket]
    attempts: int = 0
    acknowledged: dict[int, int] = field(default_factory=dict)
    """The newest revision told to its writer, by the number of the learner."""
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    async def come_back(self, number: int, cut: float) -> None:
        """Connect after a wait that doubles with every failure, as browsers do, and watch again."""
        ceiling_s = 2 * LEAST_WAIT_S
        while True:
            await asyncio.sleep(self.chance.uniform(LEAST_WAIT_S, ceiling_s))
            ceiling_s = min(MOST_WAIT_S, 2 * ceiling_s)
            self.attempts += 1
            try:
                socket = await open_socket(self.target, number)
            except LoadError:
                continue
            known = self.acknowledged.get(number % len(self.target.learners), 0)
            self.returned.append(socket)
            shown = await _watch(self.target, socket, number)
            if shown is not None and shown < known:
                raise LoadError(
                    f"{self.target.name} showed socket {number} revision {shown} of a learner whose"
                    f" revision {known} it had acknowledged"
                )
            self.meter.done(time.perf_counter() - cut)
            return

    async def write(self, writer: Socket) -> None:
        """Let the first learner answer while the crowd is away."""
        frames = traffic.Interactions(self.target.learner(0)).frame
        for number in range(_WRITTEN):
            answer = json.loads(await ask(self.target, writer, frames(number), traffic.RESPONSE))
            self.acknowledged[0] = answer["result"].get("revision", 0)


async def _watch(target: Target, socket: Socket, number: int) -> int | None:
    """Subscribe a socket to its learner and return the revision that it is shown, where the server
    tells one.
    """
    request = {"type": "subscribe_learner", "learner_id": target.learner(number), "id": "1"}
    answer = json.loads(await ask(target, socket, json_frame(request), traffic.SUBSCRIBED))
    revision: int | None = answer.get("revision")
    return revision

"""A class of simulated learners, each at an own socket of a running system, at the pace of people.

`python -m demo.classroom --url http://127.0.0.1:8000 --users .aivo/demo-users.json` runs it until
SIGINT or SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from aivo_client import AivoClient, AivoError, ClosedError
from aivo_client.frames import InteractionData
from demo.simulator import Action, Mind, Pupil, act, fresh_mind, make_pupil, past, rest
from demo.users import LOAD_TEST, Person, UsersFileError, read_users
from harness.client import Account, DisconnectedError, RefusedError
from service_runtime import logs

logger = logging.getLogger("demo.classroom")

SETTLING_S = 8.0
"""Learners sit down one after the other within so many seconds."""
ASK_AGAIN_S = 1.0


class Seat:
    """One learner's place: the connection and the mind."""

    def __init__(
        self, url: str, account: Account, pupil: Pupil, *, pace: float, past_days: int = 0
    ) -> None:
        """`pace` divides all waiting; 1 is people's. A learner without any history yet has worked
        on each of the last `past_days` days, and just before now.
        """
        self.pupil = pupil
        self.mind = fresh_mind(pupil)
        self.acknowledged = 0
        self._account = account
        self._client = AivoClient(url, token=self._token, token_refused=account.rejected)
        self._pace = pace
        self._past_days = past_days

    async def learn(self) -> None:
        """Go on until cancelled; raises AivoError when the server does not want this learner."""
        await asyncio.sleep(random.uniform(0, SETTLING_S) / self._pace)  # noqa: S311 - not a secret
        async with self._client:
            await self._remember()
            while True:
                before = time.monotonic()
                self.mind, action = act(self.pupil, self.mind)
                await asyncio.sleep((action.pause_s + action.takes_s) / self._pace)
                await self._tell(action)
                self.mind = rested(self.mind, time.monotonic() - before, action, self._pace)

    async def _token(self) -> str:
        try:
            return await self._account.token()
        except RefusedError as refusal:
            raise ClosedError("refused", str(refusal)) from None
        except DisconnectedError as trouble:
            after_s = trouble.retry_after_s
            raise AivoError("unavailable", retryable=True, retry_after_s=after_s) from None

    async def _remember(self) -> None:
        """Record what was done before today, unless that was recorded already."""
        if not self._past_days or await self._is_known():
            return
        began = time.time()
        for ago_s, mind, action in past(self.pupil, self.mind, self._past_days):
            self.mind = mind
            await self._tell(action, occurred_at=began - ago_s)

    async def _is_known(self) -> bool:
        while True:
            try:
                answer = await self._client.get_state(self.pupil.learner_id)
                return answer["state"] is not None
            except AivoError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(error.retry_after_s or ASK_AGAIN_S)

    async def _tell(self, action: Action, occurred_at: float | None = None) -> None:
        """Wait until an interaction is recorded."""
        data = {
            "learner_id": self.pupil.learner_id,
            "type": action.kind,
            "content": action.content,
            "context": action.context,
        }
        if action.response is not None:
            data["response"] = action.response
        if occurred_at is not None:
            data["occurred_at"] = datetime.fromtimestamp(occurred_at, UTC).isoformat()
        await self._client.interact(cast(InteractionData, data))
        self.acknowledged += 1


def rested(mind: Mind, elapsed_s: float, action: Action, pace: float) -> Mind:
    """Return the mind after waiting for answers or connections longer than the action
    itself took.
    """
    return rest(mind, max(0.0, elapsed_s * pace - action.pause_s - action.takes_s))


class EmptyClassError(Exception):
    """No learner is left in the class."""


async def teach(
    http_url: str, people: Sequence[Person], *, seed: int, pace: float, past_days: int = 0
) -> None:
    """Run the class until cancelled; a learner who is refused leaves with a warning, the others go
    on. Raises EmptyClassError when all have left.
    """
    ws_url = http_url.replace("http", "ws", 1).rstrip("/") + "/ws"
    seats = [
        Seat(
            ws_url,
            Account(http_url, person.email, person.password),
            make_pupil(person.learners[0], seed),
            pace=pace,
            past_days=past_days,
        )
        for person in people
        if person.role == "learner" and person.email != LOAD_TEST
    ]
    logger.info("the class begins", extra={"learners": len(seats), "seed": seed})

    async def sit(seat: Seat) -> None:
        try:
            await seat.learn()
        except AivoError as refusal:
            logger.warning(
                "a learner left",
                extra={"learner_id": seat.pupil.learner_id, "reason": str(refusal)},
            )

    try:
        async with asyncio.TaskGroup() as group:
            for seat in seats:
                group.create_task(sit(seat))
    finally:
        logger.info(
            "the class ends", extra={"acknowledged": sum(seat.acknowledged for seat in seats)}
        )
    raise EmptyClassError("no learner is left in the class")


async def _until_signalled(arguments: argparse.Namespace) -> None:
    work = asyncio.create_task(
        teach(
            arguments.url,
            read_users(arguments.users),
            seed=arguments.seed,
            pace=arguments.pace,
            past_days=arguments.past_days,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        logger.info("stopped")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a class from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.classroom", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--url", default="http://127.0.0.1:8000", help="where the edge is (default: %(default)s)"
    )
    parser.add_argument(
        "--users", type=Path, default=Path(".aivo/demo-users.json"), help="who logs in"
    )
    parser.add_argument("--seed", type=int, default=1, help="another number makes other learners")
    parser.add_argument(
        "--pace", type=float, default=1.0, help="how many times faster than people (default: 1)"
    )
    parser.add_argument(
        "--past-days",
        type=int,
        default=0,
        help="days on which a learner of whom nothing is known has worked already, and in the"
        " minutes before now; at most 6 (default: 0)",
    )
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.past_days <= 6:
        parser.error("--past-days must be from 0 to 6: the server takes nothing older than a week")
    if arguments.pace <= 0:
        parser.error("--pace must be above 0")
    if not arguments.url.startswith(("http://", "https://")):
        parser.error(f"--url must be like http://127.0.0.1:8000, not {arguments.url!r}")
    if not arguments.users.exists():
        parser.error(f"--users: there is no {arguments.users}; `make run` makes one")
    logs.setup("classroom")
    try:
        asyncio.run(_until_signalled(arguments))
    except (UsersFileError, EmptyClassError) as refusal:
        logger.error("%s", refusal)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

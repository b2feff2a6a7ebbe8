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

from demo.simulator import Action, Mind, Pupil, act, fresh_mind, make_pupil, past, rest
from demo.users import LOAD_TEST, Person, UsersFileError, read_users
from harness.client import (
    Account,
    DisconnectedError,
    Frame,
    RefusedError,
    Socket,
    TokenSource,
    backoff_s,
    open_socket,
    uuid7,
)
from service_runtime import logs

logger = logging.getLogger("demo.classroom")

ANSWER_TIMEOUT_S = 15.0
SETTLING_S = 8.0
"""Learners sit down one after the other within so many seconds."""
PING_AFTER_S = 25.0
MAX_RETRIES = 20


class Seat:
    """One learner's place: the socket, the mind, and what is not yet acknowledged."""

    def __init__(
        self, url: str, tokens: TokenSource, pupil: Pupil, *, pace: float, past_days: int = 0
    ) -> None:
        """`pace` divides all waiting: 1 is that of people. A learner of whom nothing is known yet
        has worked on each of the last `past_days` days, and just before now.
        """
        self.pupil = pupil
        self.mind = fresh_mind(pupil)
        self.acknowledged = 0
        self._url = url
        self._tokens = tokens
        self._pace = pace
        self._past_days = past_days
        self._socket: Socket | None = None

    async def learn(self) -> None:
        """Go on until cancelled; raises RefusedError when the server does not want this learner."""
        try:
            await asyncio.sleep(random.uniform(0, SETTLING_S) / self._pace)  # noqa: S311 - not a secret
            await self._remember()
            while True:
                before = time.monotonic()
                self.mind, action = act(self.pupil, self.mind)
                await self._spend(action.pause_s + action.takes_s)
                await self._tell(action)
                self.mind = rested(self.mind, time.monotonic() - before, action, self._pace)
        finally:
            if self._socket is not None:
                await self._socket.close()

    async def _remember(self) -> None:
        """Tell what was done before today, unless that was told already."""
        if not self._past_days or await self._is_known():
            return
        began = time.time()
        for ago_s, mind, action in past(self.pupil, self.mind, self._past_days):
            self.mind = mind
            await self._tell(action, occurred_at=began - ago_s)

    async def _is_known(self) -> bool:
        for attempt in range(MAX_RETRIES):
            try:
                socket = await self._connected()
                await socket.send(
                    {"type": "get_state", "id": "known", "learner_id": self.pupil.learner_id}
                )
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await self._answer(socket, "known")
            except (DisconnectedError, TimeoutError) as trouble:
                await self._lost(trouble)
                await asyncio.sleep(_delay_s(trouble, attempt))
                continue
            if answer["type"] == "state_response":
                return answer["state"] is not None
            await asyncio.sleep(backoff_s(attempt))
        return True

    async def _spend(self, seconds: float) -> None:
        """Let time pass, keeping the connection alive and its frames read."""
        deadline = time.monotonic() + seconds / self._pace
        while (left := deadline - time.monotonic()) > 0:
            if self._socket is None:
                await asyncio.sleep(left)
                return
            try:
                async with asyncio.timeout(min(left, PING_AFTER_S)):
                    while True:
                        await self._socket.receive()
            except TimeoutError:
                if left > PING_AFTER_S:
                    await self._send({"type": "ping"})
            except DisconnectedError as gone:
                await self._lost(gone)

    async def _tell(self, action: Action, occurred_at: float | None = None) -> None:
        """Send an interaction until it is acknowledged; a resend under the same id is harmless."""
        data: Frame = {
            "learner_id": self.pupil.learner_id,
            "type": action.kind,
            "content": action.content,
            "context": action.context,
            "interaction_id": uuid7(),
        }
        if action.response is not None:
            data["response"] = action.response
        if occurred_at is not None:
            data["occurred_at"] = datetime.fromtimestamp(occurred_at, UTC).isoformat()
        frame = {"type": "virtual_brain_interact", "id": data["interaction_id"], "data": data}
        for attempt in range(MAX_RETRIES):
            try:
                socket = await self._connected()
                await socket.send(frame)
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    answer = await self._answer(socket, frame["id"])
            except (DisconnectedError, TimeoutError) as trouble:
                await self._lost(trouble)
                await asyncio.sleep(_delay_s(trouble, attempt))
                continue
            if answer["type"] == "virtual_brain_response":
                self.acknowledged += 1
                return
            if not answer.get("retryable"):
                raise RefusedError(f"{answer.get('code')}: {answer.get('error')}")
            await asyncio.sleep(
                max(backoff_s(attempt), float(answer.get("retry_after_ms") or 0) / 1000)
            )
        logger.warning("an interaction was given up", extra={"learner_id": self.pupil.learner_id})

    async def _answer(self, socket: Socket, request_id: str) -> Frame:
        while True:
            frame = await socket.receive()
            if frame.get("id") == request_id:
                return frame

    async def _connected(self) -> Socket:
        if self._socket is None:
            self._socket = await open_socket(self._url, self._tokens)
        elif _seconds_until(self._socket.established["expires_at"]) < 60:
            await self._renew(self._socket)
        return self._socket

    async def _renew(self, socket: Socket) -> None:
        """Replace the token in place, before the server would end the socket."""
        request_id = uuid7()
        await socket.send(
            {"type": "authenticate", "id": request_id, "token": await self._tokens.token()}
        )
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = await self._answer(socket, request_id)
        if answer["type"] != "authenticated":
            raise DisconnectedError(f"the new token was not accepted: {answer.get('code')}")
        socket.established["expires_at"] = answer["expires_at"]

    async def _send(self, frame: Frame) -> None:
        if self._socket is not None:
            try:
                await self._socket.send(frame)
            except DisconnectedError as gone:
                await self._lost(gone)

    async def _lost(self, why: Exception) -> None:
        logger.info(
            "connection lost", extra={"learner_id": self.pupil.learner_id, "reason": str(why)}
        )
        if self._socket is not None:
            await self._socket.close()
            self._socket = None


def rested(mind: Mind, elapsed_s: float, action: Action, pace: float) -> Mind:
    """Return the mind after waiting for answers or connections longer than the action
    itself took.
    """
    return rest(mind, max(0.0, elapsed_s * pace - action.pause_s - action.takes_s))


def _delay_s(trouble: Exception, attempt: int) -> float:
    told = trouble.retry_after_s if isinstance(trouble, DisconnectedError) else None
    return backoff_s(attempt) if told is None else told


def _seconds_until(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp() - time.time()


async def teach(
    http_url: str, people: Sequence[Person], *, seed: int, pace: float, past_days: int = 0
) -> None:
    """Run the class until cancelled; a learner who is refused leaves with a warning, the others go
    on.
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
        except RefusedError as refusal:
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
    raise RefusedError("no learner is left in the class")


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
    except (UsersFileError, RefusedError) as refusal:
        logger.error("%s", refusal)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

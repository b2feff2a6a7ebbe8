"""One client of the load test: requests that scenarios ask for, what became of them, and what was
shown.

The product's client (`aivo-client`) decides when to send, when to come back and where to resume.
Times and counts (for the tally) and promises (for the verdict) are of what went over the socket:
neither takes the client's word for what was sent, answered or shown.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aivo_client import Config, Waiting, uuid7
from aivo_client.transport import now
from aivo_client.wishes import LEARNER
from harness import traffic
from tests.load.rim import Frame, Rim, Target
from tests.load.tally import INTERACT, PING, READ, SelfCheck, Tally
from tests.load.verdict import DUPLICATED, LOST, Verdict, View, Writes

GREETING_TIMEOUT_S: Final = 15.0
_NEVER_S: Final = 1e9
_ANSWERS: Final = {"pong": PING, "virtual_brain_response": INTERACT, "state_response": READ}

_CONFIG: Final = Config(
    min_delay_s=0.02,
    max_delay_s=5.0,
    stable_s=0.0,
    attempt_s=GREETING_TIMEOUT_S,
    answer_s=_NEVER_S,  # sent again on the same socket, an answer that is lost would be hidden
    max_in_flight=1_000,
    pace=0.9,
    queue_items=1_000_000,
)
_SLOW: Final = replace(_CONFIG, heartbeat_s=_NEVER_S, pong_s=_NEVER_S)
"""Who leaves everything unread for a while must not take the server for dead."""


class RefusedError(Exception):
    """The server would not have this client; the message says why."""


@dataclass(slots=True, kw_only=True)
class Run:
    """What all clients of one run share."""

    target: Target
    tally: Tally = field(default_factory=Tally)
    verdict: Verdict = field(default_factory=Verdict)
    self_check: SelfCheck = field(default_factory=SelfCheck)
    writes: Writes = field(init=False)

    def __post_init__(self) -> None:
        """Let writes be judged by the same verdict."""
        self.writes = Writes(self.verdict)


@dataclass(slots=True, eq=False)
class Request:
    """What a scenario asked for."""

    kind: str
    due: float
    id: str
    sends: int = 0
    owed: bool = False
    """Whether the server has it, and owes an answer."""
    refused: bool = False
    """Whether the last answer was an error for now."""
    revision: asyncio.Future[int | None] | None = None
    """Of a read that is no part of the load: gets the answer, None for an error."""


class Client:
    """One client. It acts for `drives`, if any, and watches the learners of `watches` (True: every
    revision).
    """

    def __init__(
        self,
        run: Run,
        number: int,
        *,
        token: str,
        drives: str | None,
        watches: dict[str, bool],
        slow: bool = False,
    ) -> None:
        self.number = number
        self.drives = drives
        self.slow = slow
        self.greeting: Frame | None = None
        """The last `connection_established`; None while not connected."""
        self.stayed_away = False
        """True when the server does not want this client back."""
        self._run = run
        self._watches = watches
        name = f"client {number}"
        seen = watches if drives is None else {drives: False} | watches
        self._views = {
            one: View(run.verdict, name, one, every=every) for one, every in seen.items()
        }
        self._interactions = traffic.Interactions(drives) if drives is not None else None
        self._rim = Rim(run.target, token, _SLOW if slow else _CONFIG, self)
        self._machine = self._rim.machine
        self._first: asyncio.Future[None] | None = None
        self._lost_at = 0.0
        self._numbers = itertools.count(1)
        self._requests: dict[str, Request] = {}
        """All that are not answered."""
        self._kept: deque[Request] = deque()
        """Pings and reads that wait for a connection."""
        self._own: set[str] = set()
        """Frames of the client's own that the server has yet to answer on this socket."""

    # Connecting

    async def open(self) -> None:
        """Connect, authenticate and subscribe; later it comes back by itself. Raises
        RefusedError.
        """
        self._first = asyncio.get_running_loop().create_future()
        for learner_id, every in self._watches.items():
            mode = "every" if every else "latest"
            self._rim.do(self._machine.want(LEARNER, learner_id, *now(), mode=mode))
        self._rim.do(self._machine.connect(*now()))
        await self._first

    def cut(self) -> None:
        """Lose the socket on purpose; what was under way is sent again."""
        if self.greeting is not None:
            self._run.tally.cuts += 1
            self._rim.cut()

    def read(self, yes: bool) -> None:
        """Take frames from the socket, or leave them there."""
        if self.greeting is not None:
            self._rim.read(yes)

    def opened(self, greeting: Frame) -> None:
        """Take note, and send what waited."""
        self.greeting = greeting
        if self._first is not None:
            self._first.set_result(None)
            self._first = None
        else:
            self._run.tally.reconnect.record(time.perf_counter() - self._lost_at)
        asyncio.get_running_loop().call_soon(self._send_kept)

    def broke(self, close_code: int) -> None:
        """Count it."""
        self._run.tally.closes[str(close_code)] += 1

    def lost(self, why: str, *, for_good: bool) -> None:
        """Nothing is owed on a socket that is no more; a first attempt is also the last."""
        if self.greeting is not None:
            self._lost_at = time.perf_counter()
            self.stayed_away = for_good
        elif self._first is None:
            self._run.tally.errors[f"reconnect: {why}"] += 1
        self.greeting = None
        self._own.clear()
        for request in self._requests.values():
            request.owed = False
        for view in self._views.values():
            view.reconnected()
        if self._first is not None:
            first, self._first = self._first, None
            first.set_exception(RefusedError(why))
        elif not for_good:
            return
        asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._rim.do(self._machine.disconnect(*now()))

    # Requests

    def request(self, kind: str, due: float) -> None:
        """Send a request that is due (perf_counter), as soon as socket and limits allow."""
        self._run.tally.requested += 1
        request = self._ask(kind, due)
        if request.sends:
            self._run.self_check.late.record(time.perf_counter() - due)
        elif self.greeting is not None:
            self._run.tally.held_back += 1

    def ask_revision(self) -> asyncio.Future[int | None]:
        """Read where the own learner stands, outside of the load; None when the server gives an
        error.
        """
        answer: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._ask(READ, time.perf_counter(), answer)
        return answer

    def _ask(
        self, kind: str, due: float, revision: asyncio.Future[int | None] | None = None
    ) -> Request:
        id = uuid7() if kind == INTERACT else str(next(self._numbers))
        request = self._requests[id] = Request(kind, due, id, revision=revision)
        if kind == INTERACT:
            assert self._interactions is not None
            data = self._interactions.data(next(self._numbers)) | {"interaction_id": id}
            item = Waiting(data=data, queued_at=time.time())
            self._rim.do(self._machine.interact(item, *now()))
        else:
            self._send(request)
        return request

    def _send(self, request: Request) -> None:
        if not self._machine.is_open:
            self._kept.append(request)
            return
        frame = {"type": request.kind, "id": request.id}
        if request.kind == READ:
            frame["learner_id"] = str(self.drives)
        self._rim.do(self._machine.send(frame, *now()))

    def _send_kept(self) -> None:
        for request in [self._kept.popleft() for _ in range(len(self._kept))]:
            self._send(request)

    def unanswered(self, id: str) -> None:
        """Ask again on the next connection."""
        if (request := self._requests.get(id)) is not None:
            self._kept.append(request)

    def sent(self, frame: dict[str, Any]) -> None:
        """From now on the server owes the answer."""
        id = frame.get("id")
        if id is None:
            return
        request = self._requests.get(id)
        if request is None:
            self._own.add(id)
            return
        if request.sends:
            self._run.tally.resent += 1
        else:
            self._run.tally.sent += request.revision is None
        request.sends += 1
        request.owed, request.refused = True, False

    # Frames

    def came(self, frame: Frame | None) -> None:
        """Judge a frame."""
        at = time.perf_counter()
        if frame is None:
            self._run.tally.errors["not a frame of the protocol"] += 1
            return
        kind = frame.get("type")
        if kind == "state_update":
            self._on_update(frame, at)
        elif kind in _ANSWERS:
            self._on_answer(frame, at)
        elif kind == "subscribed":
            self._on_subscribed(frame)
        elif kind == "error":
            self._on_error(frame)
        elif kind == "unsubscribed":
            self._run.tally.errors[f"unsubscribed: {frame.get('code')}"] += 1

    def _on_answer(self, frame: Frame, at: float) -> None:
        id = str(frame.get("id"))
        if id in self._own:
            self._own.discard(id)
            return
        request = self._requests.pop(id, None)
        if request is None or not request.owed:
            self._run.verdict.found(
                DUPLICATED,
                f"client {self.number}: {frame['type']} with id {id!r}, which is not (or no more)"
                " asked",
            )
        elif _ANSWERS[frame["type"]] != request.kind:
            self._run.verdict.found(
                LOST,
                f"client {self.number}: {request.kind} {id} was answered by {frame['type']}",
            )
        else:
            self._count(request, frame, at)

    def _count(self, request: Request, frame: Frame, at: float) -> None:
        tally, revision = self._run.tally, frame.get("revision", -1)
        if request.revision is None:
            tally.in_time(request.kind, at - request.due)
        elif not request.revision.done():
            request.revision.set_result(revision)
        learner_id = frame.get("learner_id", "")
        view = self._views.get(learner_id)
        if request.kind == READ and view is not None:
            view.read(revision)
        elif request.kind == INTERACT and view is not None:
            view.acknowledged(revision)
            self._run.writes.acknowledged(learner_id, revision)
            tally.deliveries.caused(learner_id, revision, request.due)

    def _on_update(self, frame: Frame, at: float) -> None:
        tally, learner_id, revision = self._run.tally, frame["learner_id"], frame["revision"]
        coalesced = frame.get("coalesced", 0)
        tally.updates += 1
        tally.coalesced += coalesced
        view = self._views.get(learner_id)
        if view is None:
            tally.errors["update of a learner who is not watched"] += 1
            return
        view.updated(revision, coalesced)
        if not self.slow:
            tally.deliveries.arrived(learner_id, revision, at)

    def _on_subscribed(self, frame: Frame) -> None:
        self._own.discard(str(frame.get("id")))
        view = self._views.get(frame["learner_id"])
        if view is not None:
            view.subscribed(frame.get("epoch", ""), frame.get("revision", -1))

    def _on_error(self, frame: Frame) -> None:
        self._run.tally.errors[frame.get("code", "")] += 1
        id = str(frame.get("id"))
        self._own.discard(id)
        request = self._requests.get(id)
        if request is None:
            return
        request.owed, request.refused = False, True
        if request.kind == INTERACT and frame.get("retryable"):
            return  # it is sent again
        del self._requests[id]
        if request.revision is not None and not request.revision.done():
            request.revision.set_result(None)

    # The end

    def settled(self, newest: dict[str, int]) -> bool:
        """Tell whether everything is answered and every watched learner is shown as it was
        acknowledged last.
        """
        if self.stayed_away:
            return True
        if self._requests or self._own or self.greeting is None:
            return False
        return all(self._views[one].revision >= newest.get(one, 0) for one in self._watches)

    def end(self) -> None:
        """Judge what is still missing and leave."""
        tally, verdict = self._run.tally, self._run.verdict
        for request in self._requests.values():
            if request.sends and not request.refused:
                verdict.found(
                    LOST,
                    f"client {self.number}: {request.kind} {request.id} was never answered",
                )
            else:
                tally.never_sent += 1
        for learner_id in self._watches if not self.stayed_away else ():
            self._views[learner_id].end(self._run.writes.newest.get(learner_id, 0))
        self._requests.clear()
        self._kept.clear()
        self._leave()

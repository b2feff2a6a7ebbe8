"""The client: a program's interface to the machine, with futures and iterators."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Protocol, Self, cast

from aivo_client.errors import AivoError, ClosedError
from aivo_client.flow import Flow
from aivo_client.frames import (
    AdaptData,
    ContentAdapted,
    Frame,
    InteractionData,
    StateResponse,
    VirtualBrainResponse,
)
from aivo_client.machine import Machine
from aivo_client.rooms import Room
from aivo_client.transport import Token, Transport, now
from aivo_client.values import (
    Config,
    Denied,
    Effect,
    Lost,
    Mode,
    Opened,
    Received,
    Remove,
    Save,
    Settled,
    Shown,
    Waiting,
)
from aivo_client.watching import Watch
from aivo_client.wishes import LEARNER, ROOM

DEFAULT_FRAME_BYTES = 64 * 1024
"""The limits assumed until the server states its own."""
HEAD_BYTES = 256
"""Bytes of a frame besides its interaction."""
ANSWER_S = 10.0


class Store(Protocol):
    """Stores waiting interactions where they survive the process; calls must be quick."""

    def load(self) -> Iterable[Waiting]:
        """Return the stored interactions."""

    def save(self, item: Waiting) -> None:
        """Store one."""

    def remove(self, id: str) -> None:
        """Remove one."""


class AivoClient:
    """A connection to the realtime server that reconnects by itself.

    async with AivoClient("wss://school.example/ws", token=get_token) as client: done = await
    client.interact({"learner_id": "ada", "type": "practice", "content": "…"}) async for update in
    client.watch("ada"): print(update["revision"], update["state"])

    Use it from one event loop. Leaving it closes the connection; what has not been acknowledged by
    then stays in `store`, if one was given.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token,
        token_refused: Callable[[], None] | None = None,
        store: Store | None = None,
        config: Config | None = None,
    ) -> None:
        """Prepare; nothing is sent before `connect`, or `async with`. The token is never put into
        the address. `token_refused` is called when the server does not accept the last token,
        before another is requested: drop it from any cache.
        """
        self.url = url
        self.established: Frame | None = None
        """The server's `connection_established`; None while not connected."""
        self._store = store
        self._machine = Machine(config or Config())
        self._transport = Transport(url, token, token_refused, self._machine, self._hear)
        self._do = self._transport.do
        self._answers: dict[str, asyncio.Future[Frame]] = {}
        self._watches: dict[str, list[Watch]] = {}
        self._shown: dict[str, Frame] = {}
        """The newest update of each watched learner."""
        self._rooms: dict[str, list[Room]] = {}
        self._opened = asyncio.Event()
        self._over: ClosedError | None = None
        """Why it no longer reconnects."""
        self._serial = 0

    # Connecting

    async def __aenter__(self) -> Self:
        """Connect, and wait until that has succeeded. Raises ClosedError when it cannot."""
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connection."""
        await self.close()

    async def connect(self) -> None:
        """Connect and stay connected; returns when first connected. Raises ClosedError when the
        server refuses for good or there is no token. Cancelling leaves it trying; `close` ends
        that.
        """
        if self.is_open:
            return
        self._over = None
        self._opened.clear()
        self._transport.start()
        if self._store is not None:
            self._do(self._machine.load(list(self._store.load()), *now()))
        self._do(self._machine.connect(*now()))
        await self._opened.wait()
        if self._over is not None:
            raise self._over

    async def close(self) -> None:
        """Close the connection; present and new waits fail with `closed` until it is connected
        again.
        """
        self._do(self._machine.disconnect(*now()))
        self._end(ClosedError("closed", "The client was closed."))
        await self._transport.stop()

    @property
    def is_open(self) -> bool:
        """Whether it is connected right now."""
        return self._machine.is_open

    @property
    def server_time(self) -> float:
        """The server's time, Unix seconds, for the ages of states."""
        return time.time() + self._machine.skew_s

    def token_changed(self) -> None:
        """Ask `token` for a new token now; it is replaced without reconnecting."""
        self._do(self._machine.token_changed(*now()))

    # Calls

    def interact(self, interaction: InteractionData) -> asyncio.Future[VirtualBrainResponse]:
        """Record an interaction: accepted at once, connected or not, and counted exactly once.

        The future is done when the server has committed it, however often the connection breaks
        until then; it raises AivoError when it is refused for good, too big, too old, or too many
        wait. Cancelling it does not withdraw the interaction.
        """
        data = dict(interaction)
        data["interaction_id"] = data.get("interaction_id") or uuid7()
        item = Waiting(data=data, queued_at=time.time())
        future = self._expect(item.id)
        limits = (self.established or {}).get("limits") or {}
        most = int(limits.get("frame_bytes") or DEFAULT_FRAME_BYTES) - HEAD_BYTES
        if len(json.dumps(data, ensure_ascii=False).encode()) > most:
            self._settle(Settled(item.id, AivoError("too_big", id=item.id)))
        else:
            self._do(self._machine.interact(item, *now()))
            if self._over is not None:
                self._settle(Settled(item.id, self._over))
        return cast("asyncio.Future[VirtualBrainResponse]", future)

    def watch(
        self, learner_id: str, *, mode: Mode = "latest", min_interval_s: float = 0.0
    ) -> Watch:
        """Watch a learner, through every reconnect. The first update shows the present state.

        `latest` gives the newest on demand, `every` each revision in order; slow readers get them
        from the server's log. Several watches of one learner share a subscription: the slowest of
        `every` sets the pace, the last `min_interval_s` holds.
        """
        watch = Watch(learner_id, mode, hold=self._hold, go_on=self._go_on, end=self._watch_no_more)
        self._watches.setdefault(learner_id, []).append(watch)
        if (shown := self._shown.get(learner_id)) is not None:
            watch.take(shown)
        if self._over is not None:
            watch.fail(self._over)
        self._want_learner(learner_id, min_interval_s)
        return watch

    async def get_state(self, learner_id: str) -> StateResponse:
        """Return a learner's present state. Raises AivoError when refused, or not answered in
        time; not sent again.
        """
        frame = {"type": "get_state", "learner_id": learner_id}
        return cast(StateResponse, await self._ask(frame))

    async def adapt_content(self, data: AdaptData) -> ContentAdapted:
        """Return content that fits the learner's state. Raises like `get_state`."""
        return cast(ContentAdapted, await self._ask({"type": "adapt_content", "data": dict(data)}))

    def room(self, room_id: str) -> Room:
        """Be in a room, through every reconnect, and receive its frames. Raises AivoError when the
        server refuses.
        """
        room = Room(room_id, end=self._leave)
        self._rooms.setdefault(room_id, []).append(room)
        if self._over is not None:
            room.fail(self._over)
        self._do(self._machine.want(ROOM, room_id, *now()))
        return room

    def say(self, room_id: str, data: dict[str, Any]) -> None:
        """Send a message to a room. Raises AivoError when not connected: it is not queued."""
        self._must_be_open()
        frame = {"type": "room_message", "room_id": room_id, "data": data}
        self._do(self._machine.send(frame, *now()))

    # Effects

    def _hear(self, effect: Effect) -> None:
        _HEAR[type(effect)](self, effect)

    def _save(self, effect: Save) -> None:
        if self._store is not None:
            self._store.save(effect.item)

    def _remove(self, effect: Remove) -> None:
        if self._store is not None:
            self._store.remove(effect.id)

    def _on_open(self, effect: Opened) -> None:
        self.established = effect.frame
        self._opened.set()

    def _on_lost(self, effect: Lost) -> None:
        self.established = None
        self._opened.clear()
        if effect.error is not None and isinstance(effect.error, ClosedError):
            self._end(effect.error)

    def _on_frame(self, effect: Received) -> None:
        frame = effect.frame
        if isinstance(frame.get("room_id"), str):
            for room in self._rooms.get(frame["room_id"], ()):
                room.take(frame)

    def _show(self, effect: Shown) -> None:
        self._shown[effect.learner_id] = effect.frame
        for watch in list(self._watches.get(effect.learner_id, ())):
            watch.take(effect.frame)

    def _settle(self, effect: Settled) -> None:
        future = self._answers.pop(effect.id, None)
        if future is None or future.done():
            return
        if isinstance(effect.answer, AivoError):
            future.set_exception(effect.answer)
        else:
            future.set_result(effect.answer)

    def _deny(self, effect: Denied) -> None:
        concerned = self._watches if effect.kind == LEARNER else self._rooms
        for flow in concerned.get(effect.key, ()):
            flow.fail(effect.error)

    # Requests and watches

    async def _ask(self, frame: Frame) -> Frame:
        self._must_be_open()
        self._serial += 1
        id = f"r-{self._serial}"
        future = self._expect(id)
        self._do(self._machine.send({**frame, "id": id}, *now()))
        try:
            async with asyncio.timeout(ANSWER_S):
                return await future
        except TimeoutError:
            raise AivoError("timeout", "No answer came in time.", retryable=True) from None
        finally:
            self._answers.pop(id, None)

    def _expect(self, id: str) -> asyncio.Future[Frame]:
        future = self._answers.get(id)
        if future is None or future.done():
            future = self._answers[id] = asyncio.get_running_loop().create_future()
            # Nobody needs to retrieve the result.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _must_be_open(self) -> None:
        if not self.is_open:
            raise AivoError("not_connected", "There is no connection now.", retryable=True)

    def _want_learner(self, learner_id: str, min_interval_s: float = 0.0) -> None:
        watches = self._watches.get(learner_id, [])
        mode: Mode = "every" if any(one.mode == "every" for one in watches) else "latest"
        interval_s = min_interval_s if mode == "latest" else 0.0
        self._do(
            self._machine.want(LEARNER, learner_id, *now(), mode=mode, min_interval_s=interval_s)
        )

    def _hold(self, watch: Watch) -> None:
        self._do(self._machine.hold(watch.learner_id, *now()))

    def _go_on(self, watch: Watch) -> None:
        self._do(self._machine.go_on(watch.learner_id, *now()))

    def _watch_no_more(self, watch: Watch) -> None:
        watches = self._watches.get(watch.learner_id, [])
        if watch in watches:
            watches.remove(watch)
        if watches:
            self._want_learner(watch.learner_id)
            self._go_on(watch)  # it may have been the slow one
        else:
            self._watches.pop(watch.learner_id, None)
            self._shown.pop(watch.learner_id, None)
            self._do(self._machine.unwant(LEARNER, watch.learner_id, *now()))

    def _leave(self, room: Room) -> None:
        rooms = self._rooms.get(room.room_id, [])
        if room in rooms:
            rooms.remove(room)
        if not rooms:
            self._rooms.pop(room.room_id, None)
            self._do(self._machine.unwant(ROOM, room.room_id, *now()))

    def _end(self, error: ClosedError) -> None:
        """The client is closed: all waits fail with the reason."""
        self._over = error
        self._opened.set()
        for id in list(self._answers):
            self._settle(Settled(id, error))
        flows: Iterable[Flow[Any]] = chain(*self._watches.values(), *self._rooms.values())
        for flow in flows:
            flow.fail(error)


_HEAR: dict[type, Callable[[AivoClient, Any], None]] = {
    Save: AivoClient._save,
    Remove: AivoClient._remove,
    Opened: AivoClient._on_open,
    Lost: AivoClient._on_lost,
    Received: AivoClient._on_frame,
    Shown: AivoClient._show,
    Settled: AivoClient._settle,
    Denied: AivoClient._deny,
}


def uuid7() -> str:
    """Return a time-ordered UUID (RFC 9562, version 7), as `interaction_id` should be."""
    value = (time.time_ns() // 1_000_000 << 80) | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    parts = digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]
    return "-".join(parts)

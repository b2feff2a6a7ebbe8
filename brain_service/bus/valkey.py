"""A bus between brains over the publish and subscribe of a Valkey or Redis server.

Nothing is stored there and nothing depends on it: a loss is noticed, by the message numbers or
because this brain no longer receives its own messages, and followers are told that anything may
have changed. While the server is away, brains continue alone and read from the store what they
might have missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from brain_service.bus import messages
from brain_service.bus.counters import BusCounters
from brain_service.bus.local import LocalBus
from brain_service.engine.publication import Follower, Publication

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 65_536
"""Publications that wait for the server; beyond, the oldest are dropped, which others notice."""
MAX_TOLD: Final = 4_096
"""Publications that one sending takes."""
RETRY_MAX_S: Final = 1.0
FORGET_S: Final = 600.0
"""A brain silent for this long without a goodbye is dead."""


class _GoodbyeError(Exception):
    """Queued last: this brain stops."""


class ValkeyBus:
    """One brain's end of the bus. All methods belong to one event loop."""

    def __init__(
        self,
        url: str,
        epoch: str,
        *,
        counters: BusCounters | None = None,
        beat_s: float = 1.0,
        patience_s: float = 3.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; `start` connects to `url` (see `check_url`). `epoch` names the store that the
        brains share.

        Every `beat_s` a message shows the current number; a brain that misses its own for
        `patience_s` takes the server for lost and reconnects. `clock` gives Unix seconds.
        """
        self.counters = BusCounters() if counters is None else counters
        self._url = url.replace("valkey", "redis", 1) if url.startswith("valkey") else url
        self._channels = messages.channel_names(epoch)
        self._beat_s = beat_s
        self._patience_s = patience_s
        self._clock = clock
        self._here = LocalBus()
        self._followers: list[Follower] = []
        self.name = secrets.token_hex(8)
        """This brain's name in its messages."""
        self._numbers = [0] * len(self._channels)
        self._heard: dict[tuple[str, int], int] = {}
        self._heard_at: dict[str, float] = {}
        """When each other brain last sent something, by the loop's clock."""
        self.in_touch = False
        """Whether others' publications arrive."""
        self._connected_at = 0.0
        self._waiting: deque[Publication] = deque()
        self._arrived = asyncio.Event()
        self._beating = self._stopping = False
        self._heard_self_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self._told_of_loss = False

    def publish(self, publications: Sequence[Publication]) -> None:
        """Notify local subscribers at once, and other brains as soon as the server accepts it."""
        self._here.publish(publications)
        if not self.counters.connected:
            self._skip(len(publications))
            return
        self._waiting.extend(publications)
        if len(self._waiting) > MAX_WAITING:
            self._drop(len(self._waiting) - MAX_WAITING)
        self._arrived.set()

    def subscribe(self, callback: Callable[[Sequence[Publication]], None]) -> Callable[[], None]:
        """Call `callback` with each later batch of this brain; returns what ends the
        subscription.
        """
        return self._here.subscribe(callback)

    def follow(self, follower: Follower) -> None:
        """Pass other brains' publications to `follower`; before the first connection it is out of
        touch.
        """
        self._followers.append(follower)
        if not self.in_touch:
            follower.lose_touch()

    @property
    def others(self) -> Set[str]:
        """The names of the brains that are present: heard lately, without a goodbye."""
        return self._heard_at.keys()

    async def start(self) -> None:
        """Begin to connect, and again whenever the connection is lost."""
        self.task = asyncio.create_task(self._run(), name="bus")

    async def stop(self) -> None:
        """Send what waits and say goodbye, if that takes less than a second, and end."""
        task, self.task = self.task, None
        if task is None:
            return
        self._stopping = True
        self._arrived.set()
        await asyncio.wait({task}, timeout=1 if self.counters.connected else 0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        backoff_s = 0.05
        while not self._stopping:
            connected_before = self.counters.connections
            try:
                await self._exchange()
            except* _GoodbyeError:
                pass
            except* Exception as broken:
                self._note_loss(broken.exceptions[0])
            finally:
                self._lose_touch()
            if self._stopping:
                return
            if self.counters.connections > connected_before:
                backoff_s = 0.05
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1))  # noqa: S311
            backoff_s = min(RETRY_MAX_S, backoff_s * 2)

    async def _exchange(self) -> None:
        """Send and receive until the connection is lost."""
        # No retries by the library: it would resubscribe without reporting the gap.
        client = Redis.from_url(
            self._url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=self._patience_s,
            socket_timeout=self._patience_s,
            health_check_interval=0,
        )
        try:
            async with client.pubsub(ignore_subscribe_messages=False) as pubsub:
                await pubsub.subscribe(*self._channels)
                await self._await_subscribed(pubsub)
                self._gain_touch()
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._hear(pubsub))
                    group.create_task(self._send(client))
                    group.create_task(self._beat())
        finally:
            with suppress(RedisError, OSError):
                await client.aclose()

    async def _await_subscribed(self, pubsub: Any) -> None:
        left = len(self._channels)
        async with asyncio.timeout(self._patience_s):
            while left:
                message = await pubsub.get_message(timeout=self._patience_s)
                left -= bool(message and message["type"] == "subscribe")

    # Receiving

    async def _hear(self, pubsub: Any) -> None:
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None:
                continue
            try:
                heard = messages.decode(message["data"])
                channel = self._channels.index(message["channel"].decode())
            except (messages.BadMessageError, ValueError) as error:
                logger.warning("a message on the bus is not understood: %s", error)
                continue
            self._take(heard, channel)

    def _take(self, message: messages.Message, channel: int) -> None:
        now = asyncio.get_running_loop().time()
        if message.sender == self.name:
            self._heard_self_at = now
            self.counters.lag_s.observe(max(0.0, self._clock() - message.sent_at_ms / 1000))
            return
        if message.is_last:
            self._heard_at.pop(message.sender, None)
            return
        self._heard_at[message.sender] = now
        name = message.sender, channel
        # Shortly after connecting every number is a first one; later a brain that is new begins.
        is_new = now - self._connected_at < self._patience_s
        before = self._heard.get(name, message.number - 1 if is_new else 0)
        self._heard[name] = message.number
        if message.number != before + 1:
            self.counters.gaps += 1
            if self.in_touch:
                self._tell(lambda follower: follower.regain_touch())
        if message.told:
            self.counters.received += len(message.told)
            self._tell(lambda follower: follower.hear(message.told))

    def _look_for_silence(self, now: float) -> None:
        """Stay out of touch while a brain is silent without a goodbye: it may be cut off and still
        at work. After a while it is dead.
        """
        for sender, heard_at in list(self._heard_at.items()):
            if now - heard_at > FORGET_S:
                del self._heard_at[sender]
        silent = any(now - heard_at > self._patience_s for heard_at in self._heard_at.values())
        self._set_touch(in_touch=not silent)

    def _tell(self, tell: Callable[[Follower], None]) -> None:
        for follower in self._followers:
            try:
                tell(follower)
            except Exception:
                logger.exception("a follower of the bus failed")

    # Sending

    async def _send(self, client: Redis) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting or self._beating or self._stopping:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_TOLD))]
                beating, self._beating = self._beating, False
                try:
                    await self._send_once(client, taken, to_all=beating)
                except BaseException:
                    self.counters.dropped += len(taken)
                    raise
                if self._stopping and not self._waiting:
                    await client.publish(self._channels[0], messages.encode(self._goodbye()))
                    raise _GoodbyeError

    async def _send_once(
        self, client: Redis, publications: Sequence[Publication], *, to_all: bool
    ) -> None:
        parts = messages.by_channel(publications)
        at_ms = int(self._clock() * 1000)
        pipeline = client.pipeline(transaction=False)
        for channel in range(len(self._channels)) if to_all else parts:
            self._numbers[channel] += 1
            message = messages.Message(
                self.name, self._numbers[channel], at_ms, parts.get(channel, ())
            )
            pipeline.publish(self._channels[channel], messages.encode(message))
        await pipeline.execute()
        self.counters.sent += len(publications)

    def _goodbye(self) -> messages.Message:
        return messages.Message(self.name, 0, int(self._clock() * 1000), (), is_last=True)

    async def _beat(self) -> None:
        """Send the current numbers, and expect them back from the server."""
        now = asyncio.get_running_loop().time
        self._heard_self_at = now()
        while True:
            self._beating = True
            self._arrived.set()
            await asyncio.sleep(self._beat_s)
            self._look_for_silence(now())
            if now() - self._heard_self_at > self._patience_s:
                raise TimeoutError("this brain no longer receives its own messages")

    # Touch

    def _gain_touch(self) -> None:
        # A loss concerns all brains and channels alike.
        self._heard.clear()
        self._heard_at.clear()
        self._told_of_loss = False
        self._connected_at = asyncio.get_running_loop().time()
        self.counters.connected = True
        self.counters.connections += 1
        self._set_touch(in_touch=True)

    def _lose_touch(self) -> None:
        self._drop(len(self._waiting))
        self.counters.connected = False
        self._set_touch(in_touch=False)

    def _set_touch(self, *, in_touch: bool) -> None:
        if in_touch is self.in_touch:
            return
        self.in_touch = in_touch
        if in_touch:
            self._tell(lambda follower: follower.regain_touch())
        else:
            self._tell(lambda follower: follower.lose_touch())

    def _drop(self, count: int) -> None:
        """Drop the oldest of what waits."""
        for _ in range(count):
            self._waiting.popleft()
        if count:
            self._skip(count)

    def _skip(self, count: int) -> None:
        """Drop publications; the next number tells others that something is missing."""
        self.counters.dropped += count
        self._numbers = [number + 1 for number in self._numbers]

    def _note_loss(self, error: BaseException) -> None:
        # Once per loss: it is retried every second.
        if not self._told_of_loss:
            logger.warning(
                "the bus between brains is not reached; until it is, this brain reads from the"
                " store what others did",
                extra={"error": type(error).__name__},
                exc_info=None if isinstance(error, (RedisError, OSError, TimeoutError)) else error,
            )
        self._told_of_loss = True


def check_url(url: str) -> str | None:
    """Return what is wrong with the address of a server, or None."""
    parts = urlsplit(url)
    if parts.scheme not in ("valkey", "valkeys", "redis", "rediss", "unix"):
        return (
            "must be empty or begin with valkey://, valkeys:// (TLS), redis://, rediss:// (TLS)"
            " or unix://"
        )
    if not (parts.path if parts.scheme == "unix" else parts.hostname):
        return "must name a server, such as valkey://:password@host:6379 or unix:///path"
    try:
        Redis.from_url(url.replace("valkey", "redis", 1))
    except (ValueError, TypeError) as error:
        return f"is not understood: {type(error).__name__}"
    return None

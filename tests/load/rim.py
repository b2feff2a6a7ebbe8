"""The machine of `aivo-client` on a socket that costs as little as asyncio allows.

Whoever owns it is told what really goes over the socket, in both directions, before the machine
makes anything of it.
"""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypedDict, cast

import msgspec

from aivo_client import AivoError, Config, errors
from aivo_client.machine import Machine
from aivo_client.timers import Timers
from aivo_client.transport import now
from aivo_client.values import (
    CancelTimers,
    Close,
    Effect,
    GetToken,
    Lost,
    Open,
    Opened,
    Send,
    Settled,
    Wake,
)
from harness.websocket import HandshakeError, Socket, connect, ignore, text_frame

_ABNORMAL: Final = 1006
_SMALL_BUFFER: Final = 4096
_LARGE_BUFFER: Final = 1 << 20


class Frame(TypedDict, total=False):
    """What the machine and the verdict read of any frame; the rest is not even decoded."""

    type: str
    id: str | int | None
    timestamp: str
    user: dict[str, Any]
    limits: dict[str, float]
    expires_at: str
    interaction_id: str
    learner_id: str
    epoch: str
    revision: int
    coalesced: int
    code: str
    error: str
    retryable: bool
    retry_after_ms: float | None
    message_type: str | None
    reconnect_after_ms: float


_decode = msgspec.json.Decoder(Frame).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the socket is."""

    host: str
    """An address, so that every connection goes where the first went."""
    port: int
    name: str
    """The server's, in requests and certificates."""
    path: str = "/ws"
    tls: ssl.SSLContext | None = None


class Owner(Protocol):
    """Who is told."""

    def sent(self, frame: dict[str, Any]) -> None:
        """A frame goes onto the socket."""

    def came(self, frame: Frame | None) -> None:
        """A frame came from it; None when it was none of the protocol."""

    def opened(self, greeting: Frame) -> None:
        """The server has let us in."""

    def broke(self, close_code: int) -> None:
        """The server, or the network, closed the socket."""

    def lost(self, why: str, *, for_good: bool) -> None:
        """The connection, or an attempt to make one, is over."""

    def unanswered(self, id: str) -> None:
        """A request went down with its connection; the machine does not send it again."""


class Rim:
    """Does what one machine asks for."""

    def __init__(self, target: Target, token: str, config: Config, owner: Owner) -> None:
        self.machine = Machine(config)
        self._target = target
        self._token = token
        self._owner = owner
        self._timers = Timers(lambda timer: self.do(self.machine.woken(timer, *now())))
        self._socket: Socket | None = None
        self._number = 0
        self._connecting: asyncio.Task[None] | None = None
        self._why = ""

    def do(self, effects: list[Effect]) -> None:
        """Perform what the machine asks for; what only an application wants to know is left."""
        for effect in effects:
            if (perform := _PERFORM.get(type(effect))) is not None:
                perform(self, effect)

    def cut(self) -> None:
        """Lose the socket on purpose."""
        self._drop()
        self.do(self.machine.closed(self._number, _ABNORMAL, *now()))

    def read(self, yes: bool) -> None:
        """Take frames from the socket, or leave them there."""
        if self._socket is None:
            return
        transport = self._socket.transport
        # While nothing is read, little may wait here: the server is what should notice.
        size = _LARGE_BUFFER if yes else _SMALL_BUFFER
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, size)
        (transport.resume_reading if yes else transport.pause_reading)()

    # Effects

    def _get_token(self, effect: GetToken) -> None:
        asyncio.get_running_loop().call_soon(
            lambda: self.do(self.machine.token(effect.request, self._token, *now()))
        )

    def _open(self, effect: Open) -> None:
        self._number = effect.socket
        self._connecting = asyncio.create_task(self._connect(effect.socket))

    async def _connect(self, number: int) -> None:
        at = self._target
        try:
            socket = await connect(
                at.host, at.port, at.path, self._on_text, name=at.name, tls=at.tls
            )
        except (OSError, HandshakeError) as error:
            self._why = str(error) or type(error).__name__
            self.do(self.machine.closed(number, _ABNORMAL, *now()))
            return
        self._socket, self._connecting = socket, None
        socket.on_lost = self._on_lost
        self.do(self.machine.opened(number, *now()))
        if socket.close_code is not None:
            self._on_lost(socket)

    def _close(self, effect: Close) -> None:
        if effect.code == errors.DEAD:
            self._why = "no answer in time"
        self._drop()

    def _drop(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        lost, self._socket = self._socket, None
        if lost is not None:
            lost.on_text, lost.on_lost = ignore, None
            lost.transport.abort()

    def _send(self, effect: Send) -> None:
        if self._socket is not None:
            self._owner.sent(effect.frame)
            self._socket.transport.write(text_frame(_encode(effect.frame)))

    def _wake(self, effect: Wake) -> None:
        self._timers.wake(effect)

    def _cancel_timers(self, effect: CancelTimers) -> None:
        self._timers.cancel()

    def _opened(self, effect: Opened) -> None:
        self._why = ""
        self._owner.opened(cast(Frame, effect.frame))

    def _lost(self, effect: Lost) -> None:
        self._drop()
        why, self._why = self._why or f"closed with {effect.close_code}", ""
        # A token is good for a whole run: there is no other to come back with.
        for_good = effect.error is not None or effect.close_code in (None, errors.BAD_TOKEN)
        self._owner.lost(why, for_good=for_good)

    def _settled(self, effect: Settled) -> None:
        if isinstance(effect.answer, AivoError) and effect.answer.code == "connection_lost":
            self._owner.unanswered(effect.id)

    # The socket

    def _on_text(self, payload: bytes) -> None:
        try:
            frame = _decode(payload)
        except msgspec.DecodeError:
            self._owner.came(None)
            return
        if frame.get("type") == "error":
            self._why = f"{frame.get('code')}: {frame.get('error')}"
        self._owner.came(frame)
        self.do(self.machine.received(self._number, cast(dict[str, Any], frame), *now()))

    def _on_lost(self, socket: Socket) -> None:
        if socket is not self._socket:
            return
        self._drop()
        code = socket.close_code or _ABNORMAL
        if self.machine.is_open:
            self._owner.broke(code)
        self.do(self.machine.closed(self._number, code, *now()))


_PERFORM: Final[dict[type, Callable[[Rim, Any], None]]] = {
    GetToken: Rim._get_token,
    Open: Rim._open,
    Close: Rim._close,
    Send: Rim._send,
    Wake: Rim._wake,
    CancelTimers: Rim._cancel_timers,
    Opened: Rim._opened,
    Lost: Rim._lost,
    Settled: Rim._settled,
}

"""Carries out the machine's effects: tokens, the socket, timers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from aivo_client.errors import AivoError, ClosedError
from aivo_client.frames import Frame
from aivo_client.machine import Machine
from aivo_client.timers import Timers
from aivo_client.values import (
    CancelTimers,
    Close,
    Effect,
    GetToken,
    Lost,
    Open,
    RefuseToken,
    Send,
    Wake,
)

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token, or a callable that returns a valid one, called before every attempt and before the old
one expires.

Any exception means that there is none for now; `retry_after_s` of an AivoError says for how long.
ClosedError means that there never will be and closes the client.
"""

_MAX_FRAME_BYTES = 4 * 1024 * 1024
_OPEN_S = 10.0
_ABNORMAL = 1006


class Transport:
    """The machine's connection to one address."""

    def __init__(
        self,
        url: str,
        token: Token,
        token_refused: Callable[[], None] | None,
        machine: Machine,
        tell: Callable[[Effect], None],
    ) -> None:
        """`tell` gets the effects for the application."""
        self._url = url
        self._token = token
        self._token_refused = token_refused
        self._refused = False
        self._machine = machine
        self._tell = tell
        self._connection: ClientConnection | None = None
        self._timers = Timers(self._woken)
        self._tasks: set[asyncio.Task[None]] = set()
        self._sending: asyncio.Queue[tuple[ClientConnection, str]] = asyncio.Queue()

    def start(self) -> None:
        """Be ready to send; a token that was refused may be tried again."""
        self._refused = False
        if not any(task.get_name() == "aivo-send" for task in self._tasks):
            self._spawn(self._send_all(), "aivo-send")

    async def stop(self) -> None:
        """End all that is under way; the closing of a socket is waited for."""
        tasks = list(self._tasks)
        for task in tasks:
            if task.get_name() != "aivo-close":
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def do(self, effects: list[Effect]) -> None:
        """Do what the machine asks for."""
        for effect in effects:
            if (perform := _PERFORM.get(type(effect))) is not None:
                perform(self, effect)
            else:
                self._tell(effect)

    # Effects

    def _get_token(self, effect: GetToken) -> None:
        self._spawn(self._fetch_token(effect.request), "aivo-token")

    async def _fetch_token(self, request: int) -> None:
        token, error = "", None
        try:
            if isinstance(self._token, str) and self._refused:
                raise ClosedError("no_token", "The server does not accept the token.")
            given = self._token() if callable(self._token) else self._token
            token = given if isinstance(given, str) else await given
        except AivoError as meant:
            error = meant
        except Exception:  # noqa: S110 - it may quote the request made, credentials included
            pass
        self.do(self._machine.token(request, token or "", *now(), error=error))

    def _refuse_token(self, effect: RefuseToken) -> None:
        self._refused = True
        if self._token_refused is not None:
            self._token_refused()

    def _open(self, effect: Open) -> None:
        self._spawn(self._serve(effect.socket), "aivo-socket")

    async def _serve(self, socket: int) -> None:
        """Open one socket and hand over all that comes, until it closes."""
        code = _ABNORMAL
        try:
            async with connect(
                self._url,
                compression=None,
                open_timeout=_OPEN_S,
                close_timeout=1,
                ping_interval=None,
                max_size=_MAX_FRAME_BYTES,
            ) as connection:
                self._connection = connection
                self.do(self._machine.opened(socket, *now()))
                async for text in connection:
                    if (frame := _parsed(text)) is not None:
                        self.do(self._machine.received(socket, frame, *now()))
                code = connection.close_code or _ABNORMAL
        except InvalidURI as error:
            self._machine.phase = "closed"
            self._tell(Lost(_ABNORMAL, ClosedError("bad_url", str(error))))
            return
        except ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd is not None else _ABNORMAL
        except (OSError, InvalidHandshake, TimeoutError):
            pass
        self.do(self._machine.closed(socket, code, *now()))

    def _close(self, effect: Close) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._spawn(connection.close(effect.code if effect.code < 3000 else 1000), "aivo-close")

    def _lost(self, effect: Lost) -> None:
        self._connection = None
        self._tell(effect)

    def _send(self, effect: Send) -> None:
        if self._connection is not None:
            text = json.dumps(effect.frame, ensure_ascii=False, separators=(",", ":"))
            self._sending.put_nowait((self._connection, text))

    async def _send_all(self) -> None:
        while True:
            connection, text = await self._sending.get()
            with contextlib.suppress(ConnectionClosed):
                await connection.send(text)

    def _wake(self, effect: Wake) -> None:
        self._timers.wake(effect)

    def _woken(self, timer: str) -> None:
        self.do(self._machine.woken(timer, *now()))

    def _cancel_timers(self, effect: CancelTimers) -> None:
        self._timers.cancel()

    def _spawn(self, work: Any, name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_PERFORM: dict[type, Callable[[Transport, Any], None]] = {
    GetToken: Transport._get_token,
    RefuseToken: Transport._refuse_token,
    Open: Transport._open,
    Close: Transport._close,
    Lost: Transport._lost,
    Send: Transport._send,
    Wake: Transport._wake,
    CancelTimers: Transport._cancel_timers,
}


def now() -> tuple[float, float]:
    """Return the two times that the machine counts with: monotonic, and by the wall."""
    return time.monotonic(), time.time()


def _parsed(text: str | bytes) -> Frame | None:
    """Return a frame; None for anything else, which is ignored."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, dict) and isinstance(frame.get("type"), str) else None

"""The kinds of hostile clients: what each does with one connection, until the server ends it."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from harness.websocket import frame, text_frame
from siege.wire import UPGRADE, Wire

FLOOD_BYTES: Final = 64 * 1024
"""How much of the same is sent at once."""

SLOWLY_S: Final = 0.5
"""Between two bytes of who is slow on purpose."""

FRAMES: Final = {
    "empty pings": frame(0x89, b""),
    "full pings": frame(0x89, b"x" * 125),
    "pongs nobody asked for": frame(0x8A, b""),
    "pings of our protocol": text_frame(b'{"type":"ping"}'),
    "garbage": text_frame(b"garbage"),
    "empty text": text_frame(b""),
    "large garbage": text_frame(b"x" * 60_000),
    "nested garbage": text_frame(b"[" * 30_000),
    "empty fragments": frame(0x00, b""),
    "fragments": frame(0x00, b"x" * 100),
    "whole messages in two fragments": frame(0x01, b"{") + frame(0x80, b"}"),
    "binary": frame(0x82, b"x"),
    "reserved bits": frame(0xF1, b"x"),
    "unmasked": b"\x81\x01x",
    "frames larger than any": b"\x81\xff" + (2**62).to_bytes(8) + bytes(4),
    "forged logins": text_frame(b'{"type":"authenticate","token":"a.b.c"}'),
}
"""What a socket can send again and again."""

NEED_A_BEGINNING: Final = {"empty fragments", "fragments"}
"""Of which the first piece of a message must come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of hostile client."""

    name: str
    attack: Callable[[Wire], Awaitable[None]]
    """Opens and uses one connection; raises `siege.wire.EndedError` when the server has had enough.
    """
    login: bool = False
    """Whether it takes a login: a pupil who has found the console, not a stranger."""
    clients: int = 0
    """How many there are where it matters; 0 for as many as of others."""
    one_user: bool = False
    """Whether all of them have the same login."""


Attack = Callable[[Wire], Awaitable[None]]


def _flood(name: str, *, login: bool = False, deaf: bool = False) -> Attack:
    """A socket that sends the same frame as fast as the line takes it."""
    again = FRAMES[name] * (FLOOD_BYTES // len(FRAMES[name]) + 1)

    async def attack(wire: Wire) -> None:
        await wire.connect()
        await wire.become_socket(login=login)
        if deaf:
            wire.stop_reading()
        if name in NEED_A_BEGINNING:
            await wire.send(frame(0x01, b""))
        while True:
            await wire.send(again)

    return attack


def _asking(*frames: str, deaf: bool = False) -> Attack:
    """A user's socket that asks for the same things again and again."""

    async def attack(wire: Wire) -> None:
        await wire.connect()
        await wire.become_socket(login=True)
        if deaf:
            wire.stop_reading()
        number = 0
        while True:
            number += 1
            for one in frames:
                await wire.send(text_frame(_filled(one, wire, number)))

    return attack


def _crowding(sockets: int, *frames: str) -> Attack:
    """A socket that says the same in a room again and again, where its user has many more."""
    join = '{"type":"join_room","room_id":"learner:LEARNER"}'

    async def attack(wire: Wire) -> None:
        crowd = [Wire(wire.front, wire.number) for _ in range(sockets - 1)]
        try:
            for one in (*crowd, wire):
                await one.connect()
                await one.become_socket(login=True)
                await one.send(text_frame(_filled(join, one, 0)))
            while True:
                for said in frames:
                    await wire.send(text_frame(_filled(said, wire, 0)))
        finally:
            for one in crowd:
                one.close()

    return attack


def _saying(first: bytes, then: bytes = b"", *, every_s: float = 0.0, deaf: bool = False) -> Attack:
    """Something, and then more and more of something else, or nothing."""

    async def attack(wire: Wire) -> None:
        await wire.connect(deaf=deaf)
        await wire.send(first)
        while then:
            await wire.send(then)
            await asyncio.sleep(every_s)
        await wire.until_ended()

    return attack


def _requesting(request: str) -> Attack:
    """The same request as soon as the last one is answered."""

    async def attack(wire: Wire) -> None:
        await wire.connect()
        number = 0
        while True:
            number += 1
            wire.heard = b""
            await wire.send(_filled(request, wire, number))
            await wire.until(b"HTTP/1.1 ")

    return attack


def _visiting(request: bytes) -> Attack:
    """One request on each connection, which ends with the first byte of the answer."""

    async def attack(wire: Wire) -> None:
        await wire.connect()
        await wire.send(request)
        await wire.until(b"H")

    return attack


def _dropping(request: str) -> Attack:
    """One request on each connection, which ends before it is answered."""

    async def attack(wire: Wire) -> None:
        await wire.connect()
        await wire.send(_filled(request, wire, 0))
        await asyncio.sleep(0.01)

    return attack


def _filled(text: str, wire: Wire, number: int) -> bytes:
    for name, value in (
        ("LEARNER", wire.person.learner_id),
        ("TOKEN", wire.person.token),
        ("EMAIL", wire.person.email),
        ("PASSWORD", wire.person.password),
        ("NUMBER", f"{number}"),
        ("RANDOM", secrets.token_hex(3)),  # as long as its name
    ):
        text = text.replace(name, value)
    return text.replace("LENGTH", str(len(text.partition("\r\n\r\n")[2]))).encode()


def _post(path: str, body: str) -> str:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: LENGTH\r\n\r\n{body}"
    )


def _get(path: str, token: str = "") -> str:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"


def _interaction(**context: object) -> str:
    data = {
        "learner_id": "LEARNER",
        "type": "question_response",
        "content": "What is a half and a half?",
        "context": {"correct": True, "skill": "fractions", "time_taken": 5} | context,
    }
    return json.dumps({"type": "virtual_brain_interact", "data": data})


_LONG = "-and-what-else-a-skill-can-be-called" * 3
_MESSAGE = json.dumps(
    {"type": "room_message", "room_id": "learner:LEARNER", "data": {"x": "x" * 60_000}}
)
_GUESS = json.dumps({"email": "RANDOM@siege.example", "password": "guessed"})
_HOST = b"Host: x\r\n"
_WATCH = json.dumps(
    {
        "type": "subscribe_learner",
        "learner_id": "LEARNER",
        "mode": "every",
        "resume": {"epoch": "", "revision": 0},
    }
)
_UNWATCH = json.dumps({"type": "unsubscribe_learner", "learner_id": "LEARNER"})
_SCRIPT = b"GET /docs/static/swagger-ui-bundle.js HTTP/1.1\r\n" + _HOST + b"\r\n"

STRANGERS: Final = (
    *(Kind(name=name, attack=_flood(name)) for name in FRAMES),
    Kind(name="pings of who does not read", attack=_flood("full pings", deaf=True)),
    Kind(
        name="sockets that say nothing",
        attack=_saying(b"GET /ws HTTP/1.1\r\n" + _HOST + UPGRADE + b"\r\n"),
    ),
    Kind(
        name="sockets opened and left",
        attack=_visiting(b"GET /ws HTTP/1.1\r\n" + _HOST + UPGRADE + b"\r\n"),
    ),
    Kind(
        name="origins that are none",
        attack=_visiting(b"GET /ws HTTP/1.1\r\nOrigin: http://[\r\n" + _HOST + UPGRADE + b"\r\n"),
    ),
    Kind(
        name="forged tokens of sockets",
        attack=_visiting(b"GET /ws?token=a.b.c HTTP/1.1\r\n" + _HOST + UPGRADE + b"\r\n"),
    ),
    Kind(name="targets that are none", attack=_visiting(b"GET //[ HTTP/1.1\r\n" + _HOST + b"\r\n")),
    Kind(name="no HTTP", attack=_saying(b"\x16\x03\x01" + bytes(1000), bytes(FLOOD_BYTES))),
    Kind(name="connections that say nothing", attack=_saying(b"")),
    Kind(
        name="heads without end",
        attack=_saying(b"GET / HTTP/1.1\r\n", b"X-More: " + b"x" * 1000 + b"\r\n"),
    ),
    Kind(name="slow heads", attack=_saying(b"GET / HTTP/1.1\r\nX: ", b"x", every_s=SLOWLY_S)),
    Kind(
        name="bodies without end",
        attack=_saying(
            b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 99999999999\r\n" + _HOST + b"\r\n",
            b"x" * FLOOD_BYTES,
        ),
    ),
    Kind(
        name="bodies in chunks of a byte",
        attack=_saying(
            b"POST /api/auth/login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + _HOST + b"\r\n",
            b"1\r\nx\r\n" * (FLOOD_BYTES // 6),
        ),
    ),
    Kind(
        name="slow bodies",
        attack=_saying(
            b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 9999\r\n" + _HOST + b"\r\n",
            b"x",
            every_s=SLOWLY_S,
        ),
    ),
    Kind(
        name="headers after the body",
        attack=_saying(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + _HOST + b"\r\n0\r\n",
            b"a:b\r\n" * (FLOOD_BYTES // 5),
        ),
    ),
    Kind(
        name="requests all at once",
        attack=_saying(b"", (b"GET /healthz HTTP/1.1\r\n" + _HOST + b"\r\n") * 8),
    ),
    Kind(name="answers nobody reads", attack=_saying(_SCRIPT * 8, deaf=True)),
    Kind(name="requests one by one", attack=_requesting(_get("/openapi.json"))),
    Kind(name="forged tokens of requests", attack=_requesting(_get("/api/me", "a.b.c"))),
    Kind(
        name="wrong passwords of who does not wait",
        attack=_dropping(_post("/api/auth/login", _GUESS)),
    ),
    Kind(
        name="wrong passwords",
        attack=_requesting(_post("/api/auth/login", _GUESS)),
        clients=60,
    ),
    Kind(
        name="forged refresh tokens",
        attack=_requesting(_post("/api/auth/refresh", '{"refresh_token":"forged-RANDOM"}')),
    ),
    Kind(
        name="forged logouts",
        attack=_requesting(_post("/api/auth/logout", '{"refresh_token":"forged-RANDOM"}')),
    ),
)
"""Who needs no login."""

PUPILS: Final = (
    *(
        Kind(name=f"{name}, logged in", attack=_flood(name, login=True), login=True)
        for name in FRAMES
    ),
    Kind(
        name="pings of who does not read, logged in",
        attack=_flood("pings of our protocol", login=True, deaf=True),
        login=True,
    ),
    Kind(name="states", attack=_asking('{"type":"get_state","learner_id":"LEARNER"}'), login=True),
    Kind(name="everything from the beginning", attack=_asking(_WATCH, _UNWATCH), login=True),
    Kind(name="everything, not read", attack=_asking(_WATCH, _UNWATCH, deaf=True), login=True),
    Kind(
        name="rooms joined and left",
        attack=_asking(
            '{"type":"join_room","room_id":"learner:LEARNER"}',
            '{"type":"leave_room","room_id":"learner:LEARNER"}',
        ),
        login=True,
    ),
    Kind(
        name="large messages",
        attack=_asking('{"type":"join_room","room_id":"learner:LEARNER"}', _MESSAGE),
        login=True,
    ),
    Kind(
        name="large messages to 200 sockets of one user",
        attack=_crowding(200, _MESSAGE),
        login=True,
        clients=1,
        one_user=True,
    ),
    Kind(name="interactions", attack=_asking(_interaction()), login=True),
    Kind(name="large interactions", attack=_asking(_interaction(note="x" * 60_000)), login=True),
    Kind(
        name="large interactions of one user's six sockets",
        attack=_asking(_interaction(note="x" * 60_000)),
        login=True,
        clients=6,
        one_user=True,
    ),
    Kind(
        name="long names of skills",
        attack=_asking(_interaction(skill=[f"s{n}-RANDOM{_LONG}" for n in range(8)])),
        login=True,
    ),
    Kind(
        name="new items and skills",
        attack=_asking(
            _interaction(
                item_id="item-RANDOM",
                subject="subject-RANDOM",
                skill=[f"s{n}-RANDOM" for n in range(8)],
            )
        ),
        login=True,
    ),
    Kind(
        name="large adaptations",
        attack=_asking(
            json.dumps(
                {
                    "type": "adapt_content",
                    "data": {
                        "learner_id": "LEARNER",
                        "content": "Long words. " * 5_000,
                        "content_type": "text",
                    },
                }
            )
        ),
        login=True,
    ),
    Kind(
        name="histories",
        attack=_requesting(_get("/api/learners/LEARNER/history?limit=1000", "TOKEN")),
        login=True,
    ),
    Kind(name="logins of one's own", attack=_requesting(_get("/api/me", "TOKEN")), login=True),
    Kind(
        name="right passwords, again and again",
        attack=_requesting(_post("/api/auth/login", '{"email":"EMAIL","password":"PASSWORD"}')),
        login=True,
        clients=6,
    ),
)
"""Who needs one: a pupil who has found the browser's console."""

KINDS: Final = {kind.name: kind for kind in (*STRANGERS, *PUPILS)}
"""Everybody, by name."""

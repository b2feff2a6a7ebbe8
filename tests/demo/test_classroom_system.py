"""The simulated class at the real services: it goes on through faults, and ends when it must."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import grpc
import pytest

from demo.classroom import Seat, main
from demo.simulator import make_pupil
from demo.users import Person, write_users
from harness.client import Account
from harness.registry import Registry
from harness.stack import Stack, private_stack

pytestmark = pytest.mark.system

PATIENCE_S = 90


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with private_stack() as made:
        yield made


@pytest.fixture(scope="module")
def learner(stack: Stack) -> Person:
    email, password, learner_id = "one@pupils.example", "correct-horse-battery", "demo-one"
    with grpc.insecure_channel(stack.address("auth")) as channel:
        registry = Registry(channel, stack.metadata)
        registry.add_learner(learner_id)
        user_id = registry.add_user(email, password, "learner")
        registry.relate("is_learner", user_id, learner_id)
    return Person(
        email=email, password=password, role="learner", user_id=user_id, learners=(learner_id,)
    )


def seat_of(stack: Stack, learner: Person, account: Account) -> Seat:
    return Seat(stack.ws_url, account, make_pupil(learner.learners[0], 1), pace=2000)


def account_of(stack: Stack, learner: Person) -> Account:
    return Account(stack.http_url, learner.email, learner.password)


async def reaches(seat: Seat, work: asyncio.Task[None], count: int) -> None:
    """Wait for a number of acknowledgements; the caller bounds the time."""
    while seat.acknowledged < count:
        await asyncio.wait((work,), timeout=0.02)
        if work.done():
            work.result()


async def ended(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def test_a_learner_goes_on_through_a_restart_of_edge_and_brain(
    stack: Stack, learner: Person
) -> None:
    seat = seat_of(stack, learner, account_of(stack, learner))
    work = asyncio.create_task(seat.learn())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await reaches(seat, work, 10)
            await asyncio.to_thread(stack.kill, "edge", "brain")
            await asyncio.to_thread(stack.start, "edge", "brain")
            await reaches(seat, work, seat.acknowledged + 10)
    finally:
        await ended(work)


async def test_a_token_that_the_server_refuses_is_not_handed_over_again(
    stack: Stack, learner: Person
) -> None:
    class Stale(Account):
        """Keeps a token that is not valid any more, until told so."""

        kept = True
        handed_over = 0

        async def token(self) -> str:
            if not self.kept:
                return await super().token()
            self.handed_over += 1
            return "stale"

        def rejected(self) -> None:
            self.kept = False
            super().rejected()

    account = Stale(stack.http_url, learner.email, learner.password)
    seat = seat_of(stack, learner, account)
    work = asyncio.create_task(seat.learn())
    try:
        async with asyncio.timeout(PATIENCE_S):
            await reaches(seat, work, 2)
    finally:
        await ended(work)
    assert account.handed_over == 1


@pytest.fixture
def busy() -> Iterator[tuple[str, list[float]]]:
    """A server that lets nobody sign in before two seconds, and when it was asked to."""
    asked: list[float] = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(time.monotonic())
            self.send_response(429)
            self.send_header("Retry-After", "2")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


async def test_a_sign_in_that_must_wait_is_not_tried_sooner(
    busy: tuple[str, list[float]], learner: Person
) -> None:
    url, asked = busy
    account = Account(url, learner.email, learner.password)
    seat = Seat("ws://127.0.0.1:9/ws", account, make_pupil(learner.learners[0], 1), pace=2000)
    work = asyncio.create_task(seat.learn())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while len(asked) < 3:
                await asyncio.wait((work,), timeout=0.02)
    finally:
        await ended(work)
    assert min(after - before for before, after in pairwise(asked)) >= 2


def test_a_class_that_may_not_sign_in_ends_with_a_sentence(
    stack: Stack,
    learner: Person,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # the class makes its own
    wrong = Person(
        email=learner.email,
        password="wrong-password",
        role="learner",
        user_id=learner.user_id,
        learners=learner.learners,
    )
    write_users(tmp_path / "users.json", [wrong])

    began = time.monotonic()
    code = main(
        ["--url", stack.http_url, "--users", str(tmp_path / "users.json"), "--pace", "2000"]
    )
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert code == 1
    assert time.monotonic() - began < PATIENCE_S
    assert [entry["message"] for entry in told][-1] == "no learner is left in the class"
    assert any("401" in str(entry) for entry in told)

"""The stack that is besieged, as it comes but for where it runs, and the people in it."""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

from aivo.brain.v1 import brain_pb2, brain_pb2_grpc
from harness.client import DisconnectedError, Frame, backoff_s, post
from harness.processes import SERVER_CORE, Process
from harness.registry import Registry
from harness.stack import SERVICES, Stack, private_stack
from siege.honest import Person

HISTORY = 1_000
"""Interactions that each hostile learner has behind them."""

NEWCOMERS = 60
"""People who sign in, one a second, in turn; by the next time each counts as new again."""

SIGN_INS = 8
"""Times that somebody's first sign-in is tried."""

_AS_IT_COMES = {
    "AUTH_ARGON2_MEMORY_KIB": "",
    "AUTH_ARGON2_TIME_COST": "",
    # A run lasts longer than a token, and nobody here renews theirs.
    "AUTH_ACCESS_TTL_S": "14400",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is attacked."""

    stack: Stack
    honest: tuple[Person, ...]
    hostile: tuple[Person, ...]
    newcomers: tuple[Person, ...]
    """Honest, too, and never seen before."""

    @property
    def processes(self) -> tuple[Process, ...]:
        """What to measure, the edge first."""
        return tuple(Process(name=name, pid=self.stack.pid(name)) for name in reversed(SERVICES))

    def errors(self) -> list[str]:
        """Return the lines that were logged as errors so far."""
        return [
            f"{log.stem}: {line}"
            for log in sorted(self.stack.logs.glob("*.log"))
            for line in log.read_text(encoding="utf-8", errors="replace").splitlines()
            if '"level": "error"' in line
        ]


@contextlib.contextmanager
def besieged(
    *, honest: int, hostile: int, newcomers: int = NEWCOMERS, env: Mapping[str, str] | None = None
) -> Iterator[Target]:
    """Run a stack whose processes share one core, with so many people on each side; `env` adds to
    its environment.
    """
    cores = dict.fromkeys(SERVICES, SERVER_CORE)
    with private_stack(env={**_AS_IT_COMES, **(env or {})}, cores=cores) as stack:
        with grpc.insecure_channel(stack.address("auth")) as channel, ThreadPoolExecutor(4) as pool:
            registry = Registry(channel, stack.metadata)
            everybody = tuple(
                pool.map(
                    lambda number: _person(stack, registry, number, new=number >= honest + hostile),
                    range(honest + hostile + newcomers),
                )
            )
        target = Target(
            stack=stack,
            honest=everybody[:honest],
            hostile=everybody[honest : honest + hostile],
            newcomers=everybody[honest + hostile :],
        )
        _write_history(stack, [person.learner_id for person in target.hostile])
        yield target


def _person(stack: Stack, registry: Registry, number: int, *, new: bool) -> Person:
    learner, email = f"learner-{number}", f"learner-{number}@siege.example"
    password = secrets.token_urlsafe(12)
    user_id = registry.add_user(email, password, "learner")
    registry.add_learner(learner)
    registry.relate("is_learner", user_id, learner)
    token = "" if new else _sign_in(stack, email, password)["access_token"]
    return Person(learner_id=learner, token=token, email=email, password=password)


def _sign_in(stack: Stack, email: str, password: str) -> Frame:
    """Log in, and again where a busy machine is too slow to check a password in time."""
    for attempt in range(SIGN_INS - 1):
        with contextlib.suppress(DisconnectedError):
            return post(f"{stack.http_url}/api/auth/login", {"email": email, "password": password})
        time.sleep(backoff_s(attempt))
    return post(f"{stack.http_url}/api/auth/login", {"email": email, "password": password})


def _write_history(stack: Stack, learners: list[str]) -> None:
    def interactions() -> Iterator[brain_pb2.InteractRequest]:
        for learner in learners:
            for start in range(0, HISTORY, 250):
                yield brain_pb2.InteractRequest(
                    interactions=[
                        brain_pb2.Interaction(
                            request_id=number + 1,
                            interaction_id=str(uuid.uuid4()),
                            learner_id=learner,
                            kind=brain_pb2.INTERACTION_KIND_QUESTION_RESPONSE,
                            content=f"Question {number}",
                            context=brain_pb2.Context(correct=number % 3 > 0, time_taken_s=9.0),
                            received_at_ms=int(time.time() * 1000),
                        )
                        for number in range(start, start + 250)
                    ]
                )

    with grpc.insecure_channel(stack.address("brain")) as channel:
        stub = brain_pb2_grpc.BrainServiceStub(channel)
        answered = 0
        for response in stub.Interact(interactions(), metadata=stack.metadata, timeout=300):
            answered += len(response.outcomes)
    if answered != len(learners) * HISTORY:
        raise RuntimeError(f"only {answered} interactions of the past were taken")

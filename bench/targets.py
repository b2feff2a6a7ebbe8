"""Brings up what is compared: the monolith, and our own services. All their processes share one
core.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from bench.monolith import SECRET_VARIABLE, mint
from bench.target import Target
from harness.ports import listens, reserve
from harness.processes import GENERATOR_CORE, SERVER_CORE, Process
from harness.registry import Registry
from harness.root import OUR_PATH, ROOT
from harness.stack import SERVICES, Stack, private_stack
from harness.supervisor import running

_TOKEN_TTL_S = 4 * 3600
_CLASS = "bench-class"
_PASSWORD = secrets.token_urlsafe(16)

# Limits exist to stop exactly what a load generator does. They stay in force, only far away:
# checking them is part of the cost.
_ENVIRONMENT = {
    "EDGE_FRAMES_PER_S": "1000000",
    "EDGE_USER_UNITS_PER_S": "1000000000",
    "EDGE_USER_UNITS_BURST": "1000000000",
    "BRAIN_QUOTA_A_DAY": "0",
    "EDGE_FRAMES_BURST": "1000000",
    "EDGE_MAX_SOCKETS_PER_USER": "1000000",
    "EDGE_MAX_SOCKETS_PER_ADDRESS": "1000000",
    "EDGE_CONNECTIONS_PER_S": "0",
    "AUTH_ACCESS_TTL_S": str(_TOKEN_TTL_S),
}


class Contestant:
    """Something that can be brought up, as often as wanted, to be measured."""

    def __init__(
        self, name: str, start: Callable[[], contextlib.AbstractContextManager[Target]]
    ) -> None:
        self.name = name
        self.start = start


@contextlib.contextmanager
def monolith(people: int, *, bare: bool = False) -> Iterator[Contestant]:
    """Yield the monolith, with tokens for so many learners; `bare` with frames as short as the
    original guide's.
    """
    secret = secrets.token_urlsafe(32)
    learners = tuple(f"learner-{i}" for i in range(people))
    tokens = tuple(mint(secret, learner, _TOKEN_TTL_S) for learner in learners)

    @contextlib.contextmanager
    def start() -> Iterator[Target]:
        ports, claim = reserve()
        arguments = ["-m", "bench.monolith", "--port", str(ports.edge)]
        with (
            claim,
            tempfile.TemporaryDirectory(prefix="aivo-bench-") as directory,
            running(
                "monolith",
                [sys.executable, *arguments, *(["--bare"] if bare else [])],
                environ={**os.environ, **OUR_PATH, SECRET_VARIABLE: secret},
                directory=ROOT,
                log=Path(directory, "monolith.log"),
                core=SERVER_CORE,
                ready=lambda: listens(ports.edge),
            ) as child,
        ):
            assert child.pid is not None
            yield Target(
                name="monolith",
                port=ports.edge,
                processes=(Process(name="monolith", pid=child.pid),),
                tokens=tokens,
                watcher_tokens=tokens,
                learners=learners,
                token_in_query=True,
            )

    yield Contestant("monolith", start)


@contextlib.contextmanager
def sends(update_bytes: int) -> Iterator[Target]:
    """Run what writes updates of this size to every socket by a bare loop (`bench.sends`)."""
    ports, claim = reserve()
    port = ports.edge
    arguments = ["-m", "bench.sends", "--port", str(port), "--bytes", str(update_bytes)]
    with (
        claim,
        tempfile.TemporaryDirectory(prefix="aivo-bench-") as directory,
        running(
            "sends",
            [sys.executable, *arguments],
            environ={**os.environ, **OUR_PATH},
            directory=ROOT,
            log=Path(directory, "sends.log"),
            core=SERVER_CORE,
            ready=lambda: listens(port),
        ) as child,
    ):
        assert child.pid is not None
        yield Target(
            name="sends",
            port=port,
            processes=(Process(name="sends", pid=child.pid),),
            tokens=("",),
            watcher_tokens=("",),
            learners=("ada",),
            token_in_query=True,
        )


@contextlib.contextmanager
def services(
    people: int,
    *,
    name: str = "services",
    env: Mapping[str, str] | None = None,
    database: str = "sqlite",
    each: int = 1,
    one_core: bool = True,
) -> Iterator[Contestant]:
    """Yield our services with their durable store, where so many learners and a few teachers can
    log in.

    The people are made at the first start; what was written stays for the next. `env` adds to what
    the processes find in their environment. A `database` server has the generator's core; `each`
    says how many edges and brains there are. Without `one_core` they run where the system likes.
    """
    accounts: Accounts | None = None
    with tempfile.TemporaryDirectory(prefix="aivo-bench-") as directory:

        @contextlib.contextmanager
        def start() -> Iterator[Target]:
            nonlocal accounts
            cores = dict.fromkeys(SERVICES, SERVER_CORE) | {"postgres": GENERATOR_CORE}
            with private_stack(
                env=_ENVIRONMENT | dict(env or {}),
                cores=cores if one_core else None,
                directory=Path(directory),
                database=database,
                edges=each,
                brains=each,
            ) as stack:
                accounts = accounts or make_accounts(stack, people)
                yield Target(
                    name=name,
                    port=stack.ports.edge,
                    processes=tuple(
                        Process(name=name, pid=stack.pid(name)) for name in reversed(stack.services)
                    ),
                    tokens=accounts.learner_tokens,
                    watcher_tokens=accounts.teacher_tokens,
                    learners=accounts.learners,
                    token_in_query=False,
                )

        yield Contestant(name, start)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Who can log in to a stack: families that interact as their learners, teachers who watch the
    first learner.
    """

    learners: tuple[str, ...]
    learner_tokens: tuple[str, ...]
    """One for each learner; ten share one user, because making users is slow on purpose."""
    teacher_tokens: tuple[str, ...]


def make_accounts(stack: Stack, people: int, *, per_user: int = 10, teachers: int = 20) -> Accounts:
    """Make learners, users and teachers through the auth service, and log everybody in."""
    learners = tuple(f"learner-{i}" for i in range(people))
    with grpc.insecure_channel(stack.address("auth")) as channel, ThreadPoolExecutor(4) as workers:
        registry = Registry(channel, stack.metadata)
        stub = auth_pb2_grpc.AuthServiceStub(channel)

        def login(email: str) -> str:
            request = auth_pb2.LoginRequest(email=email, password=_PASSWORD)
            token: str = stub.Login(
                request, metadata=stack.metadata, timeout=10
            ).tokens.access_token
            return token

        def make_family(first: int) -> list[str]:
            email = f"family-{first}@bench.example"
            user_id = registry.add_user(email, _PASSWORD, "learner")
            own = learners[first : first + per_user]
            for learner in own:
                registry.add_learner(learner)
                registry.relate("is_learner", user_id, learner)
            return [login(email)] * len(own)

        def make_teacher(number: int) -> str:
            email = f"teacher-{number}@bench.example"
            registry.relate("teaches", registry.add_user(email, _PASSWORD, "teacher"), _CLASS)
            return login(email)

        registry.add_class(_CLASS, "")
        families = list(workers.map(make_family, range(0, people, per_user)))
        registry.relate("enrolled", learners[0], _CLASS)
        return Accounts(
            learners=learners,
            learner_tokens=tuple(token for tokens in families for token in tokens),
            teacher_tokens=tuple(workers.map(make_teacher, range(teachers))),
        )

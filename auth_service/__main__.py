"""Wires the auth service: `python -m auth_service --help`. The only module that reads the
environment.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from auth_service import commands
from auth_service.administration import Administration
from auth_service.counters import AuthCounters
from auth_service.devices import Devices
from auth_service.directory import Directory
from auth_service.domain import AlreadyExistsError, InvalidInputError, NotFoundError, RoomRules
from auth_service.fair_queue import FairQueue
from auth_service.federation import FederatedPeople
from auth_service.follower import Follower, KeyFollower, follow, sweep
from auth_service.login_limits import Allowance, LoginLimits
from auth_service.metrics import families
from auth_service.passwords import Cost, Passwords
from auth_service.revocations import Broadcaster
from auth_service.roster.reading import RosterError
from auth_service.servicer import SERVICE_NAME, AuthServicer, register
from auth_service.sessions import Issuer, Lifetimes, Sessions
from auth_service.settings import Settings
from auth_service.sign_in import SignIn
from auth_service.store import (
    SCHEMA,
    ChangeLog,
    Database,
    Identities,
    People,
    Rosters,
    SessionEndedError,
    SessionTable,
    StoreError,
    open_database,
)
from auth_service.tokens import KeyFile, KeyFileError, Tokens
from auth_service.tokens.trusted import TrustedTokens
from auth_service.trusted_issuers import TrustError, read_trusted
from service_runtime.database import commands as database_commands
from service_runtime.exposition import exposed
from service_runtime.grpc_server import GrpcServer, check_listener
from service_runtime.metrics import Family
from service_runtime.process import Stop, run
from service_runtime.settings import SettingsError, describe, load
from service_runtime.telemetry import Tracer, exporting

PREFIX = "AUTH"

_REFUSALS = (
    InvalidInputError,
    NotFoundError,
    AlreadyExistsError,
    SessionEndedError,
    StoreError,
    KeyFileError,
    RosterError,
    OSError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What serving and commands share."""

    database: Database
    people: People
    session_table: SessionTable
    change_log: ChangeLog
    passwords: Passwords
    key_file: KeyFile
    tokens: Tokens
    issuer: Issuer

    def administration(
        self, actor: str, after_change: Callable[[], Awaitable[None]]
    ) -> Administration:
        """Return administration on behalf of `actor`."""
        return Administration(
            database=self.database,
            people=self.people,
            passwords=self.passwords,
            after_change=after_change,
            clock_ms=_clock_ms,
            actor=actor,
        )


@contextmanager
def opened(settings: Settings) -> Iterator[Core]:
    """Open database and key file, making what is missing, and close them again.

    Raises StoreError or KeyFileError.
    """
    key_file = KeyFile(settings.key_file)
    tokens = Tokens(
        key_file.load_or_create(time.time()),
        issuer=settings.issuer,
        clock=time.time,
        leeway_s=settings.clock_leeway_s,
    )
    cost = Cost(
        time=settings.argon2_time_cost,
        memory_kib=settings.argon2_memory_kib,
        lanes=settings.argon2_lanes,
    )
    lifetimes = Lifetimes(
        access_s=settings.access_ttl_s,
        refresh_s=settings.refresh_ttl_s,
        session_s=settings.session_ttl_s,
        retry_s=settings.refresh_retry_s,
    )
    database = open_database(settings.database_url)
    try:
        database.prepare()
        passwords = Passwords(cost, threads=settings.password_threads)
        try:
            session_table = SessionTable(database, _clock_ms)
            yield Core(
                database=database,
                people=People(database, _clock_ms),
                session_table=session_table,
                change_log=ChangeLog(database),
                passwords=passwords,
                key_file=key_file,
                tokens=tokens,
                issuer=Issuer(database, session_table, tokens, lifetimes, time.time),
            )
        finally:
            passwords.close()
    finally:
        database.close()


async def serve(
    settings: Settings,
    stop: asyncio.Event,
    ready: Callable[[int], None] = lambda port: None,
    tracer: Tracer | None = None,
) -> None:
    """Serve until `stop` is set; `ready` is called with the port once calls are answered.

    `tracer` records calls of sampled traces.

    Raises SettingsError when the settings, the database or the key file cannot be used.
    """
    check_listener(settings, prefix=PREFIX)
    try:
        with opened(settings) as core:
            await _serve(settings, core, stop, ready, tracer)
    except (StoreError, KeyFileError, InvalidInputError, TrustError) as error:
        raise SettingsError(str(error)) from error


async def _serve(
    settings: Settings,
    core: Core,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    tracer: Tracer | None,
) -> None:
    directory, broadcaster, counters = (
        Directory(RoomRules(free=settings.free_rooms, guardians_speak=settings.guardians_speak)),
        Broadcaster(settings.revocation_backlog),
        AuthCounters(),
    )
    follower = Follower(core.database, core.change_log, directory, broadcaster, _clock_ms)
    keys = KeyFollower(core.key_file, core.tokens)
    administration = core.administration("grpc", follower.after_change)
    await follower.catch_up()
    await administration.bootstrap_admin(
        settings.bootstrap_admin_email, settings.bootstrap_admin_password
    )
    issuers = (
        read_trusted(settings.trusted_issuers, own_issuer=settings.issuer)
        if settings.trusted_issuers
        else ()
    )
    trusted = TrustedTokens(issuers, time.time)
    federation = FederatedPeople(
        tokens=trusted,
        database=core.database,
        identities=Identities(core.database, _clock_ms),
        sessions=core.session_table,
        after_change=follower.after_change,
    )
    server = GrpcServer(settings, services=[SERVICE_NAME], prefix=PREFIX, tracer=tracer)
    servicer = AuthServicer(
        sessions=_sessions(settings, core, directory, follower, federation, counters),
        sign_in=SignIn(
            issuers,
            tokens=trusted,
            federation=federation,
            issuer=core.issuer,
            database=core.database,
            people=core.people,
            secret=core.tokens.secret_for("sign-in"),
            clock=time.time,
        ),
        passwords=settings.passwords,
        administration=administration,
        directory=directory,
        broadcaster=broadcaster,
        tokens=core.tokens,
        decision_ttl_s=settings.decision_ttl_s,
        heartbeat_s=settings.heartbeat_s,
        counters=counters,
    )
    register(servicer, server.server)
    chores = [
        asyncio.create_task(trusted.load()),
        asyncio.create_task(follow(follower, keys, poll_s=settings.poll_s)),
        asyncio.create_task(
            sweep(core.database, core.change_log, core.session_table, directory, _clock_ms)
        ),
    ]

    def metrics() -> Iterable[Family]:
        return (*families(counters, directory, broadcaster), *server.calls.families())

    try:
        async with exposed(
            settings.exposition_listen, metrics, variable=f"{PREFIX}_EXPOSITION_LISTEN"
        ):
            ready(await server.start())
            await stop.wait()
    finally:
        # End the endless streams first, or stopping would use up its grace period.
        servicer.drain()
        await server.stop()
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)


def _sessions(
    settings: Settings,
    core: Core,
    directory: Directory,
    follower: Follower,
    federation: FederatedPeople,
    counters: AuthCounters,
) -> Sessions:
    return Sessions(
        database=core.database,
        people=core.people,
        table=core.session_table,
        issuer=core.issuer,
        tokens=core.tokens,
        passwords=core.passwords,
        directory=directory,
        limits=LoginLimits(
            Allowance(
                per_pair=settings.login_free_attempts,
                per_account=settings.login_free_attempts_per_account,
                per_address=settings.login_free_attempts_per_address,
                max_wait_s=settings.login_max_wait_s,
            )
        ),
        queue=FairQueue(at_once=settings.password_threads, clock=time.monotonic),
        devices=Devices(core.tokens.secret_for("devices"), lifetime_s=settings.device_ttl_s),
        federation=federation,
        after_change=follower.after_change,
        clock=time.time,
        counters=counters,
    )


def main(
    argv: Sequence[str],
    environ: Mapping[str, str],
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> int:
    """Serve or run one command; return the exit code: 0, 1 for a refused command, 2 for unusable
    settings.
    """
    arguments = commands.parser(describe(Settings, prefix=PREFIX)).parse_args(argv)
    try:
        settings = load(Settings, environ, prefix=PREFIX)
    except SettingsError as error:
        print(f"auth_service cannot start:\n{error}", file=sys.stderr)
        return 2
    if arguments.command in (None, "serve"):

        async def serving(stop: Stop) -> None:
            async with exporting("auth_service", environ) as tracer:
                await serve(settings, stop, tracer=tracer)

        return run(serving, name="auth_service")
    actor = f"command:{_operator()}"
    try:
        if arguments.command in database_commands.COMMANDS:
            told = database_commands.execute(arguments, settings.database_url, SCHEMA)
            print(told, file=stdout or sys.stdout)
            return 0
        with opened(settings) as core:
            tools = commands.Tools(
                administration=core.administration(actor, _nothing),
                issuer=core.issuer,
                database=core.database,
                change_log=core.change_log,
                rosters=Rosters(core.database, _clock_ms),
                key_file=core.key_file,
                clock=time.time,
                access_ttl_s=settings.access_ttl_s,
                actor=actor,
                stdin=stdin or sys.stdin,
                stdout=stdout or sys.stdout,
            )
            asyncio.run(commands.execute(arguments, tools))
    except _REFUSALS as error:
        print(f"auth_service {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())


async def _nothing() -> None:
    """Do nothing: running services notice what a command changed."""


def _clock_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))

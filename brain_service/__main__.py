"""Starts the brain, or runs one of its commands: the only place that reads the environment and
opens anything.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from brain_service.bus import open_bus
from brain_service.engine import privacy, rebuild, retention
from brain_service.engine.engine import Engine, EngineOptions
from brain_service.engine.storage import StoreError
from brain_service.engine.teaching import BadNameError, TeachingOptions, declare_command
from brain_service.metrics import bus_families, families, webhook_families
from brain_service.model.adapt import RuleAdapter
from brain_service.model.bank import Bank
from brain_service.model.teaching import Allowance
from brain_service.rooms import Rooms
from brain_service.servicer import brain, room
from brain_service.settings import PREFIX, BrainSettings
from brain_service.store import SCHEMA, SqlStore
from brain_service.tracing import NO_TRACES, BrainTraces
from brain_service.watch.watches import Watches
from brain_service.webhooks import commands as webhook_commands
from brain_service.webhooks.endpoints import WebhooksError, read_webhooks
from brain_service.webhooks.running import Running, running
from service_runtime.database import commands as database_commands
from service_runtime.database.addresses import require_existing
from service_runtime.exposition import exposed
from service_runtime.grpc_server import GrpcServer, check_listener
from service_runtime.metrics import Family
from service_runtime.process import Stop, run
from service_runtime.settings import SettingsError, describe, load
from service_runtime.telemetry import Tracer, exporting
from service_runtime.version import told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    chosen = _parser().parse_args(arguments)
    if chosen.command in database_commands.COMMANDS:
        return _run_command(_back_up(chosen))
    if chosen.command == "export":
        return _run_command(_export(chosen.learner, chosen.requested_by))
    if chosen.command == "erase":
        return _run_command(_erase(chosen.learner, chosen.requested_by))
    if chosen.command == "declare":
        return _run_command(_declare(item=chosen.items, subject=chosen.subjects))
    if chosen.command == "rebuild":
        return _run_command(_rebuild())
    if chosen.command == "audit":
        return _run_command(_audit(chosen.limit))
    if chosen.command == "webhooks":
        return _run_command(_webhooks(chosen))
    if chosen.command == "shorten":
        return _run_command(_shorten())
    return run(_serve, name="brain_service")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m brain_service",
        description=(
            "Keeps a model of every learner and sends changes to watchers. Without a command it"
            " serves."
        ),
        epilog=f"environment variables:\n{describe(BrainSettings, prefix=PREFIX)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=told("brain_service"))
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve until stopped (the default)")
    export = commands.add_parser(
        "export", help="write everything stored about a learner to standard output, as JSON lines"
    )
    erase = commands.add_parser(
        "erase", help="delete everything stored about a learner; this cannot be undone"
    )
    audit = commands.add_parser(
        "audit",
        help="print the newest lines of the audit log, oldest first, as JSON lines: who asked for a"
        " learner's data or erasure, and which services recorded how many interactions in an hour"
        " (these for 90 days)",
    )
    audit.add_argument("--limit", type=int, default=100, metavar="N", help="how many (100)")
    commands.add_parser(
        "rebuild",
        help="compute states of older versions of the model anew from the log; it may be stopped"
        " and run again, also while the brain serves",
    )
    commands.add_parser(
        "shorten",
        help="take out of the log what is older than BRAIN_LOG_DAYS; a brain that serves does so by"
        " itself",
    )
    declare = commands.add_parser(
        "declare",
        help="name the items and subjects that may teach the shared bank where"
        " BRAIN_BANK_TEACHERS=declared; each list replaces the previous one",
    )
    for kind in ("items", "subjects"):
        declare.add_argument(
            f"--{kind}",
            metavar="FILE",
            help=f"{kind}, one a line; - is standard input",
        )
    webhooks = commands.add_parser(
        "webhooks", help="list messages waiting for outside systems, or queue dead letters again"
    )
    actions = webhooks.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="list what waits, and the dead letters")
    again = actions.add_parser("redeliver", help="queue dead letters again")
    again.add_argument(
        "messages", nargs="*", metavar="MESSAGE", help="ids of dead letters; none: all"
    )
    database_commands.add_commands(commands)
    for command in (export, erase):
        command.add_argument("learner", metavar="LEARNER", help="the learner's id")
        command.add_argument(
            "--requested-by", required=True, metavar="WHO", help="the requester, for the audit log"
        )
    return parser


def _run_command(command: Coroutine[None, None, bool | None]) -> int:
    try:
        return 1 if asyncio.run(command) is False else 0
    except (
        SettingsError,
        StoreError,
        privacy.BadRequestError,
        BadNameError,
    ) as error:
        print(f"brain_service: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except KeyboardInterrupt:
        print("brain_service: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader has left; pending work would only cause complaints when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


async def _export(learner_id: str, requested_by: str) -> None:
    async with _store(_settings_of_a_brain()) as store:
        await privacy.export_command(store, learner_id, requested_by, sys.stdout.buffer.write)
    sys.stdout.buffer.flush()


async def _erase(learner_id: str, requested_by: str) -> None:
    async with _store(_settings_of_a_brain()) as store:
        print(await privacy.erase_command(store, learner_id, requested_by))


async def _audit(limit: int) -> None:
    async with _store(_settings_of_a_brain()) as store:
        for entry in await store.newest_audit(max(0, limit)):
            sys.stdout.buffer.write(privacy.audit_line(entry))
    sys.stdout.buffer.flush()


async def _declare(**files: str | None) -> None:
    lists = {kind: _lines(file) for kind, file in files.items() if file is not None}
    if not lists:
        raise BadNameError("name a list by --items FILE or --subjects FILE")
    async with _store(_settings_of_a_brain()) as store:
        for kind, names in lists.items():
            _tell(await declare_command(store, kind, names))


def _lines(file: str) -> list[str]:
    try:
        if file == "-":
            return sys.stdin.readlines()
        return Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadNameError(f"{file} cannot be read: {error}") from error


async def _rebuild() -> bool:
    settings = _settings_of_a_brain()
    async with _store(settings) as store:
        bank = Bank(capacity=settings.bank_items)
        return await rebuild.rebuild_all(
            store, bank, notice_s=2 * settings.erasure_check_s, tell=_tell
        )


async def _webhooks(chosen: argparse.Namespace) -> None:
    async with _store(_settings_of_a_brain()) as store:
        if chosen.action == "list":
            await webhook_commands.list_command(store.outbox, _tell)
        else:
            _tell(await webhook_commands.redeliver_command(store.outbox, chosen.messages))


async def _shorten() -> None:
    settings = _settings_of_a_brain()
    async with _store(settings) as store:
        bank = Bank(capacity=settings.bank_items)
        await retention.shorten_command(
            store, bank, settings.log_days, now_s=time.time(), tell=_tell
        )


def _tell(sentence: str) -> None:
    print(sentence, flush=True)


async def _serve(stop: Stop) -> None:
    settings = _settings()
    check_listener(settings, prefix=PREFIX)
    try:
        webhooks = read_webhooks(settings.webhooks) if settings.webhooks is not None else None
        async with (
            exporting("brain_service", os.environ) as tracer,
            _store(settings) as store,
            running(webhooks, store.outbox) as hooks,
        ):
            await _serve_store(settings, store, stop, tracer, hooks)
    except (StoreError, WebhooksError) as error:
        raise SettingsError(str(error)) from error


async def _serve_store(
    settings: BrainSettings,
    store: SqlStore,
    stop: Stop,
    tracer: Tracer | None,
    hooks: Running | None,
) -> None:
    traces = NO_TRACES if tracer is None else BrainTraces(tracer, brain.SERVICE_NAME)
    bus = open_bus(settings.bus_url, store.epoch)
    bank = Bank(capacity=settings.bank_items)
    engine = Engine(
        store=store,
        bus=bus,
        bank=bank,
        options=_options(settings),
        traces=traces,
        notifier=hooks and hooks.messages,
    )
    watches = Watches(
        engine,
        pending=settings.watch_pending,
        resume_limit=settings.resume_limit,
        beat_learners=settings.heartbeat_learners,
    )
    bus.subscribe(watches.publish)
    brain_servicer = brain.BrainServicer(engine, watches, RuleAdapter(), traces)
    bus.subscribe(brain_servicer.forget)
    for follower in (engine, watches, brain_servicer):
        bus.follow(follower)
    room_servicer = room.RoomServicer(Rooms())
    server = GrpcServer(
        settings, services=(brain.SERVICE_NAME, room.SERVICE_NAME), prefix=PREFIX, tracer=tracer
    )
    brain_servicer.register(server.server)
    room_servicer.register(server.server)
    await engine.start()
    await bus.start()
    beating = asyncio.create_task(watches.run(settings.heartbeat_s))

    def metrics() -> Iterable[Family]:
        told = webhook_families(hooks.counters, time.time()) if hooks else ()
        return (
            *families(engine, watches, bank),
            *bus_families(bus),
            *told,
            *server.calls.families(),
        )

    try:
        async with exposed(
            settings.exposition_listen, metrics, variable=f"{PREFIX}_EXPOSITION_LISTEN"
        ):
            await server.start()
            await stop.wait()
            # Unhealthy first, so that nothing new arrives; then end the endless streams, so that
            # the server's grace period only covers the batches in hand.
            stopping = asyncio.create_task(server.stop())
            await asyncio.sleep(0)
            brain_servicer.drain()
            room_servicer.drain()
            await stopping
    finally:
        beating.cancel()
        await engine.stop()
        await bus.stop()


def _options(settings: BrainSettings) -> EngineOptions:
    return EngineOptions(
        max_batch=settings.max_batch,
        max_pending=settings.max_pending,
        cache_learners=settings.cache_learners,
        recent_ids=settings.recent_ids,
        quota_a_day=settings.quota_a_day,
        max_age_s=settings.max_backdate_s or None,
        bank_flush_s=settings.bank_flush_s,
        bank_refresh_s=settings.bank_refresh_s,
        teaching=TeachingOptions(
            teachers=settings.bank_teachers,
            guarded=settings.bank_guarded,
            allowance=Allowance(settings.bank_items_a_day, settings.bank_times_a_day),
            items=settings.bank_rows,
            age_days=settings.bank_age_days,
        ),
        log_days=settings.log_days,
        erasure_check_s=settings.erasure_check_s,
    )


async def _back_up(chosen: argparse.Namespace) -> None:
    # A new epoch makes watchers with revisions of the lost history start over.
    epoch = f"UPDATE meta SET value = '{uuid.uuid4()}' WHERE name = 'epoch'"  # noqa: S608 - ours
    schema = replace(SCHEMA, after_restore=(epoch,))
    print(
        await asyncio.to_thread(database_commands.execute, chosen, _settings().database_url, schema)
    )


def _settings() -> BrainSettings:
    return load(BrainSettings, os.environ, prefix=PREFIX)


def _settings_of_a_brain() -> BrainSettings:
    settings = _settings()
    require_existing(settings.database_url, variable=f"{PREFIX}_DATABASE_URL")
    return settings


@asynccontextmanager
async def _store(settings: BrainSettings) -> AsyncIterator[SqlStore]:
    store = await SqlStore.open(settings.database_url)
    try:
        yield store
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(main())

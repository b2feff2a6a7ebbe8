"""Starts the metrics service or runs one of its commands: the only place that reads the
environment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from metrics_service import exporting
from metrics_service.aggregate import Aggregate
from metrics_service.exposition import Metrics, families
from metrics_service.recorder import ERASE_SPAN, PAGE, Limits, Recorder
from metrics_service.servicer import SERVICE_NAME, MetricsServicer
from metrics_service.settings import PREFIX, MetricsSettings
from metrics_service.store import SCHEMA, Store, StoreError
from service_runtime import telemetry
from service_runtime.database import commands as database_commands
from service_runtime.database.addresses import require_existing
from service_runtime.exposition import exposed
from service_runtime.grpc_server import GrpcServer, check_listener
from service_runtime.metrics import Family
from service_runtime.process import Stop, run
from service_runtime.settings import SettingsError, describe, load
from service_runtime.telemetry import Tracer
from service_runtime.version import told

logger = logging.getLogger(__name__)

TURN_S = 1.0
"""Between looks at who leads."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 1 when it failed, 2 when it was asked or set up
    wrongly.
    """
    options = _parser().parse_args(arguments)
    if options.command in (None, "serve"):
        return run(_serve, name="metrics_service")
    try:
        settings = load(MetricsSettings, os.environ, prefix=PREFIX)
        if options.command in database_commands.COMMANDS:
            print(database_commands.execute(options, settings.database_url, SCHEMA))
            return 0
        require_existing(settings.database_url, variable=f"{PREFIX}_DATABASE_URL")
        return (
            _export(settings, options) if options.command == "export" else _erase(settings, options)
        )
    except SettingsError as error:
        print(f"metrics_service cannot start:\n{error}", file=sys.stderr)
        return 2
    except (StoreError, exporting.ExportError, OSError) as error:
        print(f"metrics_service {options.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m metrics_service",
        description=(
            "Knows what the whole fleet of edges is doing, and keeps records of the messages they"
            " handled."
        ),
        epilog=f"environment variables:\n{describe(MetricsSettings, prefix=PREFIX)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=told("metrics_service"))
    commands = parser.add_subparsers(
        dest="command", metavar="command", help="without one, it serves"
    )
    commands.add_parser("serve", help="serve until interrupted")
    database_commands.add_commands(commands)
    export = commands.add_parser(
        "export", help="write kept message records to a file; the service may run meanwhile"
    )
    export.add_argument("--format", choices=("csv", "parquet"), default="csv", help="default: csv")
    export.add_argument(
        "--output",
        type=Path,
        help="file to write, replaced when it exists; default: standard output",
    )
    export.add_argument(
        "--from",
        dest="from_ms",
        type=_moment,
        default=0,
        help="first moment, RFC 3339 (UTC if unsaid)",
    )
    export.add_argument(
        "--to", dest="to_ms", type=_moment, help="end, exclusive, RFC 3339 (UTC if unsaid)"
    )
    erase = commands.add_parser(
        "erase", help="delete message records; ask the running service (EraseRecords) if it runs"
    )
    whose = erase.add_mutually_exclusive_group(required=True)
    whose.add_argument("--user", default="", help="delete the records of this user id")
    whose.add_argument(
        "--learner", default="", help="delete the records whose content is about this learner id"
    )
    return parser


def _moment(text: str) -> int:
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round(moment.timestamp() * 1000)


def _export(settings: MetricsSettings, options: argparse.Namespace) -> int:
    store = Store.open(settings.database_url)
    try:
        pages = store.pages(from_ms=options.from_ms, to_ms=options.to_ms, size=PAGE)
        if options.output is None:
            if options.format == "parquet":
                raise exporting.ExportError("Parquet is binary: name a file with --output")
            written = exporting.write_csv(pages, sys.stdout)
        else:
            with exporting.replacing(options.output) as path:
                if options.format == "parquet":
                    written = exporting.write_parquet(pages, path)
                else:
                    with path.open("w", encoding="utf-8", newline="") as out:
                        written = exporting.write_csv(pages, out)
    finally:
        store.close()
    print(f"{written} records exported", file=sys.stderr)
    return 0


def _erase(settings: MetricsSettings, options: argparse.Namespace) -> int:
    store = Store.open(settings.database_url)
    try:
        erased = 0
        position: int | None = 0
        while position is not None:
            count, position = store.erase(
                user_id=options.user, learner_id=options.learner, after=position, span=ERASE_SPAN
            )
            erased += count
        is_complete = store.forget_erased()
    finally:
        store.close()
    print(f"{erased} records erased", file=sys.stderr)
    if not is_complete:
        print(
            "a reader keeps old pages in the write-ahead file; run this again to remove them too",
            file=sys.stderr,
        )
    return 0 if is_complete else 1


async def _serve(stop: Stop) -> None:
    async with telemetry.exporting("metrics_service", os.environ) as tracer:
        await _serve_traced(stop, tracer)


async def _serve_traced(stop: Stop, tracer: Tracer | None) -> None:
    settings = load(MetricsSettings, os.environ, prefix=PREFIX)
    check_listener(settings, prefix=PREFIX)
    try:
        store = await asyncio.to_thread(Store.open, settings.database_url)
        if not await _await_turn(store, stop):
            store.close()
            return
        retained, tally = await asyncio.to_thread(store.load)
    except StoreError as error:
        raise SettingsError(f"{PREFIX}_DATABASE_URL: {error}") from error
    aggregate = Aggregate(monotonic=time.monotonic, wall_ms=_wall_ms, retained=retained)
    recorder = Recorder(
        store, limits=_limits(settings), retain=aggregate.retain, wall_ms=_wall_ms, tally=tally
    )
    servicer = MetricsServicer(
        aggregate, recorder, edge_silence_s=settings.edge_silence_s, wall_ms=_wall_ms
    )
    server = GrpcServer(settings, services=(SERVICE_NAME,), prefix=PREFIX, tracer=tracer)
    servicer.register(server.server)

    def metrics() -> Iterable[Family]:
        now = Metrics(
            fleet=aggregate.snapshot(), records=recorder.tally, records_waiting=recorder.waiting
        )
        return (*families(now), *server.calls.families())

    recorder.start()
    keeping = asyncio.create_task(_keep_turn(store))
    try:
        async with exposed(
            settings.exposition_listen, metrics, variable=f"{PREFIX}_EXPOSITION_LISTEN"
        ):
            await server.start()
            try:
                await stop.wait()
            finally:
                servicer.drain()
                await server.stop()
    finally:
        keeping.cancel()
        # Last, when nothing can be counted or recorded any more.
        await recorder.stop(within_s=settings.drain_s)
        store.close()


async def _await_turn(store: Store, stop: Stop) -> bool:
    """Wait until this service may write (True) or must stop (False)."""
    is_told = False
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stopping.done():
            if await asyncio.to_thread(store.leadership.take):
                return True
            if not is_told:
                logger.info("another metrics service works with this database; standing by")
                is_told = True
            await asyncio.wait({stopping}, timeout=TURN_S)
    finally:
        stopping.cancel()
    return False


async def _keep_turn(store: Store) -> None:
    """End the process when another service leads, as after the database was away."""
    while True:
        await asyncio.sleep(TURN_S)
        with contextlib.suppress(StoreError):
            if not await asyncio.to_thread(store.leadership.take):
                logger.error("another metrics service works with this database now")
                # Exit at once: an orderly stop would write the totals, which belong to the new
                # leader. Edges report to it what this one has not saved.
                os._exit(1)


def _limits(settings: MetricsSettings) -> Limits:
    return Limits(
        recording=settings.recording,
        queue=settings.record_queue,
        record_retention_days=settings.record_retention_days,
        sums_retention_days=settings.analytics_retention_days,
        totals_interval_s=settings.totals_interval_s,
    )


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())

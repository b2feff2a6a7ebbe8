"""Writes message records as CSV or Parquet."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from metrics_service.records import Direction, MessageRecord

COLUMNS = ("at", *(field.name for field in dataclasses.fields(MessageRecord)))
"""Columns of an export: `at` is `at_ms` as RFC 3339 in UTC, `direction` a word, the rest as
recorded.
"""


class ExportError(Exception):
    """An export cannot be written; the message says why and what to do."""


def write_csv(pages: Iterable[list[MessageRecord]], out: TextIO) -> int:
    """Write records as CSV (RFC 4180, with a header) and return how many; an absent latency is an
    empty field.
    """
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    written = 0
    for page in pages:
        writer.writerows(map(_row, page))
        written += len(page)
    return written


def write_parquet(pages: Iterable[list[MessageRecord]], path: Path) -> int:
    """Write records as a Parquet file and return how many; an absent latency is null. Raises
    ExportError.
    """
    try:
        # Not a plain import: type checking must not depend on whether the optional package is
        # there.
        pa = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ExportError(
            "Parquet needs the package pyarrow, which is not installed because it is large and the"
            " service runs without it: pip install 'aivo-realtime[parquet]', or export as CSV"
        ) from error
    schema = _parquet_schema(pa)
    written = 0
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for page in pages:
            rows = [_row(record) | {"at": record.at_ms} for record in page]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            written += len(page)
    return written


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new private file that replaces `path` when the block succeeds."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ExportError(f"cannot write into {path.parent}: {error.strerror}") from error
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _row(record: MessageRecord) -> dict[str, Any]:
    moment = datetime.datetime.fromtimestamp(record.at_ms / 1000, datetime.UTC)
    row = {field: getattr(record, field) for field in COLUMNS[1:]}
    row["at"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row["direction"] = Direction(record.direction).name.lower()
    return row


def _parquet_schema(pa: Any) -> Any:
    kinds = {
        "at": pa.timestamp("ms", tz="UTC"),
        "at_ms": pa.int64(),
        "bytes": pa.int64(),
        "latency_ms": pa.float64(),
    }
    repeated = pa.dictionary(pa.int32(), pa.string())
    kinds |= dict.fromkeys(("role", "type", "direction", "outcome"), repeated)
    return pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])

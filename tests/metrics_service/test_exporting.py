"""Exports have every field of every record, in a form that other programs read."""

from __future__ import annotations

import csv
import datetime
import io
import stat
import sys
from pathlib import Path

import pytest

from metrics_service.exporting import COLUMNS, ExportError, replacing, write_csv, write_parquet
from tests.metrics_service.support import record

AT_MS = 1_700_000_000_123
RECORDS = [
    record(at_ms=AT_MS, trace_id="0af7651916cd43dd8448eb211c80319c"),
    record(
        at_ms=AT_MS,
        direction=2,
        latency_ms=None,
        content='{"type":"pong",\n"x":"a,b"}',
        learner_id="l",
        user_id="",
    ),
]


def test_csv_has_a_header_and_every_field() -> None:
    out = io.StringIO(newline="")
    assert write_csv([RECORDS[:1], RECORDS[1:]], out) == 2
    out.seek(0)
    rows = list(csv.DictReader(out))

    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["at"] == "2023-11-14T22:13:20.123Z"
    assert (rows[0]["at_ms"], rows[0]["direction"], rows[0]["latency_ms"]) == (
        str(AT_MS),
        "inbound",
        "1.5",
    )
    assert (rows[1]["direction"], rows[1]["latency_ms"], rows[1]["user_id"]) == ("outbound", "", "")
    assert rows[1]["content"] == RECORDS[1].content


def test_an_export_of_nothing_is_a_header() -> None:
    out = io.StringIO(newline="")
    assert write_csv([], out) == 0
    assert out.getvalue() == ",".join(COLUMNS) + "\r\n"


def test_parquet_has_every_field_with_its_type(tmp_path: Path) -> None:
    parquet = pytest.importorskip(
        "pyarrow.parquet", reason="the optional package pyarrow is not installed"
    )
    path = tmp_path / "records.parquet"
    assert write_parquet([RECORDS[:1], RECORDS[1:]], path) == 2
    table = parquet.read_table(path)

    assert table.column_names == list(COLUMNS)
    first, second = table.to_pylist()
    assert first["at"] == datetime.datetime.fromtimestamp(AT_MS / 1000, datetime.UTC).replace(
        microsecond=123_000
    )
    assert (first["at_ms"], first["bytes"], first["latency_ms"]) == (AT_MS, 17, 1.5)
    assert (second["direction"], second["latency_ms"], second["content"]) == (
        "outbound",
        None,
        RECORDS[1].content,
    )


def test_parquet_without_its_package_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ExportError, match=r"pip install 'aivo-realtime\[parquet\]'"):
        write_parquet([RECORDS], tmp_path / "x")


def test_a_file_is_replaced_only_by_a_whole_export_and_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as new:
            new.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
    with replacing(path) as new:
        new.write_text("whole")

    assert [file.read_text() for file in tmp_path.iterdir()] == ["whole"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot write"), replacing(tmp_path / "none" / "out.csv"):
        pass

"""Both published shapes of logs are read, and nonsense is refused with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.replay.__main__ import main, speed
from tests.replay.log import BadLogError, read_log

FRAME = {
    "ts": 1565096187.972,
    "learner_id": "ednet-u1",
    "type": "question_response",
    "content": "q5012",
    "response": "b",
    "context": {"correct": False, "skill": ["74"]},
}
TABLE = "user_id\titem_id\ttimestamp\tcorrect\tskill_id\n7\t809\t38976428\t0\t70\n8\t806\t5\t1\t\n"


def frames(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_frame_keeps_its_fields_and_gets_its_time_and_an_id(tmp_path: Path):
    (one,) = read_log(frames(tmp_path, FRAME))

    assert one.data == {
        "learner_id": "ednet-u1",
        "type": "question_response",
        "content": "q5012",
        "response": "b",
        "context": {"correct": False, "skill": ["74"]},
        "interaction_id": one.interaction_id,
        "occurred_at": "2019-08-06T12:56:27.972Z",
    }


def test_an_absent_response_stays_absent(tmp_path: Path):
    (one,) = read_log(frames(tmp_path, FRAME | {"response": None}))

    assert "response" not in one.data


def test_a_table_of_first_attempts_becomes_answers(tmp_path: Path):
    path = tmp_path / "attempts.tsv.gz"
    path.write_bytes(gzip.compress(TABLE.encode()))
    first, second = read_log(path)

    assert first.learner_id == "assist17-7"
    assert first.data["type"] == "question_response"
    assert first.data["context"] == {"correct": False, "item_id": "809", "skill": "70"}
    assert first.data["occurred_at"] == "1971-03-28T02:47:08.000Z"
    assert second.data["context"] == {"correct": True, "item_id": "806"}


def test_ids_follow_from_content_line_and_run(tmp_path: Path):
    path = frames(tmp_path, FRAME, FRAME)
    one, two = read_log(path)

    assert one.interaction_id != two.interaction_id
    assert one.interaction_id < two.interaction_id
    assert [one, two] == read_log(path)
    assert read_log(path, run="again")[0].interaction_id not in (
        one.interaction_id,
        two.interaction_id,
    )


def test_a_limit_takes_the_first(tmp_path: Path):
    assert [entry.line for entry in read_log(frames(tmp_path, FRAME, FRAME, FRAME), limit=2)] == [
        0,
        1,
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense\n",
        '{"ts": "x"}\n',
        "[]\n",
        TABLE + "1\t2\t3\n",
        TABLE.replace("\t0\t70", "\t2\t70"),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "log"
    path.write_text(text)

    with pytest.raises(BadLogError):
        read_log(path)


def test_an_empty_file_is_called_that(tmp_path: Path):
    (tmp_path / "log").touch()

    with pytest.raises(BadLogError, match="has no interactions"):
        read_log(tmp_path / "log")


def test_a_missing_or_broken_file_is_refused(tmp_path: Path):
    short, broken = tmp_path / "short.gz", tmp_path / "broken.gz"
    short.write_bytes(b"\x1f\x8bnonsense")
    broken.write_bytes(b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff")

    for path in (short, broken, tmp_path / "missing"):
        with pytest.raises(BadLogError, match="cannot read"):
            read_log(path)


def test_speed_is_real_max_or_a_number():
    assert (speed("max"), speed("real"), speed("60"), speed("2.5x")) == (None, 1.0, 60.0, 2.5)
    for text in ("0", "-1", "fast", "inf", "nan"):
        with pytest.raises(ValueError, match=r".*"):
            speed(text)


def test_a_missing_file_ends_the_command_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main([str(tmp_path / "missing")]) == 1
    assert capsys.readouterr().err.startswith("replay: cannot read")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "http://127.0.0.1:8000/ws"], "must be like ws://"),
        (["--url", "nonsense"], "must be like ws://"),
        (["--run", "a b"], "--run: must be up to 64"),
        (["--longest-pause", "-1"], "--longest-pause: must be zero or more"),
        (["--patience", "nan"], "--patience: must be zero or more"),
        (["--speed", "-1"], "--speed must be"),
        (["--limit", "0"], "must be at least 1"),
    ],
)
def test_an_argument_that_means_nothing_is_told_before_anything_starts(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["no-such-file", *arguments])

    assert ended.value.code == 2
    assert told in capsys.readouterr().err

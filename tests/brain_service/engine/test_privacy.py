"""Export and erasure of a learner, through a running engine and beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from brain_service.engine import privacy
from brain_service.engine.storage import LogRow, Row, StoreUnavailableError
from brain_service.store import SqlStore
from brain_service.store.entries import pack, unpack
from service_runtime.database.connections import sqlite_connection
from tests.brain_service.engine.engine_support import (
    NOW_S,
    Brain,
    as_older_versions,
    interaction,
    logged,
    revisions,
    running,
    submission,
)


async def exported(brain: Brain, learner_id: str) -> list[dict[str, Any]]:
    data = b"".join([lines async for lines in brain.engine.export(learner_id, "a parent")])
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def in_files(path: Path, text: str | bytes) -> int:
    """Count a text in the database's files, the write-ahead file included."""
    wanted = text.encode() if isinstance(text, str) else text
    return sum(file.read_bytes().count(wanted) for file in path.parent.iterdir())


def packed(path: Path, name: str) -> list[bytes]:
    """Return pieces of what a learner's rows are packed into, such as nobody else's have."""
    connection = sqlite3.connect(path)
    query = "SELECT interaction_key, entry FROM log WHERE learner_key IS NOT NULL"
    rows = [(unpack(entry, 1, key).content, entry) for key, entry in connection.execute(query)]
    connection.close()
    mine = [entry for content, entry in rows if content.startswith(f"secret-{name}")]
    others = b"".join(entry for content, entry in rows if content[:20] != f"secret-{name}"[:20])
    assert len(mine) > 200
    pieces = [entry[at : at + 40] for entry in mine for at in range(20, len(entry) - 40, 40)]
    own = [piece for piece in random.Random(1).sample(pieces, 200) if piece not in others]
    assert len(own) > 100
    return own[:60]


async def test_what_is_damaged_keeps_nobody_from_the_rest(path: Path) -> None:
    async with running(path) as brain:
        await brain.apply(*[submission("ada", f"i{n}", response="vier") for n in range(3)])
    connection = sqlite3.connect(path)
    with connection:
        seq, key, entry = connection.execute(
            "SELECT seq, interaction_key, entry FROM log WHERE revision = 2"
        ).fetchone()
        row = unpack(entry, 2, key)
        damaged = pack(Row("ada", 1, *row[:-1], b"c", b""), id_is_told=False)
        connection.execute("UPDATE log SET entry = ? WHERE seq = ?", (damaged, seq))
        connection.execute("UPDATE heads SET head = x'63'")
    connection.close()
    async with running(path) as brain:
        lines = await exported(brain, "ada")

    told = [line for line in lines if line["type"] == "interaction"]
    assert [line["response"] for line in told] == ["vier"] * 3
    assert [line["assessment"] is None for line in told] == [False, True, False]
    assert [line["levels"] is None for line in told] == [False, True, False]
    [state] = [line for line in lines if line["type"] == "state"]
    assert (state["revision"], state["state"]) == (3, None)
    assert lines[-1]["type"] == "end"


async def test_an_export_tells_everything_stored_in_readable_lines(brain: Brain) -> None:
    sent = [
        submission(
            "ada",
            f"i{n}",
            interaction=interaction("¿2 + 2?", correct=n % 2 == 0),
            response="vier",
            context_json=b'{"mood": "fine"}',
            traceparent="00-aa",
        )
        for n in range(3)
    ]
    results = await brain.apply(*sent, submission("bob", "b"))
    learner, *lines = await exported(brain, "ada")

    assert [line["type"] for line in lines] == ["interaction"] * 3 + ["state", "audit", "end"]
    assert (learner["learner_id"], learner["revision"], learner["epoch"]) == (
        "ada",
        3,
        brain.engine.epoch,
    )
    last = lines[2]
    assert last["content"] == "¿2 + 2?"
    assert (last["interaction_id"], last["revision"], last["response"]) == ("i2", 3, "vier")
    assert last["context"] == {"mood": "fine"}
    assert last["occurred_at"] == "2023-11-14T22:13:20.000Z"
    assessment = results[2].assessment  # type: ignore[union-attr]
    assert last["levels"]["frustration_level"] == assessment.level("frustration_level")
    assert sum(len(each) for each in last["assessment"]["drivers"].values()) > 20
    assert last["assessment"]["mastery"][0]["skill"] == "sums"
    assert last["assessment"]["recommendations"][0]["sentence"]
    assert lines[3]["state"]["answers"] == 3
    assert lines[3]["state"]["skills"]["sums"]["answers"] == 3
    assert (lines[4]["action"], lines[4]["requested_by"]) == ("export", "a parent")


async def test_an_export_names_every_stored_field(brain: Brain) -> None:
    """A field that the log gains must show up in the export, or be left out on purpose."""
    await brain.apply(submission("ada", "a"))
    line = (await exported(brain, "ada"))[1]
    renamed = {
        "context_json": "context",
        "occurred_at_ms": "occurred_at",
        "received_at_ms": "received_at",
    }

    assert {renamed.get(name, name) for name in LogRow._fields} <= line.keys()


async def test_an_export_of_many_pages_has_each_revision_once(brain: Brain) -> None:
    await brain.apply(*[submission("ada", f"i{n}") for n in range(450)])
    lines = await exported(brain, "ada")

    assert [line["revision"] for line in lines if line["type"] == "interaction"] == list(
        range(1, 451)
    )


async def test_an_export_of_an_unknown_learner_is_recorded_and_has_no_interactions(
    brain: Brain,
) -> None:
    learner, audit, _ = await exported(brain, "nobody")

    assert learner["revision"] == 0
    assert audit["action"] == "export"


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (b"\xffnot json", "\\xffnot json"),
        (b'{"a":' * 985 + b"1" + b"}" * 985, '{"a":' * 985 + "1" + "}" * 985),
        (b'{"a":NaN}', '{"a":NaN}'),
        (b'{"a":1e999}', '{"a":1e999}'),
        ('{"a":1}'.encode("utf-16"), '\\xff\\xfe{\0"\0a\0"\0:\x001\0}\0'),
        (rb'{"a":"\ud800"}', r'{"a":"\ud800"}'),
    ],
)
async def test_what_older_versions_took_as_context_is_exported_as_text(
    brain: Brain, stored: bytes, shown: object
) -> None:
    with as_older_versions():
        await brain.apply(submission("ada", "a", context_json=stored))

    assert (await exported(brain, "ada"))[1]["context"] == shown


async def test_an_export_ends_with_what_it_must_hold(brain: Brain) -> None:
    await brain.apply(*[submission("ada", f"i{n}") for n in range(250)])
    whole = b"".join([part async for part in brain.engine.export("ada", "a parent")])
    *lines, last = whole.splitlines(keepends=True)
    end = json.loads(last)

    assert end["type"] == "end"
    assert end["lines"] == len(lines) == 253
    assert end["sha256"] == hashlib.sha256(b"".join(lines)).hexdigest()


async def test_a_line_of_an_export_ends_where_the_line_ends_for_every_reader(brain: Brain) -> None:
    ends = "".join(chr(code) for code in (0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029))
    context = json.dumps({"note": ends}, ensure_ascii=False).encode()
    await brain.apply(submission("ada", "a", response=f"x{ends}y", context_json=context))
    whole = b"".join([part async for part in brain.engine.export("ada", "a parent")]).decode()
    lines = [json.loads(line) for line in whole.splitlines()]

    assert lines[1]["response"] == f"x{ends}y"
    assert lines[1]["context"]["note"] == ends


async def test_an_erased_learner_is_gone_from_log_memory_and_duplicates(
    brain: Brain, path: Path
) -> None:
    await brain.apply(submission("ada", "a"), submission("ada", "b"), submission("bob", "a"))
    assert await brain.engine.erase("ada", "a parent") == 2

    assert [each.revision for each in await brain.engine.snapshots([("ada", 0), ("bob", 0)])] == [
        0,
        1,
    ]
    assert await brain.engine.history("ada") == ([], False)
    assert await brain.engine.revisions(["ada", "bob"]) == {"bob": 1}
    assert [(each.learner_id, each.revision) for each in brain.published if each.gone] == [
        ("ada", 0)
    ]
    assert revisions(await brain.apply(submission("ada", "a"), submission("bob", "a"))) == [
        (1, False),
        (1, True),
    ]


async def test_an_erasure_comes_after_what_was_submitted_before_it(
    brain: Brain, path: Path
) -> None:
    before = asyncio.create_task(brain.apply(submission("ada", "a")))
    erasing = asyncio.create_task(brain.engine.erase("ada", "a parent"))
    after = asyncio.create_task(brain.apply(submission("ada", "b")))

    assert revisions(await before) == [(1, False)]
    assert await erasing == 1
    assert revisions(await after) == [(1, False)]
    assert [row[1:] for row in logged(path)] == [(1, "b")]


async def test_the_audit_log_tells_who_asked_for_what_and_does_not_name_the_learner(
    brain: Brain, path: Path
) -> None:
    await brain.apply(submission("ada.lovelace@example.org", "a"))
    await exported(brain, "ada.lovelace@example.org")
    await brain.engine.erase("ada.lovelace@example.org", "the school")
    await brain.engine.erase("nobody", "the school")
    entries = await brain.store.audit(learner_id="ada.lovelace@example.org")

    assert [
        (each.action, each.requested_by, each.interactions, each.at_ms) for each in entries
    ] == [
        ("export", "a parent", 1, int(NOW_S * 1000)),
        ("erase", "the school", 1, int(NOW_S * 1000)),
    ]
    assert len(await brain.store.audit()) == 3
    assert in_files(path, "lovelace") == 0


async def test_no_byte_of_an_erased_learner_is_left_in_the_files(path: Path) -> None:
    """Thousands of rows of several learners in random order, large and small, erased one after the
    other.
    """
    order = random.Random(5)
    names = [f"learner{n}.name" for n in range(6)]
    async with running(path, max_batch=64) as brain:
        for n in range(40):
            batch = []
            for _ in range(50):
                name = order.choice(names)
                secret = f"secret-{name}-" * order.choice([1, 3, 300])
                marked = (
                    str(uuid.UUID(int=order.getrandbits(128)))
                    if n % 2
                    else f"{order.random()}-id-{name}"
                )
                task = interaction(secret, item_id="shared", skill=f"skill-{name}")
                batch.append(
                    submission(
                        name, marked, interaction=task, response=secret, traceparent=f"00-{name}"
                    )
                )
            await brain.apply(*batch)
        for position, name in enumerate(names):
            kept = packed(path, name)
            assert min(in_files(path, each) for each in kept) > 0
            assert await brain.engine.erase(name, "the school") > 200
            assert max(in_files(path, each) for each in kept) == 0
            assert in_files(path, name) == 0
            for other in names[position + 1 :]:
                entries, _ = await brain.engine.history(other, newest=True, limit=3)
                assert entries[-1].content.startswith(f"secret-{other}")
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_an_erasure_that_a_reader_keeps_from_finishing_says_so_and_can_be_finished(
    brain: Brain, path: Path
) -> None:
    await brain.apply(submission("ada", "a", interaction=interaction("secret")))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM log").fetchall()
    sqlite_connection(brain.store.written).execute("PRAGMA busy_timeout=20")
    with pytest.raises(StoreUnavailableError, match="erase the learner again"):
        await brain.engine.erase("ada", "a parent")
    reader.execute("ROLLBACK")
    reader.close()

    await brain.engine.erase("ada", "a parent")
    assert in_files(path, "secret") == 0
    assert (await brain.engine.snapshots([("ada", 0)]))[0].revision == 0


async def test_the_commands_work_beside_a_running_engine(path: Path) -> None:
    async with running(path, erasure_check_s=0.01) as brain:
        await brain.apply(submission("ada", "a"), submission("ada", "b"))
        gone = asyncio.Event()
        brain.bus_subscribe(lambda publications: gone.set() if publications[0].gone else None)
        store = await SqlStore.open(path)
        lines: list[bytes] = []
        await privacy.export_command(store, "ada", "a parent", lines.append)
        sentence = await privacy.erase_command(store, "ada", "a parent")
        await store.close()
        async with asyncio.timeout(10):
            await gone.wait()

        assert [json.loads(line)["type"] for line in b"".join(lines).splitlines()][:3] == [
            "learner",
            "interaction",
            "interaction",
        ]
        assert sentence.startswith("Erased 2 interactions of ada")
        assert (await brain.engine.snapshots([("ada", 0)]))[0].revision == 0


@pytest.mark.parametrize(
    ("learner_id", "requested_by"),
    [("", "me"), ("a b", "me"), ("ada", ""), ("ada", "  "), ("ada", "x" * 257), ("ada", "me\n")],
)
async def test_a_request_that_could_not_be_attributed_is_refused_and_not_recorded(
    brain: Brain, learner_id: str, requested_by: str
) -> None:
    with pytest.raises(privacy.BadRequestError):
        await brain.engine.erase(learner_id, requested_by)
    with pytest.raises(privacy.BadRequestError):
        await anext(brain.engine.export(learner_id, requested_by))

    assert await brain.store.audit() == []

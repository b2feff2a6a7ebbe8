"""A log of the time when every row carried the whole state comes out of the upgrade as it was."""

from __future__ import annotations

import json

import sqlalchemy as sa

from brain_service.store import SCHEMA, SqlStore
from brain_service.store.identity import identity
from service_runtime.database.connections import Database
from service_runtime.database.schema import migrate

LONG = 150
COLUMNS = (
    "seq, learner_key, revision, previous, interaction_key, interaction_id, kind, content,"
    " response, context_json, occurred_at_ms, received_at_ms, traceparent, outcome, state"
)


async def test_every_row_and_state_is_what_it_was(address: str) -> None:
    database = Database.open(address)
    with database.write() as connection:
        migrate(connection, SCHEMA, "0003")
        salt = bytes.fromhex(identity_of_0003(connection))
    names = SqlStore(database, epoch="", salt=salt)
    places = f"INSERT INTO log ({COLUMNS}) VALUES (:{COLUMNS.replace(', ', ', :')})"
    newest = {1: 0, 2: 0}
    with database.write() as connection:
        for key, name in enumerate(["ada", "bob", "new"], 1):
            connection.execute(
                sa.text(
                    "INSERT INTO learners (learner_digest, revision, newest) VALUES (:digest,"
                    " :revision, :newest)"
                ),
                {
                    "digest": names.digest(name),
                    "revision": LONG if key < 3 else 0,
                    "newest": 2 * LONG - 2 + key if key < 3 else None,
                },
            )
        for revision in range(1, LONG + 1):
            for key in (1, 2):
                place = 2 * revision - 2 + key
                row = {
                    **{"seq": place, "learner_key": key, "revision": revision},
                    **{"previous": newest[key], "kind": "practice", "content": f"{key} {revision}"},
                    **{"interaction_id": f"i{revision}", "response": None if key == 1 else "4"},
                    "interaction_key": names.interaction_key(f"i{revision}"),
                    "context_json": json.dumps({"n": revision}).encode(),
                    **{"occurred_at_ms": 1000 + revision, "received_at_ms": 2000 + revision},
                    **{"traceparent": "", "outcome": f"told {place}".encode()},
                    "state": f"state {place}".encode() * 99,
                }
                newest[key] = place
                connection.execute(sa.text(places), row)
    await names.close()

    database = Database.open(address)
    with database.write() as connection:
        migrate(connection, SCHEMA)
    database.close()
    store = await SqlStore.open(address)
    heads = await store.load(["ada", "bob", "new"])
    assert {name: head.state for name, head in heads.items()} == {
        name: f"state {place}".encode() * 99 for name, place in (("ada", 299), ("bob", 300))
    }
    rows = await store.history("bob", after_revision=0, limit=1000, newest=False)
    assert [
        (row.revision, row.interaction_id, row.content, row.response, row.context_json)
        for row in rows
    ] == [(n, f"i{n}", f"2 {n}", "4", json.dumps({"n": n}).encode()) for n in range(1, LONG + 1)]
    assert [(row.occurred_at_ms, row.received_at_ms, row.assessment) for row in rows] == [
        (1000 + n, 2000 + n, f"told {2 * n}".encode()) for n in range(1, LONG + 1)
    ]
    assert (await store.find([("ada", "i7")]))["ada", "i7"].revision == 7
    await store.close()


def identity_of_0003(connection: sa.Connection) -> str:
    return identity(connection)["salt"]

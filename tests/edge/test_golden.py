"""Golden frames: one file per frame of the protocol, read, and server frames written again byte for
byte; the browser's tests read the same folder. Adding a frame means adding a file here.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from brain_service.model.alerts import ATTENTION, CROSSINGS, RECOMMENDATION
from brain_service.model.attention import REASONS, Attention
from brain_service.model.levels import CLIPPED, DRIVER_NAMES, LEVELS, NAMES
from brain_service.model.recommend import ADVICE, Recommendation, Urgency
from brain_service.model.words import CAUSES, DRIVERS, Because
from edge.frames import asyncapi, incoming, outgoing, schema
from edge.frames.codes import RETRYABLE
from edge.frames.schema import SERVER_FRAMES
from edge.session import session

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/golden/frames"
FILES = sorted(path.name for path in FOLDER.glob("*.json"))
DEFAULTS: dict[str, Any] = {
    "mode": "latest",
    "min_interval_ms": 0,
    "context": {},
    "traceparent": "",
}


def _types(direction: str) -> set[str]:
    return {name.split(".")[1] for name in FILES if name.startswith(direction + ".")}


def test_every_type_has_a_file_and_every_file_a_type() -> None:
    assert _types("client") == incoming.CLIENT_TYPES
    assert _types("server") == set(SERVER_FRAMES)
    assert {name.split(".")[0] for name in FILES} == {"client", "server"}


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("client.")])
def test_a_client_frame_is_read_whole(name: str) -> None:
    content = (FOLDER / name).read_text().removesuffix("\n")
    sent = json.loads(content)

    frame = incoming.decode(content.encode())

    assert json.dumps(sent, separators=(",", ":"), ensure_ascii=False) == content
    assert frame.__struct_config__.tag == sent["type"] == name.split(".")[1]
    _assert_understood(sent, json.loads(outgoing.encode(frame)))
    if isinstance(frame, incoming.VirtualBrainInteract):
        incoming.decode_context(frame.data.context)


def _assert_understood(sent: dict[str, Any], read: dict[str, Any]) -> None:
    """Every field that was sent was read as it is; the others have their defaults."""
    for name, value in read.items():
        if name == "data":
            _assert_understood(sent[name], value)
        elif name == "occurred_at" and value:
            assert datetime.fromisoformat(value) == datetime.fromisoformat(sent[name])
        else:
            assert value == sent.get(name, DEFAULTS.get(name))
    assert set(sent) <= set(read)


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("server.")])
def test_a_server_frame_is_read_and_written_again_byte_for_byte(name: str) -> None:
    content = (FOLDER / name).read_bytes().removesuffix(b"\n")

    frame: Any = SERVER_FRAMES[name.split(".")[1]].decode(content)

    assert outgoing.encode(frame) == content
    if isinstance(frame, outgoing.Error):
        assert frame.retryable is RETRYABLE[frame.code]


def test_the_published_schema_is_what_the_frames_say() -> None:
    published = (ROOT / "docs/protocol.schema.json").read_text()

    assert published == schema.render(), (
        "run: python -m edge.frames.schema > docs/protocol.schema.json"
    )


def test_the_published_asyncapi_document_is_what_the_frames_say() -> None:
    published = (ROOT / "docs/asyncapi.json").read_text()

    assert published == asyncapi.render(), (
        "run: python -m edge.frames.asyncapi > docs/asyncapi.json"
    )


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi.document()

    def check(value: Any) -> None:
        if isinstance(value, list):
            for one in value:
                check(one)
        elif isinstance(value, dict):
            if isinstance(value.get("$ref"), str):
                found: Any = document
                for name in value["$ref"].removeprefix("#/").split("/"):
                    found = found[name]
            for one in value.values():
                check(one)

    check(document)
    told = {one["name"] for one in document["components"]["messages"].values()}
    assert told == set(SERVER_FRAMES) | incoming.CLIENT_TYPES
    assert len(document["operations"]["fromClients"]["messages"]) == len(incoming.CLIENT_TYPES)


def test_every_golden_frame_has_only_fields_of_the_schema() -> None:
    definitions = schema.schema()["$defs"]
    by_direction = {
        direction: {
            one["properties"]["type"]["enum"][0]: one
            for one in (
                definitions[ref["$ref"].rpartition("/")[2]] for ref in definitions[union]["oneOf"]
            )
        }
        for direction, union in (("client", "ClientFrame"), ("server", "ServerFrame"))
    }
    for name in FILES:
        direction, type = name.split(".")[:2]
        sent, described = json.loads((FOLDER / name).read_text()), by_direction[direction][type]
        assert set(described["required"]) <= set(sent) <= set(described["properties"]), name


def _told(because: Because) -> dict[str, str]:
    direction = "up" if because.up else "down"
    return {"code": because.code, "direction": direction, "words": because.words}


def _found(value: Any, name: str) -> list[Any]:
    """Return every value of a field, wherever it stands."""
    if isinstance(value, dict):
        here = [value[name]] if name in value else []
        return here + [found for one in value.values() for found in _found(one, name)]
    return (
        [found for one in value for found in _found(one, name)] if isinstance(value, list) else []
    )


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("server.")])
def test_a_server_frame_says_what_the_brain_says(name: str) -> None:
    """Whoever writes a client from these examples must not wait for words that never come."""
    frame = json.loads((FOLDER / name).read_text())
    advice = {(one.code, one.reasons, one.urgency.name.lower()): one for one in ADVICE}
    for crossing in [one for found in _found(frame, "crossings") for one in found]:
        assert crossing["name"] in CROSSINGS
        if crossing["name"] == ATTENTION:
            assert crossing["value"] in set(Attention)
        if crossing["name"] == RECOMMENDATION:
            assert crossing["value"] in set(Urgency)
    for actions, sentences in zip(
        _found(frame, "actions"), _found(frame, "recommendations"), strict=True
    ):
        for action, sentence in zip(actions, sentences, strict=True):
            meant = advice[action["code"], tuple(action["reason"]), action["urgency"]]
            assert sentence == meant.sentence
            if "because" in action:
                told = Recommendation(meant, ()).because
                assert action["because"] == [_told(one) for one in told]
    for drivers in _found(frame, "drivers"):
        for level, parts in drivers.items():
            assert set(parts) <= {*DRIVER_NAMES[NAMES.index(level)], CLIPPED}
    for grades in _found(frame, "grades"):
        assert grades == {
            level.name: level.grade for level in LEVELS if level.name != "item_confidence"
        }
    for struggle in _found(frame, "struggle"):
        for one in struggle["because"]:
            assert one["words"] == CAUSES[one["code"]][one["direction"] == "up"]
    for explanations in _found(frame, "explanations"):
        for level, because in explanations.items():
            assert {one["code"] for one in because} <= set(DRIVER_NAMES[NAMES.index(level)])
            assert all(one["words"] in DRIVERS[one["code"]] for one in because)
    for attention in _found(frame, "attention"):
        assert attention["code"] in REASONS
    for version in _found(frame, "model_version"):
        assert version.startswith("vb-ssm/")


def test_every_frame_is_handled_and_described() -> None:
    described = (ROOT / "docs" / "protocol.md").read_text()

    assert set(session.HANDLERS) == set(incoming.TYPES)
    for name in (*incoming.TYPES.values(), *outgoing.TYPES.values()):
        assert f"`{name}`" in described, name

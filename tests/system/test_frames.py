"""The golden frames and what the edge really sends name the same fields, with the same kinds of
values: a golden frame that nobody sends would teach clients something untrue.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import grpc
import pytest

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from tests.support.school import School, request
from tests.support.socket import Frame, Socket, open_socket
from tests.system.conftest import running_school

GOLDEN = Path(__file__).parents[1] / "golden" / "frames"
MAPS = {"mastery", "drivers", "explanations"}
"""Fields whose keys are names of the day: of skills, of drivers, of levels that stand out."""
FREE = ".data"
"""What members of a room tell each other is theirs."""
ROOM = "class:5a"


def fields(value: object, path: str = "") -> Iterator[str]:
    """Name every field within a value and the kind of value that is in it."""
    if path == FREE:
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from fields(inner, f"{path}.*" if _is_map(path) else f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, f"{path}[]")
    else:
        yield f"{path}: {_kind(value)}"


def _is_map(path: str) -> bool:
    return path.removesuffix(".*").rpartition(".")[2] in MAPS


def _kind(value: object) -> str:
    return "number" if type(value) in (int, float) else type(value).__name__


def by_type(frames: Iterable[Frame]) -> dict[str, set[str]]:
    """Gather the fields of all frames of a type."""
    found: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        found[frame["type"]] |= set(fields(frame))
    return found


@pytest.fixture(scope="module")
def sent() -> dict[str, set[str]]:
    """What an edge of its own says in a conversation of everything, until it drains."""
    with running_school() as school:
        return by_type(asyncio.run(conversation(school)))


async def conversation(school: School) -> list[Frame]:
    """Provoke every frame, with and without what is optional in it."""
    url = school.stack.ws_url
    learner = school.new_learner()
    admin, parent, teacher = (school.token(name) for name in ("admin", "parent", "teacher"))
    async with open_socket(url) as one, open_socket(url, parent) as other:
        await one.ask("authenticate", token=admin)
        await ask_small_things(one, admin)
        await see_a_learner_struggle(one, learner)
        await lose_learners(school, one, other, learner)
        async with open_socket(url, teacher) as third:
            await talk(one, third)
            await chatter(third)
            await asyncio.to_thread(school.stack.stop, "edge")
            await one.until_closed()
        return [*one.frames, *other.frames, *third.frames]


async def ask_small_things(one: Socket, token: str) -> None:
    """Ask for what says nothing of a learner, or is refused."""
    await one.ask("authenticate", token=token)
    await one.ask("ping", sent_at=1)
    await one.send({"type": "ping"})
    await one.send("no JSON")
    await one.ask("nothing_of_the_kind")
    await one.ask("get_state", learner_id="nobody")
    await one.interact("nobody")


async def see_a_learner_struggle(one: Socket, learner: str) -> None:
    """Watch a learner who is new, does well, and then gets everything wrong."""
    await one.ask("get_state", learner_id=learner)
    await one.ask("subscribe_learner", learner_id=learner)
    await one.interact(learner, interaction_id="first")
    await one.interact(learner, interaction_id="first")
    await one.ask("unsubscribe_learner", learner_id=learner)
    await one.ask("subscribe_learner", learner_id=learner)
    await one.interact(learner, type="content_view", context={})
    for correct, count in ((True, 24), (False, 12)):
        for _ in range(count):
            answered = await one.interact(learner, correct=correct)
    await one.until_revision(learner, answered["revision"])
    await one.ask("get_state", learner_id=learner)
    text = {"learner_id": learner, "content": "Read the text. " * 60, "content_type": "text"}
    await one.ask("adapt_content", data=text)


async def lose_learners(school: School, one: Socket, other: Socket, learner: str) -> None:
    """Leave a learner, see one erased, and have one taken away."""
    await one.ask("unsubscribe_learner", learner_id=learner)
    await one.ask("subscribe_learner", learner_id=learner)
    path = f"/api/learners/{learner}/data"
    await asyncio.to_thread(request, school.stack, "DELETE", path, None, school.token("admin"))
    await one.expect(type="unsubscribed", code="gone")
    await other.ask("subscribe_learner", learner_id="ada")
    relation = auth_pb2.Relation(
        kind=auth_pb2.RELATION_KIND_GUARDIAN_OF, subject=school.user_id("parent"), object="ada"
    )
    with grpc.insecure_channel(school.stack.address("auth")) as channel:
        auth_pb2_grpc.AuthServiceStub(channel).RemoveRelation(
            auth_pb2.RemoveRelationRequest(relation=relation), metadata=school.stack.metadata
        )
    await other.expect(type="unsubscribed", code="revoked")


async def talk(one: Socket, third: Socket) -> None:
    """Meet in a room, say something, part."""
    await one.ask("join_room", room_id=ROOM)
    await third.ask("join_room", room_id=ROOM)
    await third.send({"type": "room_message", "room_id": ROOM, "data": {"text": "Hello"}})
    await one.expect(type="room_message")
    await third.ask("leave_room", room_id=ROOM)
    await one.expect(type="user_left")


async def chatter(third: Socket) -> None:
    """Say more than anybody may, until that is refused."""
    for _ in range(150):
        await third.send({"type": "ping"})
    await third.expect(type="error", code="rate_limited")


def test_golden_frames_and_those_sent_name_the_same_fields(sent: dict[str, set[str]]) -> None:
    golden = by_type(json.loads(path.read_text()) for path in GOLDEN.glob("server.*.json"))

    assert spelt(golden) - spelt(sent) == set()
    assert spelt(sent) - spelt(golden) == set()


def spelt(found: dict[str, set[str]]) -> set[str]:
    """Name each field with its frame."""
    return {type + field for type, names in found.items() for field in names}

"""Whatever a client sends, it gets an error or a documented close, and the stack is as healthy as
before.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.school import School, request
from tests.support.socket import answer, open_socket

CLOSES = {1000, 1002, 1007, 1009, 1013, 4400, 4401, 4403, 4408, 4429}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5)
    ),
    max_leaves=15,
)
GOOD: list[dict[str, Any]] = [
    {
        "type": "subscribe_learner",
        "learner_id": "ada",
        "mode": "every",
        "resume": {"epoch": "e", "revision": 1},
    },
    {"type": "unsubscribe_learner", "learner_id": "ada"},
    {"type": "virtual_brain_interact", "data": answer("ada")},
    {"type": "get_state", "learner_id": "ada"},
    {
        "type": "adapt_content",
        "data": {"learner_id": "ada", "content": "x", "content_type": "question"},
    },
    {"type": "join_room", "room_id": "r"},
    {"type": "room_message", "room_id": "r", "data": {"a": 1}},
    {"type": "leave_room", "room_id": "r"},
    {"type": "authenticate", "token": "nobody"},
    {"type": "ping", "sent_at": 1},
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A good frame with a field somewhere replaced, removed or added."""
    frame = json.loads(json.dumps(draw(st.sampled_from(GOOD))))
    place = frame
    while True:
        name = draw(st.sampled_from([*sorted(place), "new"]))
        if isinstance(place.get(name), dict) and place[name] and draw(st.booleans()):
            place = place[name]
            continue
        if draw(st.booleans()):
            place[name] = draw(json_values)
        else:
            place.pop(name, None)
        return json.dumps(frame)


anything = st.one_of(
    mutated(), json_values.map(json.dumps), st.text(max_size=60), st.binary(max_size=60)
)
bounded = settings(
    max_examples=120,
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def healthy_afterwards(school: School) -> Any:
    """The stack is ready and an ordinary interaction works."""
    yield
    status, body = request(school.stack, "GET", "/readyz")
    assert (status, body["status"]) == (200, "ready")


async def _works(school: School) -> None:
    async with open_socket(school.stack.ws_url, school.token("ada")) as socket:
        response = await socket.interact("ada")
    assert response["type"] == "virtual_brain_response", response


async def test_any_frames_are_answered_or_end_the_socket_as_documented(school: School) -> None:
    token = school.token("ada")
    batches: list[list[str | bytes]] = []

    @bounded
    @given(st.lists(anything, min_size=1, max_size=8))
    def collect(frames: list[str | bytes]) -> None:
        batches.append(frames)

    collect()
    for frames in batches:
        async with open_socket(school.stack.ws_url, token) as socket:
            for frame in frames:
                await socket.send(frame)
            if any(isinstance(frame, bytes) for frame in frames):
                assert await socket.until_closed() == 4400
            else:
                id = uuid.uuid4().hex
                await socket.send({"type": "ping", "id": id})
                await socket.expect(type="pong", id=id)
            assert socket.close_code is None or socket.close_code in CLOSES
            errors = [one for one in socket.frames if one["type"] == "error"]
            assert all(one["code"] != "internal" for one in errors), errors
    await _works(school)


async def test_any_bytes_instead_of_a_first_frame_open_nothing(school: School) -> None:
    @bounded
    @given(anything)
    def collect(frame: str | bytes) -> None:
        frames.append(frame)

    frames: list[str | bytes] = []
    collect()
    for frame in frames:
        async with open_socket(school.stack.ws_url) as socket:
            await socket.send(frame)
            if isinstance(frame, str):
                await socket.expect(type="error")
            else:
                assert await socket.until_closed() == 4400
            assert all(one["type"] == "error" for one in socket.frames)
    await _works(school)


PATHS = [
    ("POST", "/api/auth/login"),
    ("POST", "/api/auth/refresh"),
    ("POST", "/api/auth/logout"),
    ("GET", "/api/learners/ada/history?limit=x"),
    ("DELETE", "/api/learners/ada/data"),
    ("GET", "/api/learners/..%2f..%2fetc/state"),
    ("PUT", "/api/me"),
]


async def test_any_body_of_a_request_is_refused_without_a_fault(school: School) -> None:
    bodies: list[tuple[tuple[str, str], Any]] = []

    @bounded
    @given(st.sampled_from(PATHS), json_values)
    def collect(path: tuple[str, str], body: Any) -> None:
        bodies.append((path, body))

    collect()
    for (method, path), body in bodies:
        status, answered = request(school.stack, method, path, body)
        assert status < 500, (method, path, body, answered)
        if path != "/api/auth/logout":
            assert 400 <= status < 500
            assert answered["status"] == status
    await _works(school)

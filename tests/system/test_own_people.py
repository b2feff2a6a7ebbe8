"""A school brings its own people: roster, its provider's tokens, what another platform records."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.auth_service.issuer import AUDIENCE, NAME, Issuer
from tests.support.commands import auth_command
from tests.support.school import School, request
from tests.support.socket import open_socket
from tests.system.conftest import running_school

PUPILS = 25
STATEMENTS = 2_000
"""10,000 work as well, and take longer."""
HOME = "https://lms.school.example"


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    issuer = Issuer()
    (tmp_path / "keys.jwks").write_text(json.dumps({"keys": issuer.jwks}))
    # Only who is in the roster comes in, and claims say nothing about relations.
    (tmp_path / "issuers.toml").write_text(
        f'[[issuers]]\nissuer = "{NAME}"\naudiences = ["{AUDIENCE}"]\njwks = "keys.jwks"\n'
        'default_role = "learner"\n'
    )
    return issuer


@pytest.fixture
def own_people(issuer: Issuer, tmp_path: Path) -> Iterator[School]:
    with running_school(
        AUTH_TRUSTED_ISSUERS=str(tmp_path / "issuers.toml"),
        EDGE_XAPI_HOMEPAGES=HOME,
        EDGE_USER_UNITS_PER_S="0",
    ) as school:
        yield school


def _roster(folder: Path, *, guardian_of_first: bool) -> Path:
    folder.mkdir(exist_ok=True)
    users = ["sourcedId,enabledUser,role,givenName,familyName,email,agentSourcedIds"]
    users += ["t-1,true,teacher,Tess,Hill,,", "g-1,true,parent,Gwen,Lane,,pupil-1"]
    enrolled = ["sourcedId,classSourcedId,userSourcedId,role", "e-t,c-1,t-1,teacher"]
    for number in range(PUPILS):
        agents = "g-1" if number == 0 and guardian_of_first else ""
        users.append(f"pupil-{number},true,student,Pupil,Number{number},,{agents}")
        enrolled.append(f"e-{number},c-1,pupil-{number},student")
    for name, lines in (
        ("users", users),
        ("classes", ["sourcedId,title", "c-1,Maths 7a"]),
        ("enrollments", enrolled),
    ):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _statements(first: int, count: int) -> list[dict[str, object]]:
    begin = datetime.now(UTC) - timedelta(days=200)
    return [
        {
            "id": str(uuid.UUID(int=0x0192F3A4000070008000000000000000 + number)),
            "actor": {"account": {"homePage": HOME, "name": f"pupil-{number % PUPILS}"}},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
            "object": {"id": f"{HOME}/items/{number % 40}"},
            "result": {"success": number % 3 > 0, "duration": "PT20S"},
            "timestamp": (begin + timedelta(seconds=30 * number)).isoformat(),
        }
        for number in range(first, first + count)
    ]


async def test_from_a_roster_to_a_class_live(
    own_people: School, issuer: Issuer, tmp_path: Path
) -> None:
    stack = own_people.stack
    roster = _roster(tmp_path / "roster", guardian_of_first=True)
    imported = ("import-roster", str(roster), "--issuer", NAME)
    await asyncio.to_thread(auth_command, own_people, *imported)

    teacher, guardian = issuer.token("t-1"), issuer.token("g-1")
    async with (
        open_socket(stack.ws_url, teacher) as watching,
        open_socket(stack.ws_url, guardian) as parent,
    ):
        for learner_id in (f"pupil-{number}" for number in range(PUPILS)):
            answer = await watching.ask("subscribe_learner", learner_id=learner_id)
            assert answer["type"] == "subscribed", answer
        for learner_id in ("pupil-0", "pupil-1"):
            answer = await parent.ask("subscribe_learner", learner_id=learner_id)
            assert answer["type"] == "subscribed", answer

        admin = own_people.token("admin")

        async def send(first: int) -> dict[str, Any]:
            status, answer = await asyncio.to_thread(
                request, stack, "POST", "/api/xapi/statements", _statements(first, 1_000), admin
            )
            assert status == 200, answer
            return answer

        answers = [await send(first) for first in range(0, STATEMENTS, 1_000)]
        assert sum(answer["stored"] for answer in answers) == STATEMENTS, answers[0]["results"][0]
        assert (await send(0))["duplicates"] == 1_000
        for number in range(PUPILS):
            await watching.expect(
                type="state_update",
                learner_id=f"pupil-{number}",
                revision=STATEMENTS // PUPILS,
            )

        _roster(roster, guardian_of_first=False)
        await asyncio.to_thread(auth_command, own_people, *imported)
        ended = await parent.expect(type="unsubscribed", learner_id="pupil-0")
        assert ended["code"] == "revoked"
        assert (await parent.ask("ping"))["type"] == "pong"
        assert not any(frame["type"] == "error" for frame in watching.frames)

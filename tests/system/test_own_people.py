"""A school brings its own people: roster, its provider's tokens, what another platform records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.auth_service.issuer import AUDIENCE, NAME, Issuer
from tests.support.commands import auth_command
from tests.support.roster import HOME, statements, write_roster
from tests.support.school import School, request
from tests.support.socket import open_socket
from tests.system.conftest import running_school

PUPILS = 25
STATEMENTS = 2_000
"""10,000 work as well, and take longer: `web/e2e/own_school.test.mjs`."""


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


async def test_from_a_roster_to_a_class_live(
    own_people: School, issuer: Issuer, tmp_path: Path
) -> None:
    stack = own_people.stack
    roster = write_roster(tmp_path / "roster", pupils=PUPILS)
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
        begin = datetime.now(UTC) - timedelta(days=200)

        async def send(first: int) -> dict[str, Any]:
            sent = statements(range(first, first + 1_000), pupils=PUPILS, begin=begin)
            status, answer = await asyncio.to_thread(
                request, stack, "POST", "/api/xapi/statements", sent, admin
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

        write_roster(roster, pupils=PUPILS, guardian_of_first=False)
        await asyncio.to_thread(auth_command, own_people, *imported)
        ended = await parent.expect(type="unsubscribed", learner_id="pupil-0")
        assert ended["code"] == "revoked"
        assert (await parent.ask("ping"))["type"] == "pong"
        assert not any(frame["type"] == "error" for frame in watching.frames)

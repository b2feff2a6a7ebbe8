"""A school brings its own people: roster, its provider's tokens, what another platform records."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.auth_service.issuer import AUDIENCE, NAME, Issuer
from tests.support.collector import collecting
from tests.support.commands import auth_command
from tests.support.roster import HOME, NAMES, statements, write_roster
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
        'default_role = "learner"\nleeway_s = 0\n'
    )
    return issuer


@pytest.fixture
def own_people(issuer: Issuer, tmp_path: Path) -> Iterator[School]:
    """A school whose logs and spans have no name and no token of another issuer in the end."""
    with (
        collecting() as collector,
        running_school(
            AUTH_TRUSTED_ISSUERS=str(tmp_path / "issuers.toml"),
            EDGE_XAPI_HOMEPAGES=HOME,
            EDGE_USER_UNITS_PER_S="0",
            **collector.environment,
        ) as school,
    ):
        school.secrets.update(NAMES)
        yield school
        assert any(secret.count(".") == 2 for secret in school.secrets)
        school.stack.stop()
        assert collector.spans
        assert not [one for one in school.secrets if one.encode() in collector.raw]


def foreign(school: School, issuer: Issuer, subject: str, **claims: object) -> str:
    """Return a token of the other issuer, which no log may have."""
    token = issuer.token(subject, **claims)
    school.secrets.add(token)
    return token


async def test_from_a_roster_to_a_class_live(
    own_people: School, issuer: Issuer, tmp_path: Path
) -> None:
    stack = own_people.stack
    roster = write_roster(tmp_path / "roster", pupils=PUPILS)
    imported = ("import-roster", str(roster), "--issuer", NAME)
    await asyncio.to_thread(auth_command, own_people, *imported)

    teacher, guardian = (foreign(own_people, issuer, name) for name in ("t-1", "g-1"))
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
        audited = await asyncio.to_thread(auth_command, own_people, "audit", "--records")
        lines = [json.loads(line) for line in audited.splitlines()]
        assert {one["subject"] for one in lines} == {f"{PUPILS} learners"}
        assert [one["detail"].partition(";")[0] for one in lines] == [
            *["stored 1000, duplicates 0, refused 0"] * (STATEMENTS // 1_000),
            "stored 0, duplicates 1000, refused 0",
        ]
        assert not [name for name in NAMES if name in audited]
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


async def test_a_token_of_the_provider_is_renewed_in_place_and_the_socket_lives_on(
    own_people: School, issuer: Issuer, tmp_path: Path
) -> None:
    stack = own_people.stack
    roster = write_roster(tmp_path / "roster", pupils=2)
    await asyncio.to_thread(
        auth_command, own_people, "import-roster", str(roster), "--issuer", NAME
    )
    soon = int(time.time()) + 6
    short = foreign(own_people, issuer, "t-1", sid="s-1", exp=soon)
    async with (
        open_socket(stack.ws_url, short) as renewed,
        open_socket(stack.ws_url, short) as expiring,
    ):
        answer = await renewed.ask("subscribe_learner", learner_id="pupil-0")
        assert answer["type"] == "subscribed"
        longer = foreign(own_people, issuer, "t-1", sid="s-1")
        assert (await renewed.ask("authenticate", token=longer))["type"] == "authenticated"
        # Somebody else's, a forged and an expired one change nothing.
        for bad, code in (
            (foreign(own_people, issuer, "g-1"), "forbidden"),
            (longer[:-8] + "AAAAAAAA", "unauthenticated"),
            (foreign(own_people, issuer, "t-1", sid="s-1", exp=soon - 3600), "unauthenticated"),
        ):
            refused = await renewed.ask("authenticate", token=bad)
            assert (refused["type"], refused["code"]) == ("error", code)

        assert await expiring.until_closed() == 4401
        begin = datetime.now(UTC)
        some = statements(range(2), pupils=2, begin=begin)
        await asyncio.to_thread(
            request, stack, "POST", "/api/xapi/statements", some, own_people.token("admin")
        )
        await renewed.until_revision("pupil-0", 1)

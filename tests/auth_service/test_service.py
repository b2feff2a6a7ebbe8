"""The whole service on a free port, with a real client."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from aivo.auth.v1 import auth_pb2_grpc
from auth_service.settings import Settings
from auth_service.store import ChangeLog, open_database
from auth_service.store.change_log import RECORDS
from service_runtime.settings import SettingsError
from tests.auth_service.harness import (
    ADMIN,
    CREDENTIAL,
    PASSWORD,
    PATIENCE_S,
    Client,
    running,
    status,
)


async def test_the_first_start_makes_the_administrator_and_later_ones_do_not(
    settings: Settings,
) -> None:
    async with running(settings) as client:
        first = (await client.login(*ADMIN)).user
        await client.SetPassword(
            pb.SetPasswordRequest(user_id=first.user_id, password="another password")
        )
    async with running(settings) as client:
        again = (await client.login(ADMIN[0], "another password")).user
        users = (await client.ListUsers(pb.ListUsersRequest())).users

    assert (first.role, first.email) == (pb.ROLE_ADMIN, ADMIN[0])
    assert first == again
    assert len(users) == 1


async def test_without_bootstrap_settings_nobody_can_sign_in_and_the_log_says_what_to_do(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(
        settings, bootstrap_admin_email=None, bootstrap_admin_password=None
    ) as client:
        assert list((await client.ListUsers(pb.ListUsersRequest())).users) == []

    assert "there is no administrator: set AUTH_BOOTSTRAP_ADMIN_EMAIL" in caplog.text


async def test_a_weak_bootstrap_password_stops_the_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="at least 12 characters"):
        async with running(settings, bootstrap_admin_password="admin"):
            pass


async def test_without_a_credential_it_makes_neither_database_nor_keys(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="AUTH_CREDENTIAL"):
        async with running(settings, credential=None):
            pass

    assert os.listdir(tmp_path) == []


async def test_rights_follow_relations_at_once_and_the_stream_tells_all_concerned(
    client: Client,
) -> None:
    teacher = await client.user("teacher@school.example", pb.ROLE_TEACHER)
    parent = await client.user("parent@school.example", pb.ROLE_GUARDIAN)
    await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea", display_name="Lea"))
    await client.CreateClass(pb.CreateClassRequest(class_id="maths", display_name="Mathematics"))
    await client.relate(pb.RELATION_KIND_TEACHES, teacher, "maths")
    await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
    assert not await client.allowed(teacher, pb.ACTION_WATCH, "lea")

    async def told(following: Callable[[], Awaitable[list[pb.Revocation]]]) -> set[str]:
        return {each.user_id or each.learner_id for each in await following()}

    async with client.revocations() as following:
        await client.relate(pb.RELATION_KIND_ENROLLED, "lea", "maths")
        assert await told(following) == {"lea", parent, teacher}
        assert await client.allowed(teacher, pb.ACTION_WATCH, "lea")
        assert await client.allowed(parent, pb.ACTION_JOIN, "class:maths")
        learners = (await client.ListLearners(pb.ListLearnersRequest(user_id=teacher))).learners
        lea = {
            "learner_id": "lea",
            "display_name": "Lea",
            "class_ids": ["maths"],
            "class_names": {"maths": "Mathematics"},
        }
        assert learners == [pb.Learner(**lea)]

        await client.unrelate(pb.RELATION_KIND_ENROLLED, "lea", "maths")
        assert await told(following) == {"lea", parent, teacher}
        assert not await client.allowed(teacher, pb.ACTION_WATCH, "lea")
        assert not await client.allowed(parent, pb.ACTION_JOIN, "class:maths")

        await client.unrelate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
        assert await told(following) == {parent}
        assert not await client.allowed(parent, pb.ACTION_WATCH, "lea")

        await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
        assert await told(following) == {parent}
        await client.DeleteLearner(pb.DeleteLearnerRequest(learner_id="lea"))
        assert await told(following) == {"lea", parent}
        assert not await client.allowed(parent, pb.ACTION_WATCH, "lea")


async def test_seeding_twice_changes_nothing(client: Client) -> None:
    user_id = await client.user("ann@school.example", pb.ROLE_TEACHER)
    await client.CreateClass(pb.CreateClassRequest(class_id="maths"))
    await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))
    taken = [
        await status(client.user("ANN@school.example", pb.ROLE_ADMIN)),
        await status(client.CreateClass(pb.CreateClassRequest(class_id="maths"))),
        await status(client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))),
    ]
    for _ in range(2):
        await client.relate(pb.RELATION_KIND_TEACHES, user_id, "maths")
        await client.DeleteLearner(pb.DeleteLearnerRequest(learner_id="lea"))
        await client.unrelate(pb.RELATION_KIND_TEACHES, "nobody", "nothing")

    assert {code for code, _ in taken} == {grpc.StatusCode.ALREADY_EXISTS}
    assert not any("ann" in details for _, details in taken)


async def test_users_come_in_pages(client: Client) -> None:
    for number in range(4):
        await client.user(f"u{number}@school.example", pb.ROLE_TEACHER)
    token, ids = "", []
    while True:
        page = await client.ListUsers(pb.ListUsersRequest(page_size=2, page_token=token))
        ids += [user.user_id for user in page.users]
        token = page.next_page_token
        if not token:
            break

    assert len(ids) == 5
    assert ids == sorted(ids)
    for bad in (pb.ListUsersRequest(page_size=1001), pb.ListUsersRequest(page_token="no token")):
        assert (await status(client.ListUsers(bad)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_that_lags_too_far_is_cut_and_others_live(settings: Settings) -> None:
    async with running(settings, revocation_backlog=2) as client, client.revocations() as following:
        call = client.stub.WatchRevocations(pb.WatchRevocationsRequest(), metadata=client.metadata)
        await call.read()
        await client.CreateLearner(pb.CreateLearnerRequest(learner_id="lea"))
        await following()
        for number in range(3):
            parent = await client.user(f"p{number}@school.example", pb.ROLE_GUARDIAN)
            await following()
            await client.relate(pb.RELATION_KIND_GUARDIAN_OF, parent, "lea")
            await following()
        await client.DeleteLearner(
            pb.DeleteLearnerRequest(learner_id="lea")
        )  # four changes at once

        async def read_on() -> None:
            while await call.read() is not grpc.aio.EOF:
                pass

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await asyncio.wait_for(read_on(), PATIENCE_S)
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        async with client.revocations():
            pass


async def test_stopping_ends_open_streams_without_waiting_for_them(settings: Settings) -> None:
    async with running(settings, drain_s=1000.0) as client:
        call = client.stub.WatchRevocations(pb.WatchRevocationsRequest(), metadata=client.metadata)
        await call.read()
        loop_task = asyncio.create_task(call.read())
    await asyncio.wait([loop_task], timeout=PATIENCE_S)

    assert loop_task.done()
    loop_task.cancelled() or loop_task.exception()


async def test_nobody_is_served_without_the_service_credential(client: Client) -> None:
    channel_stub: auth_pb2_grpc.AuthServiceAsyncStub = client.stub

    code, _ = await status(channel_stub.GetJwks(pb.GetJwksRequest(), timeout=PATIENCE_S))

    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_no_secret_and_no_address_reaches_the_log(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(settings) as client:
        tokens = (await client.login(*ADMIN)).tokens
        await client.user("ann@school.example", pb.ROLE_TEACHER)
        await status(client.user("ann@school.example", pb.ROLE_TEACHER))
        await status(client.login("ann@school.example", "a wrong secret"))
        await client.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token))
        await status(client.Refresh(pb.RefreshRequest(refresh_token=tokens.refresh_token)))
        await client.authenticate(tokens.access_token, "garbage.garbage.garbage")

    logged = caplog.text + json.dumps([record.__dict__ for record in caplog.records], default=str)
    secrets = (
        ADMIN[0], ADMIN[1], PASSWORD, "ann@", "a wrong secret", tokens.access_token,
        tokens.refresh_token, "garbage",
    )  # fmt: skip
    assert [secret for secret in secrets if secret in logged] == []
    assert "refresh token was used again" in logged


_SENDER = pb.NoteRecordsRequest(user_id="lms", learner_ids=["lea"], stored=1)


@pytest.mark.parametrize(
    ("request_", "credential", "code", "told"),
    [
        (pb.NoteRecordsRequest(stored=1), CREDENTIAL, "INVALID_ARGUMENT", "user"),
        (pb.NoteRecordsRequest(user_id="two words"), CREDENTIAL, "INVALID_ARGUMENT", "user"),
        (pb.NoteRecordsRequest(user_id=".."), CREDENTIAL, "INVALID_ARGUMENT", "user"),
        (pb.NoteRecordsRequest(user_id="u" * 129), CREDENTIAL, "INVALID_ARGUMENT", "user"),
        (
            pb.NoteRecordsRequest(user_id="lms", learner_ids=["lea", "a\nb"]),
            CREDENTIAL, "INVALID_ARGUMENT", "learner",
        ),
        (
            pb.NoteRecordsRequest(user_id="lms", learner_ids=["lea", ""]),
            CREDENTIAL, "INVALID_ARGUMENT", "learner",
        ),
        (
            pb.NoteRecordsRequest(user_id="lms", learner_ids=["lea"] * 1025),
            CREDENTIAL, "INVALID_ARGUMENT", "1024 learner_ids",
        ),
        (_SENDER, "another credential", "UNAUTHENTICATED", "credential"),
        (_SENDER, None, "UNAUTHENTICATED", "credential"),
    ],
)  # fmt: skip
async def test_only_a_service_notes_who_sent_records_and_only_ids(
    settings: Settings,
    request_: pb.NoteRecordsRequest,
    credential: str | None,
    code: str,
    told: str,
) -> None:
    async with running(settings) as client:
        metadata = (("authorization", f"Bearer {credential}"),) if credential else ()
        refused = await status(client.stub.NoteRecords(request_, metadata=metadata, timeout=20))
        await client.NoteRecords(_SENDER)
    database = open_database(settings.database_url)
    entries = ChangeLog(database).audit_entries(10, only=RECORDS)
    database.close()

    assert refused[0] is grpc.StatusCode[code]
    assert told in refused[1]
    assert [(one.actor, one.subject) for one in entries] == [("lms", "lea")]

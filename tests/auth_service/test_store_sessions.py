"""Sessions in the database: rotated, used again, ended, swept."""

from __future__ import annotations

import threading

import pytest

from auth_service.domain import (
    Change,
)
from auth_service.store import (
    RefreshReusedError,
    Rotation,
    SessionEndedError,
)
from auth_service.store.change_log import SIGN_IN
from tests.auth_service.harness import Stored
from tests.auth_service.test_store import HOUR_MS, add_user, changes_after, newest


def rotation(stored: Stored, session_id: str, generation: int) -> Rotation:
    now_ms = stored.clock.ms()
    return Rotation(
        session_id=session_id,
        generation=generation,
        digest=f"digest {generation}".encode(),
        refresh_expires_at_ms=now_ms + 24 * HOUR_MS,
        access_until_ms=now_ms + HOUR_MS,
    )


def open_session(stored: Stored, user_id: str, session_id: str = "s") -> None:
    first = rotation(stored, session_id, 0)
    stored.sessions.open(user_id, "hash", first, expires_at_ms=stored.clock.ms() + 48 * HOUR_MS)


def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(stored: Stored) -> None:
    user_id = add_user(stored)
    open_session(stored, user_id)

    user, expires_at_ms = stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1))
    assert (user.user_id, expires_at_ms) == (user_id, stored.clock.ms() + 24 * HOUR_MS)
    seq = newest(stored)
    with pytest.raises(RefreshReusedError):
        stored.sessions.rotate(b"digest 0", rotation(stored, "s", 2))

    assert changes_after(stored, seq) == (Change(user_id=user_id, session_id="s"),)
    assert list(stored.log.snapshot(stored.clock.ms()).revoked) == ["s"]
    with pytest.raises(SessionEndedError):
        stored.sessions.rotate(b"digest 1", rotation(stored, "s", 2))


def test_the_same_rotation_again_changes_nothing_for_a_while(stored: Stored) -> None:
    open_session(stored, add_user(stored))
    first = stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1), retry_ms=60_000)
    for _ in range(2):
        stored.clock.now_s += 29
        assert (
            stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1), retry_ms=60_000) == first
        )

    stored.clock.now_s += 2
    with pytest.raises(RefreshReusedError):
        stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1), retry_ms=60_000)


def test_the_same_rotation_again_is_reuse_once_its_token_was_used(stored: Stored) -> None:
    open_session(stored, add_user(stored))
    for generation in (1, 2):
        stored.sessions.rotate(
            f"digest {generation - 1}".encode(), rotation(stored, "s", generation), retry_ms=60_000
        )

    with pytest.raises(RefreshReusedError):
        stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1), retry_ms=60_000)


def test_of_many_that_use_one_refresh_token_at_once_one_gets_through(stored: Stored) -> None:
    open_session(stored, add_user(stored))
    outcomes: list[type[object]] = []

    def use() -> None:
        try:
            outcomes.append(type(stored.sessions.rotate(b"digest 0", rotation(stored, "s", 1))))
        except SessionEndedError as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes.count(tuple) == 1
    assert outcomes.count(RefreshReusedError) == 1
    assert outcomes.count(SessionEndedError) == 2


def test_a_session_never_outlives_its_end_however_often_refreshed(stored: Stored) -> None:
    open_session(stored, add_user(stored))
    end_ms = stored.clock.ms() + 48 * HOUR_MS
    for generation in (1, 2):
        stored.clock.now_s += 20 * 3600
        expires_at_ms = stored.sessions.rotate(
            f"digest {generation - 1}".encode(), rotation(stored, "s", generation)
        )[1]

    assert expires_at_ms == end_ms
    stored.clock.now_s += 8 * 3600
    with pytest.raises(SessionEndedError):
        stored.sessions.rotate(b"digest 2", rotation(stored, "s", 3))


def test_a_session_is_not_opened_for_the_disabled_or_after_a_password_change(
    stored: Stored,
) -> None:
    user_id = add_user(stored)
    stored.people.set_password(user_id, "another hash", actor="test")
    with pytest.raises(SessionEndedError):
        open_session(stored, user_id)
    stored.people.set_password(user_id, "hash", actor="test")
    stored.people.set_disabled(user_id, True, actor="test")
    with pytest.raises(SessionEndedError):
        open_session(stored, user_id)


def test_disabling_ends_all_sessions_for_good(stored: Stored) -> None:
    user_id = add_user(stored)
    open_session(stored, user_id, "one")
    open_session(stored, user_id, "two")

    stored.people.set_disabled(user_id, True, actor="test")
    stored.people.set_disabled(user_id, False, actor="test")

    assert set(stored.log.snapshot(stored.clock.ms()).revoked) == {"one", "two"}
    with pytest.raises(SessionEndedError):
        stored.sessions.rotate(b"digest 0", rotation(stored, "one", 1))


def test_a_rehash_gives_way_to_a_new_password(stored: Stored) -> None:
    user_id = add_user(stored)
    stored.people.rehash(user_id, "hash", "better hash")
    stored.people.rehash(user_id, "hash", "outrun hash")

    found = stored.people.credentials("ann@school.example")
    assert found is not None
    assert found.password_hash == "better hash"


def test_the_sweep_takes_sessions_only_when_no_token_of_theirs_works(stored: Stored) -> None:
    open_session(stored, add_user(stored))

    stored.clock.now_s += 24 * 3600
    assert stored.sessions.sweep() == 0
    stored.clock.now_s += 1
    assert stored.sessions.sweep() == 1


def test_sign_ins_are_told_apart_and_forgotten_after_ninety_days(stored: Stored) -> None:
    user_id = add_user(stored)
    stored.sessions.open(
        user_id,
        None,
        rotation(stored, "s", 0),
        expires_at_ms=stored.clock.ms() + 48 * HOUR_MS,
        signed_in_by="provider school",
    )
    [entry] = stored.log.audit_entries(10, only=SIGN_IN)
    assert (entry.actor, entry.action, entry.subject, entry.detail) == (
        *(user_id, "sign-in", user_id, "provider school"),
    )
    [change] = stored.log.audit_entries(10)
    assert change.action == "create-user"

    stored.clock.now_s += 90 * 86_400
    stored.sessions.sweep()
    assert len(stored.log.audit_entries(10, only=SIGN_IN)) == 1
    stored.clock.now_s += 1
    stored.sessions.sweep()
    assert stored.log.audit_entries(10, only=SIGN_IN) == []
    assert len(stored.log.audit_entries(10)) == 1

"""Sessions in the database: opened, rotated, revoked and swept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, delete, insert, select, update

from auth_service.domain import Change, User
from auth_service.store.change_log import PASSING, SIGN_IN, record_audit, record_changes
from auth_service.store.database import Database
from auth_service.store.tables import audit, sessions, user_of, users

PASSING_KEPT_MS: Final = 90 * 86_400_000
"""How long the audit log keeps sign-ins."""


class SessionEndedError(Exception):
    """The session is unknown or over, or its user may no longer sign in."""


class RefreshReusedError(SessionEndedError):
    """The refresh token had been used before; the session has been revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A session's new tokens; times in Unix milliseconds."""

    session_id: str
    generation: int
    digest: bytes
    refresh_expires_at_ms: int
    access_until_ms: int


class SessionTable:
    """Reads and changes sessions. Every method blocks: call it through `Database.run`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms

    def open(
        self,
        user_id: str,
        password_hash: str | None,
        first: Rotation,
        *,
        expires_at_ms: int,
        minted_by: str = "",
        signed_in_by: str = "",
    ) -> None:
        """Open a session.

        Raises SessionEndedError if the user is disabled or, unless `password_hash` is None, the
        password was changed since it was checked. `minted_by` names who opened it without signing
        in, `signed_in_by` how somebody signed in: for the audit log.
        """
        may_sign_in = (
            select(users.c.user_id)
            .where(users.c.user_id == user_id, ~users.c.disabled)
            # Locks the user against being disabled until the session exists; a roster may still add
            # relations.
            .with_for_update(key_share=True)
        )
        if password_hash is not None:
            may_sign_in = may_sign_in.where(users.c.password_hash == password_hash)
        with self._database.write() as connection:
            if connection.execute(may_sign_in).one_or_none() is None:
                raise SessionEndedError("the user may not sign in")
            connection.execute(
                insert(sessions).values(
                    session_id=first.session_id,
                    user_id=user_id,
                    created_at_ms=self._clock_ms(),
                    expires_at_ms=expires_at_ms,
                    access_until_ms=first.access_until_ms,
                    refresh_digest=first.digest,
                    refresh_generation=first.generation,
                    refresh_expires_at_ms=min(first.refresh_expires_at_ms, expires_at_ms),
                )
            )
            if minted_by:
                record_audit(
                    connection,
                    self._clock_ms(),
                    actor=minted_by,
                    action="mint-token",
                    subject=user_id,
                    detail=f"for {expires_at_ms // 1000 - self._clock_ms() // 1000} s",
                )
            if signed_in_by:
                record_audit(
                    connection,
                    self._clock_ms(),
                    actor=user_id,
                    action=SIGN_IN,
                    subject=user_id,
                    detail=signed_in_by,
                )

    def rotate(self, old_digest: bytes, to: Rotation, *, retry_ms: int = 0) -> tuple[User, int]:
        """Replace the refresh token with this digest; return the user and when the new one expires.

        An identical repetition within `retry_ms` changes nothing. Raises RefreshReusedError, after
        revoking the session, when the token is not the newest one; SessionEndedError otherwise when
        it cannot be used.
        """
        now_ms = self._clock_ms()
        with self._database.write() as connection:
            query = (
                select(
                    sessions.c.revoked_at_ms,
                    sessions.c.expires_at_ms,
                    sessions.c.access_until_ms,
                    sessions.c.refresh_digest,
                    sessions.c.refresh_expires_at_ms,
                    sessions.c.refreshed_at_ms,
                    *users.c,
                )
                .join(users, users.c.user_id == sessions.c.user_id)
                .where(sessions.c.session_id == to.session_id)
                # Not the user: transactions that change both begin there.
                .with_for_update(of=sessions)
            )
            row = connection.execute(query).one_or_none()
            if (
                row is None
                or row.revoked_at_ms is not None
                or row.disabled
                or row.refresh_expires_at_ms <= now_ms
            ):
                raise SessionEndedError("the session is over")
            repeated = (
                bytes(row.refresh_digest) == to.digest
                and now_ms - (row.refreshed_at_ms or 0) < retry_ms
            )
            reused = not repeated and bytes(row.refresh_digest) != old_digest
            refreshed_at_ms = row.refreshed_at_ms if repeated else now_ms
            expires_at_ms = min(
                row.refresh_expires_at_ms if repeated else to.refresh_expires_at_ms,
                row.expires_at_ms,
            )
            if reused:
                _revoke(connection, to.session_id, row.user_id, now_ms)
            else:
                connection.execute(
                    update(sessions)
                    .where(sessions.c.session_id == to.session_id)
                    .values(
                        refresh_digest=to.digest,
                        refresh_generation=to.generation,
                        refresh_expires_at_ms=expires_at_ms,
                        refreshed_at_ms=refreshed_at_ms,
                        access_until_ms=max(to.access_until_ms, row.access_until_ms),
                    )
                )
        if reused:
            raise RefreshReusedError("the refresh token was used before; the session is over")
        return user_of(row), expires_at_ms

    def revoke(self, session_id: str) -> None:
        """End a session. Idempotent, also for one that never was."""
        query = select(sessions.c.user_id).where(
            sessions.c.session_id == session_id, sessions.c.revoked_at_ms.is_(None)
        )
        with self._database.write() as connection:
            user_id = connection.execute(query).scalar_one_or_none()
            if user_id is not None:
                _revoke(connection, session_id, user_id, self._clock_ms())

    def refuse(self, session_id: str, user_id: str, *, until_ms: int) -> None:
        """End a session that another issuer opened, until its tokens expire. Idempotent."""
        now_ms = self._clock_ms()
        query = select(sessions.c.session_id).where(sessions.c.session_id == session_id)
        with self._database.write() as connection:
            if connection.execute(query).one_or_none() is None:
                connection.execute(
                    insert(sessions).values(
                        session_id=session_id,
                        user_id=user_id,
                        created_at_ms=now_ms,
                        expires_at_ms=until_ms,
                        access_until_ms=until_ms,
                        refresh_digest=b"",  # of no token
                        refresh_generation=0,
                        refresh_expires_at_ms=0,
                    )
                )
                _revoke(connection, session_id, user_id, now_ms)

    def sweep(self) -> int:
        """Delete sessions without usable tokens, and old sign-ins; returns the number of
        sessions.
        """
        now_ms = self._clock_ms()
        past = and_(audit.c.action.in_(PASSING), audit.c.at_ms < now_ms - PASSING_KEPT_MS)
        over = and_(sessions.c.refresh_expires_at_ms < now_ms, sessions.c.access_until_ms < now_ms)
        with self._database.write() as connection:
            connection.execute(delete(audit).where(past))
            return connection.execute(delete(sessions).where(over)).rowcount


def revoke_sessions(connection: Connection, user_id: str, now_ms: int) -> None:
    """End all sessions of a user; the caller logs the change."""
    connection.execute(
        update(sessions)
        .where(sessions.c.user_id == user_id, sessions.c.revoked_at_ms.is_(None))
        .values(revoked_at_ms=now_ms)
    )


def _revoke(connection: Connection, session_id: str, user_id: str, now_ms: int) -> None:
    connection.execute(
        update(sessions).where(sessions.c.session_id == session_id).values(revoked_at_ms=now_ms)
    )
    record_changes(connection, now_ms, [Change(user_id=user_id, session_id=session_id)])

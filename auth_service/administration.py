"""Creates and changes people, learners, classes and relations, for calls and commands alike."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from auth_service.domain import (
    AlreadyExistsError,
    InvalidInputError,
    Learner,
    Relation,
    RelationKind,
    Role,
    User,
    checked_display_name,
    checked_id,
    checked_password,
    new_id,
    normalised_email,
)
from auth_service.passwords import Passwords
from auth_service.store import Database, People

logger = logging.getLogger(__name__)

_DEFAULT_PAGE = 100
_MAX_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPage:
    """Users by id; an empty `next_page_token` means the last page."""

    users: tuple[User, ...]
    next_page_token: str


class Administration:
    """Checks a change, makes it, and waits until decisions reflect it. `actor` goes into the audit
    log.
    """

    def __init__(
        self,
        *,
        database: Database,
        people: People,
        passwords: Passwords,
        after_change: Callable[[], Awaitable[None]],
        clock_ms: Callable[[], int],
        actor: str,
    ) -> None:
        self._database = database
        self._people = people
        self._passwords = passwords
        self._after_change = after_change
        self._clock_ms = clock_ms
        self._actor = actor

    async def bootstrap_admin(self, email: str | None, password: str | None) -> bool:
        """Create the first administrator if there is none; returns whether one was created.

        Raises InvalidInputError for a bad address or weak password, also when there is an
        administrator already.
        """
        if email is not None and password is not None:
            normalised_email(email)
            checked_password(password)
        if await self._database.run(self._people.has_admin):
            return False
        if email is None or password is None:
            logger.warning(
                "there is no administrator: set AUTH_BOOTSTRAP_ADMIN_EMAIL and"
                " AUTH_BOOTSTRAP_ADMIN_PASSWORD and start again, or run: python -m auth_service"
                " create-user --role admin --email …"
            )
            return False
        try:
            user = await self.create_user(email, password, Role.ADMIN, "")
        except AlreadyExistsError:
            # Another process was faster, or the address belongs to a user who is not an
            # administrator.
            logger.warning("the first administrator was not created: the e-mail address is taken")
            return False
        logger.info("first administrator created", extra={"user_id": user.user_id})
        return True

    async def create_user(
        self, email: str, password: str | None, role: Role, display_name: str
    ) -> User:
        """Add a user; with the password None no password opens the account. Raises
        InvalidInputError, AlreadyExistsError.
        """
        user = User(
            user_id=new_id(),
            email=normalised_email(email),
            role=role,
            display_name=checked_display_name(display_name),
            disabled=False,
            created_at_ms=self._clock_ms(),
        )
        password_hash = ""
        if password is not None:
            password_hash = await self._passwords.hash(checked_password(password))
        await self._database.run(self._people.create_user, user, password_hash, actor=self._actor)
        await self._after_change()
        return user

    async def get_user(self, user_id: str) -> User:
        """Return one user. Raises NotFoundError."""
        return await self._database.run(self._people.user, user_id)

    async def find_user(self, id_or_email: str) -> User:
        """Return the user with this id or e-mail address. Raises NotFoundError."""
        if "@" in id_or_email:
            credentials = await self._database.run(
                self._people.credentials, normalised_email(id_or_email)
            )
            if credentials is not None:
                return credentials.user
        return await self.get_user(id_or_email)

    async def find_learners(self, emails: Sequence[str]) -> dict[str, str]:
        """Return the learners of the users with these addresses, by the address as given."""
        given = {email.strip().lower(): email for email in emails}
        found = await self._database.run(self._people.own_learners, list(given))
        return {given[email]: learner_id for email, learner_id in found.items()}

    async def note_records(
        self,
        user_id: str,
        learner_ids: Sequence[str],
        *,
        stored: int,
        duplicates: int,
        refused: int,
    ) -> None:
        """Record in the audit log that somebody sent learning records about these learners. Raises
        InvalidInputError.
        """
        checked_id(user_id, "user")
        for learner_id in learner_ids:
            checked_id(learner_id, "learner")
        await self._database.run(
            self._people.note_records,
            user_id,
            learner_ids,
            f"stored {stored}, duplicates {duplicates}, refused {refused}",
        )

    async def list_users(self, page_size: int, page_token: str) -> UserPage:
        """Return a page of users; `page_size` 0 means 100. Raises InvalidInputError."""
        if not 0 <= page_size <= _MAX_PAGE:
            raise InvalidInputError(f"page_size must be 1–{_MAX_PAGE}, or 0 for {_DEFAULT_PAGE}")
        size = page_size or _DEFAULT_PAGE
        after = _read_page_token(page_token)
        users = await self._database.run(self._people.list_users, after=after, limit=size + 1)
        more = len(users) > size
        return UserPage(
            users=tuple(users[:size]),
            next_page_token=_page_token(users[size - 1].user_id) if more else "",
        )

    async def learner_ids(self, class_id: str) -> list[str]:
        """Return the ids of a class's learners, or of all if no class is named. Raises
        NotFoundError.
        """
        return await self._database.run(self._people.learner_ids, class_id)

    async def set_disabled(self, user_id: str, disabled: bool) -> User:
        """Disable or enable a user. Raises NotFoundError."""
        user = await self._database.run(
            self._people.set_disabled, user_id, disabled, actor=self._actor
        )
        await self._after_change()
        return user

    async def set_password(self, user_id: str, password: str) -> None:
        """Replace a password and end all sessions. Raises InvalidInputError, NotFoundError."""
        password_hash = await self._passwords.hash(checked_password(password))
        await self._database.run(
            self._people.set_password, user_id, password_hash, actor=self._actor
        )
        await self._after_change()

    async def create_learner(self, learner_id: str, display_name: str) -> Learner:
        """Add a learner; an empty id makes one. Raises InvalidInputError, AlreadyExistsError."""
        learner_id = checked_id(learner_id or new_id(), "learner id")
        name = checked_display_name(display_name)
        learner = await self._database.run(
            self._people.create_learner, learner_id, name, actor=self._actor
        )
        await self._after_change()
        return learner

    async def delete_learner(self, learner_id: str) -> None:
        """Remove a learner with all relations, if there is one. Raises InvalidInputError."""
        checked_id(learner_id, "learner id")
        await self._database.run(self._people.delete_learner, learner_id, actor=self._actor)
        await self._after_change()

    async def create_class(self, class_id: str, display_name: str) -> str:
        """Add a class and return its id; an empty id makes one. Raises InvalidInputError,
        AlreadyExistsError.
        """
        class_id = checked_id(class_id or new_id(), "class id")
        name = checked_display_name(display_name)
        await self._database.run(self._people.create_class, class_id, name, actor=self._actor)
        await self._after_change()
        return class_id

    async def add_relation(self, relation: Relation) -> None:
        """Relate two parties. Raises InvalidInputError, NotFoundError."""
        await self._database.run(self._people.add_relation, _checked(relation), actor=self._actor)
        await self._after_change()

    async def remove_relation(self, relation: Relation) -> None:
        """Remove a relation, if there is one. Raises InvalidInputError."""
        await self._database.run(
            self._people.remove_relation, _checked(relation), actor=self._actor
        )
        await self._after_change()


def _checked(relation: Relation) -> Relation:
    to_class = relation.kind in (RelationKind.TEACHES, RelationKind.ENROLLED)
    checked_id(
        relation.subject, "learner id" if relation.kind is RelationKind.ENROLLED else "user id"
    )
    checked_id(relation.object, "class id" if to_class else "learner id")
    return relation


def _page_token(user_id: str) -> str:
    return base64.urlsafe_b64encode(user_id.encode()).decode()


def _read_page_token(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInputError("page_token must be one that ListUsers returned") from None

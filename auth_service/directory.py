"""What decisions need, in memory, queried thousands of times a second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

from auth_service.domain import (
    CAREFUL,
    RELATIONS_OF_ROLE,
    Action,
    Learner,
    Person,
    RelationKind,
    Role,
    RoomRules,
    close_learners,
    may,
)


class Directory:
    """People, learners and revoked sessions. About 1 KB per person or learner; changed only by
    `load` and `apply`.
    """

    def __init__(self, rules: RoomRules = CAREFUL) -> None:
        """`rules` say who may be and speak in rooms."""
        self._rules = rules
        self._people: dict[str, Person] = {}
        self._learners: dict[str, Learner] = {}
        self._class_members: defaultdict[str, set[str]] = defaultdict(set)
        self._revoked: dict[str, int] = {}

    def load(
        self, people: Iterable[Person], learners: Iterable[Learner], revoked: Mapping[str, int]
    ) -> None:
        """Replace everything. `revoked` maps session ids to when their last access token expires,
        Unix ms.
        """
        self._people = {person.user_id: person for person in people}
        self._learners = {}
        self._class_members.clear()
        for learner in learners:
            self._put_learner(learner)
        self._revoked = dict(revoked)

    def apply(
        self,
        people: Mapping[str, Person | None],
        learners: Mapping[str, Learner | None],
        revoked: Mapping[str, int],
    ) -> None:
        """Replace changed entries; None removes one."""
        for user_id, person in people.items():
            if person is None:
                self._people.pop(user_id, None)
            else:
                self._people[user_id] = person
        for learner_id, learner in learners.items():
            self._drop_learner(learner_id)
            if learner is not None:
                self._put_learner(learner)
        self._revoked.update(revoked)

    @property
    def size(self) -> int:
        """How many people are in memory."""
        return len(self._people)

    def person(self, user_id: str) -> Person | None:
        """Return a person; None when unknown."""
        return self._people.get(user_id)

    def class_ids(self, learner_id: str) -> Set[str] | None:
        """Return the classes of a learner; None when there is no such learner."""
        learner = self._learners.get(learner_id)
        return None if learner is None else learner.class_ids

    def is_revoked(self, session_id: str) -> bool:
        """Return whether a session was ended before its tokens expired."""
        return session_id in self._revoked

    def forget_revoked(self, now_ms: int) -> None:
        """Drop revoked sessions whose tokens have all expired: those are refused anyway."""
        self._revoked = {
            session: until for session, until in self._revoked.items() if until > now_ms
        }

    def may(self, user_id: str, action: Action, resource: str) -> bool:
        """Return whether a user may do something; unknown users may do nothing."""
        return may(self._people.get(user_id), action, resource, self, self._rules)

    def own_learners(self, user_id: str, most: int) -> list[str]:
        """Return up to `most` learners that the user is and may interact for."""
        person = self._people.get(user_id)
        own = () if person is None else sorted(person.own_learners)
        return [learner_id for learner_id in own if self.may(user_id, Action.INTERACT, learner_id)][
            :most
        ]

    def watchable(self, user_id: str) -> list[Learner]:
        """Return the learners that a user may watch, by display name, then id."""
        person = self._people.get(user_id)
        found = [
            self._learners[each]
            for each in self._candidates(person)
            if self.may(user_id, Action.WATCH, each)
        ]
        return sorted(
            found, key=lambda learner: (learner.display_name.casefold(), learner.learner_id)
        )

    def _candidates(self, person: Person | None) -> Set[str]:
        """Return a superset of the learners `person` may watch, so that `may` is not called for
        everyone.
        """
        if person is None:
            return frozenset()
        if person.role is Role.ADMIN:
            return self._learners.keys()
        candidates = set(close_learners(person))
        if RelationKind.TEACHES in RELATIONS_OF_ROLE[person.role]:
            candidates.update(
                *(self._class_members.get(class_id, ()) for class_id in person.classes_taught)
            )
        return candidates & self._learners.keys()

    def _put_learner(self, learner: Learner) -> None:
        self._learners[learner.learner_id] = learner
        for class_id in learner.class_ids:
            self._class_members[class_id].add(learner.learner_id)

    def _drop_learner(self, learner_id: str) -> None:
        learner = self._learners.pop(learner_id, None)
        for class_id in learner.class_ids if learner else ():
            members = self._class_members[class_id]
            members.discard(learner_id)
            if not members:
                del self._class_members[class_id]

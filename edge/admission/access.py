"""Remembers what the auth service decided about who may do what, for as long as that allows."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from edge.ports import Auth, Done, UpstreamError

logger = logging.getLogger(__name__)

MAX_PER_USER: Final = 4_096
"""Decisions kept per user; the rest are dropped and asked again when needed."""

MAX_USERS: Final = 65_536
"""Users whose decisions are kept, the most recent ones; those without a socket never disconnect."""


class Access:
    """A cache of decisions, per user, with a time to live."""

    def __init__(self, auth: Auth, clock: Callable[[], float]) -> None:
        """`clock` gives monotonic seconds."""
        self._auth = auth
        self._clock = clock
        self._decisions: dict[str, dict[tuple[str, str], tuple[bool, float]]] = {}
        self._until: OrderedDict[str, float] = OrderedDict()
        """When the last decision about each of these users expires, the oldest first."""
        self._waiting: dict[tuple[str, str, str], list[Done[bool]]] = {}
        self._generation = 0

    @property
    def generation(self) -> int:
        """Grows with every revocation; answers to questions asked under an earlier one may be
        stale.
        """
        return self._generation

    def __len__(self) -> int:
        """How many users have cached decisions."""
        return len(self._decisions)

    def known(self, user_id: str, action: str, resource: str) -> bool | None:
        """Return the cached decision, or None when it must be asked."""
        decisions = self._decisions.get(user_id)
        if decisions is None:
            return None
        decision = decisions.get((action, resource))
        if decision is None or decision[1] < self._clock():
            return None
        return decision[0]

    def ask(self, user_id: str, action: str, resource: str, done: Done[bool]) -> None:
        """Call `done` with True, False or an UpstreamError; at once when the decision is cached.

        Callers with the same question are answered in order, so a socket's interactions stay in
        order.
        """
        known = self.known(user_id, action, resource)
        if known is not None:
            done(known)
            return
        question = (user_id, action, resource)
        waiting = self._waiting.get(question)
        if waiting is not None:
            waiting.append(done)
            return
        self._waiting[question] = [done]
        self._find_out(question)

    def tell_own(self, user_id: str, learner_ids: Sequence[str], ttl_s: float) -> None:
        """Remember that a user may watch and interact for these learners.

        Only answers of the present `generation` may be remembered.
        """
        for learner_id in learner_ids:
            self._remember(user_id, "watch", learner_id, True, ttl_s)
            self._remember(user_id, "interact", learner_id, True, ttl_s)

    def _find_out(self, question: tuple[str, str, str]) -> None:
        """Ask once for all callers that wait for the same decision; they are answered in order."""
        generation = self._generation

        def decided(answer: tuple[bool, float] | UpstreamError) -> None:
            if isinstance(answer, UpstreamError):
                self._tell(question, answer)
            elif generation != self._generation:
                # Something was revoked while the question was under way: the answer may be older
                # than that.
                self._find_out(question)
            else:
                self._remember(*question, *answer)
                self._tell(question, answer[0])

        self._auth.authorize(*question, decided)

    def _tell(self, question: tuple[str, str, str], answer: bool | UpstreamError) -> None:
        for done in self._waiting.pop(question):
            try:
                done(answer)
            except Exception:
                logger.exception("a decision could not be handled")

    def release(self, user_id: str) -> None:
        """Drop the decisions of a user who has left; nothing was revoked, so pending answers
        stand.
        """
        self._drop(user_id)

    def forget_user(self, user_id: str) -> None:
        """Drop all decisions about a user."""
        self._generation += 1
        self._drop(user_id)

    def forget_learner(self, learner_id: str) -> None:
        """Drop all decisions about this learner, and those about rooms, which may depend on
        them.
        """
        self._generation += 1
        for decisions in self._decisions.values():
            for key in [key for key in decisions if key[1] == learner_id or key[0] == "join"]:
                del decisions[key]

    def forget_all(self) -> None:
        """Drop everything, because revocations may have been missed."""
        self._generation += 1
        self._decisions.clear()
        self._until.clear()

    def _remember(
        self, user_id: str, action: str, resource: str, allowed: bool, ttl_s: float
    ) -> None:
        decisions = self._decisions.setdefault(user_id, {})
        if len(decisions) >= MAX_PER_USER:
            decisions.clear()
        now = self._clock()
        decisions[action, resource] = (allowed, now + ttl_s)
        self._until[user_id] = max(now + ttl_s, self._until.get(user_id, now))
        self._until.move_to_end(user_id)
        self._drop_outdated(now)

    def _drop_outdated(self, now: float) -> None:
        """Drop what has expired, least recently asked first."""
        while len(self._until) > MAX_USERS or next(iter(self._until.values())) < now:
            self._drop(next(iter(self._until)))

    def _drop(self, user_id: str) -> None:
        self._decisions.pop(user_id, None)
        self._until.pop(user_id, None)

"""What decisions need, in memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from auth_service.directory import Directory
from auth_service.domain import Action, Learner, Person, Role

LEARNERS = (
    Learner(learner_id="l1", display_name="zoe", class_ids=frozenset({"c1"})),
    Learner(learner_id="l2", display_name="Ann", class_ids=frozenset({"c1", "c2"})),
    Learner(learner_id="l3", display_name="Ann"),
)
PEOPLE = (
    Person(user_id="admin", role=Role.ADMIN),
    Person(
        user_id="teacher",
        role=Role.TEACHER,
        classes_taught=frozenset({"c1", "c9"}),
        wards=frozenset({"l3"}),
    ),
    Person(user_id="parent", role=Role.GUARDIAN, wards=frozenset({"l1", "gone"})),
)


def filled() -> Directory:
    directory = Directory()
    directory.load(PEOPLE, LEARNERS, {"s1": 100, "s2": 200})
    return directory


def watchable(directory: Directory, user_id: str) -> list[str]:
    return [learner.learner_id for learner in directory.watchable(user_id)]


def test_watchable_learners_come_by_name_then_id() -> None:
    directory = filled()

    assert watchable(directory, "admin") == ["l2", "l3", "l1"]
    assert watchable(directory, "teacher") == ["l2", "l3", "l1"]
    assert watchable(directory, "parent") == ["l1"]
    assert watchable(directory, "nobody") == []


def test_changes_replace_and_remove() -> None:
    directory = filled()

    directory.apply(
        {"parent": None},
        {"l1": None, "l2": Learner(learner_id="l2", display_name="Ann")},
        {"s3": 300},
    )

    assert watchable(directory, "parent") == []
    assert watchable(directory, "teacher") == ["l3"]
    assert directory.class_ids("l1") is None
    assert directory.class_ids("l2") == frozenset()
    assert directory.is_revoked("s3")


def test_revoked_sessions_are_forgotten_when_their_tokens_have_expired() -> None:
    directory = filled()

    directory.forget_revoked(150)

    assert [directory.is_revoked(session) for session in ("s1", "s2", "s3")] == [False, True, False]


IDS = st.sampled_from(["a", "b", "c"])
SETS = st.frozensets(IDS)
PERSONS = st.builds(
    Person,
    user_id=IDS,
    role=st.sampled_from(Role),
    disabled=st.booleans(),
    own_learners=SETS,
    wards=SETS,
    classes_taught=SETS,
)
STATES = st.tuples(
    st.lists(PERSONS, max_size=3),
    st.dictionaries(IDS, st.none() | SETS),
    st.dictionaries(IDS, st.none() | SETS),
)


@given(STATES)
def test_the_list_of_watchable_learners_agrees_with_may(
    state: tuple[list[Person], dict[str, frozenset[str] | None], dict[str, frozenset[str] | None]],
) -> None:
    people, first, then = state
    directory = Directory()
    directory.load(people, [each for each in map(learner, first, first.values()) if each], {})
    directory.apply({}, dict(zip(then, map(learner, then, then.values()), strict=True)), {})

    for user_id in "abc":
        allowed = {each for each in "abc" if directory.may(user_id, Action.WATCH, each)}
        assert allowed == set(watchable(directory, user_id))


def learner(learner_id: str, classes: frozenset[str] | None) -> Learner | None:
    return (
        None
        if classes is None
        else Learner(learner_id=learner_id, display_name="", class_ids=classes)
    )

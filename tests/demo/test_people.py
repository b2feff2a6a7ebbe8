"""The demonstration's people are made once, with secrets that only their owner can read, whatever
was lost before.
"""

from __future__ import annotations

import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from aivo.auth.v1 import auth_pb2, auth_pb2_grpc
from demo.people import Adult, Pupil, School, demo_school, seed
from demo.users import Person, UsersFileError, read_users, write_users
from harness.registry import Registry, SeedingError
from harness.stack import Stack, private_stack

pytestmark = pytest.mark.system

SCHOOL = School(
    classes={"class-1": "Class 1", "class-2": "Class 2"},
    pupils=(
        Pupil(learner_id="demo-one", name="One", class_id="class-1"),
        Pupil(learner_id="demo-two", name="Two", class_id="class-2"),
    ),
    adults=(
        Adult(name="P", email="parent@x.example", role="guardian", children=("demo-one",)),
        Adult(name="T", email="teacher@x.example", role="teacher", classes=("class-2",)),
        Adult(name="A", email="admin@x.example", role="admin"),
    ),
)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with private_stack(services=["auth"]) as made:
        yield made


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.address("auth")) as made:
        yield made


@pytest.fixture
def registry(stack: Stack, channel: grpc.Channel) -> Registry:
    return Registry(channel, stack.metadata)


def logs_in(stack: Stack, channel: grpc.Channel, person: Person) -> bool:
    request = auth_pb2.LoginRequest(email=person.email, password=person.password)
    try:
        auth_pb2_grpc.AuthServiceStub(channel).Login(request, metadata=stack.metadata, timeout=10)
    except grpc.RpcError:
        return False
    return True


def may_watch(stack: Stack, channel: grpc.Channel, person: Person) -> set[str]:
    request = auth_pb2.ListLearnersRequest(user_id=person.user_id)
    answer = auth_pb2_grpc.AuthServiceStub(channel).ListLearners(
        request, metadata=stack.metadata, timeout=10
    )
    return {learner.learner_id for learner in answer.learners}


def test_everyone_can_log_in_and_watch_whom_the_file_says(stack, channel, registry, tmp_path: Path):
    people = seed(registry, SCHOOL, tmp_path / "users.json")

    assert len(people) == 5
    for person in people:
        assert logs_in(stack, channel, person)
        assert may_watch(stack, channel, person) == set(person.learners)


def test_seeding_again_changes_nothing(registry, tmp_path: Path):
    file = tmp_path / "users.json"
    first = seed(registry, SCHOOL, file)
    written = file.stat().st_mtime_ns
    again = seed(registry, SCHOOL, file)

    assert again == first == read_users(file)
    assert file.stat().st_mtime_ns == written


def test_only_the_owner_can_read_the_file(registry, tmp_path: Path):
    seed(registry, SCHOOL, tmp_path / "users.json")

    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600


def test_who_is_missing_in_the_service_is_made_with_the_files_password(
    stack, channel, registry, tmp_path: Path
):
    file = tmp_path / "users.json"
    lost = Person(
        email="admin@x.example",
        password="remembered-password",
        role="admin",
        user_id="gone",
        learners=(),
    )
    write_users(file, [lost])
    people = {person.email: person for person in seed(registry, SCHOOL, file)}

    assert people[lost.email].password == lost.password
    assert people[lost.email].user_id != "gone"
    assert logs_in(stack, channel, people[lost.email])


def test_who_is_missing_in_the_file_gets_a_new_password(stack, channel, registry, tmp_path: Path):
    before = seed(registry, SCHOOL, tmp_path / "lost.json")
    after = seed(registry, SCHOOL, tmp_path / "new.json")

    assert [person.user_id for person in after] == [person.user_id for person in before]
    assert logs_in(stack, channel, after[0])
    assert not logs_in(stack, channel, before[0])


def test_a_refusal_of_the_service_is_told(stack, channel):
    stranger = Registry(channel, (("authorization", "Bearer wrong"),))

    with pytest.raises(SeedingError, match="ListUsers: UNAUTHENTICATED"):
        seed(stranger, SCHOOL, Path("never-written.json"))


def test_a_file_of_nonsense_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "users.json").write_text('{"not": "a list"}')

    with pytest.raises(UsersFileError, match="delete it"):
        read_users(tmp_path / "users.json")


def test_the_demonstrations_school_hangs_together():
    school = demo_school()
    learners = {pupil.learner_id for pupil in school.pupils}

    assert all(learner.startswith("demo-") for learner in learners)
    assert {pupil.class_id for pupil in school.pupils} == set(school.classes)
    assert {child for adult in school.adults for child in adult.children} == learners
    assert {role for adult in school.adults for role in [adult.role]} == {
        "guardian",
        "teacher",
        "admin",
    }


@pytest.mark.parametrize(
    ("learners", "taught", "classes"), [(12, 6, 1), (36, 30, 1), (206, 200, 7)]
)
def test_a_larger_school_gives_its_first_teacher_full_classes(
    learners: int, taught: int, classes: int
):
    school = demo_school(learners)
    (teacher,) = (adult for adult in school.adults if adult.name == "Ms Vega")
    sizes = Counter(pupil.class_id for pupil in school.pupils)

    assert len({pupil.learner_id for pupil in school.pupils}) == learners
    assert sum(sizes[class_id] for class_id in teacher.classes) == taught
    assert len(teacher.classes) == classes
    assert max(sizes.values()) <= 30
    assert set(sizes) == set(school.classes)

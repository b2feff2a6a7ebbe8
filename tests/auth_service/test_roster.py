"""Rosters: what the files say becomes who is here, again and again, and mistakes change nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from auth_service.domain import Relation, RelationKind, Role, User
from auth_service.roster.reading import Roster, RosterError, read_roster
from auth_service.roster.writing import write_roster
from auth_service.store import Rosters
from auth_service.store.tables import identities
from tests.auth_service.harness import Stored

TODAY = datetime.date(2026, 11, 27)
USERS = (
    "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,"
    "givenName,familyName,middleName,identifier,email,sms,phone,agentSourcedIds,grades,password"
)
FILES = {
    "orgs.csv": "sourcedId,status,dateLastModified,name,type\ns-1,,,Hill School,school\n",
    "courses.csv": "sourcedId,status,dateLastModified,title\nco-1,,,Maths\n",
    "academicSessions.csv": "sourcedId,status,dateLastModified,title\nterm-1,,,Autumn\n",
    "users.csv": f"""{USERS}
t-1,,,true,s-1,teacher,tess,,Tess,Hill,,,tess@hill.example,,,,,
p-1,,,true,s-1,student,ada,,Ada,Lane,,,ada@hill.example,,,g-1,07,
p-2,,,true,s-1,student,ben,,Ben,Moor,,,,,,"g-1,g-2",07,
g-1,,,true,s-1,parent,gwen,,Gwen,Lane,,,gwen@home.example,,,,,
g-2,,,true,s-1,guardian,gil,,Gil,Moor,,,gil@home.example,,,p-2,,
""",
    "classes.csv": (
        "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,"
        "location,schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods\n"
        "c-1,,,Maths 7a,07,co-1,,scheduled,,s-1,term-1,,,\n"
    ),
    "enrollments.csv": (
        "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
        "primary,beginDate,endDate\n"
        "e-1,,,c-1,s-1,t-1,teacher,true,,\n"
        "e-2,,,c-1,s-1,p-1,student,,2026-09-01,2027-07-01\n"
        "e-3,,,c-1,s-1,p-2,student,,,\n"
    ),
}

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    def write(**changes: tuple[str, str]) -> Path:
        """Write the files; each change replaces a text in the file of that name."""
        for name, content in FILES.items():
            old, new = changes.get(name.removesuffix(".csv"), ("", ""))
            assert old in content
            text = content.replace(old, new) if old else content
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return write


def _read(folder: Path) -> Roster:
    return read_roster(folder, today=TODAY)


def test_a_roster_becomes_people_and_again_is_harmless(stored: Stored, written: Written) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    roster = _read(written())
    dry = list(rosters.take_over(roster, actor="test", dry_run=True).lines())
    assert not rosters.present().users

    done = list(rosters.take_over(roster, actor="test").lines())

    assert done == dry, "by ids that whoever reads a dry run can look up"
    assert len(dry) == 5 + 2 + 1 + 2 + 3 + 3
    assert {"+ user t-1", "+ teaches t-1 c-1", "+ guardian_of g-2 p-2"} <= set(dry)
    present = rosters.present()
    ids = {user.display_name: user.user_id for user in present.users.values()}
    assert {user.role for user in present.users.values()} == set(Role) - {Role.ADMIN}
    assert present.relations == {
        (RelationKind.IS_LEARNER, ids["Ada Lane"], "p-1"),
        (RelationKind.IS_LEARNER, ids["Ben Moor"], "p-2"),
        (RelationKind.GUARDIAN_OF, ids["Gwen Lane"], "p-1"),
        (RelationKind.GUARDIAN_OF, ids["Gwen Lane"], "p-2"),
        (RelationKind.GUARDIAN_OF, ids["Gil Moor"], "p-2"),
        (RelationKind.TEACHES, ids["Tess Hill"], "c-1"),
        (RelationKind.ENROLLED, "p-1", "c-1"),
        (RelationKind.ENROLLED, "p-2", "c-1"),
    }
    before = stored.log.snapshot(0).seq
    assert not list(rosters.take_over(_read(written()), actor="test").lines())
    assert stored.log.snapshot(0).seq == before
    assert rosters.present() == present
    text = str(stored.log.audit_entries(10))
    assert "import-roster" in text
    assert "Ada" not in text


def test_who_is_gone_is_disabled_not_erased_and_comes_back(
    stored: Stored, written: Written
) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    rosters.take_over(_read(written()), actor="test")
    ids = {user.display_name: user.user_id for user in rosters.present().users.values()}
    line = "g-2,,,true,s-1,guardian,gil,,Gil,Moor,,,gil@home.example,,,p-2,,\n"
    folder = written(users=(line, ""))
    (folder / "users.csv").write_text(
        (folder / "users.csv").read_text().replace('"g-1,g-2"', "g-1")
    )

    seq = stored.log.snapshot(0).seq
    rosters.take_over(_read(folder), actor="test")

    present = rosters.present()
    assert present.users[ids["Gil Moor"]].disabled
    assert (RelationKind.GUARDIAN_OF, ids["Gil Moor"], "p-2") not in present.relations
    batch = stored.log.since(seq, 0)
    assert batch is not None
    assert (ids["Gil Moor"], True) in [(one.user_id, one.all_sessions) for one in batch.changes]

    rosters.take_over(_read(written()), actor="test")
    assert not rosters.present().users[ids["Gil Moor"]].disabled


def test_a_roster_does_not_let_in_whom_an_administrator_put_out(
    stored: Stored, written: Written
) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    rosters.take_over(_read(written()), actor="test")
    [user_id] = [
        one.user_id for one in rosters.present().users.values() if one.role is Role.TEACHER
    ]
    stored.people.set_disabled(user_id, True, actor="admin")
    rosters.take_over(_read(written()), actor="test")
    assert rosters.present().users[user_id].disabled


def test_what_was_made_by_hand_stays(stored: Stored, written: Written) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    rosters.take_over(_read(written()), actor="test")
    stored.people.create_class("club", "Chess", actor="admin")
    before = rosters.present()
    tess = next(one.user_id for one in before.users.values() if one.role is Role.TEACHER)
    by_hand = Relation(kind=RelationKind.TEACHES, subject=tess, object="club")
    stored.people.add_relation(by_hand, actor="admin")
    rosters.take_over(_read(written()), actor="test")
    assert (RelationKind.TEACHES, tess, "club") in rosters.present().relations


def test_an_export_is_taken_back_without_a_change(
    stored: Stored, written: Written, tmp_path: Path
) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    rosters.take_over(_read(written()), actor="test")
    folder = tmp_path / "export"
    assert write_roster(rosters.present(), folder) == 5
    assert not list(rosters.take_over(_read(folder), actor="test", dry_run=True).lines())


def test_roles_of_1_2_are_read_from_their_own_file(written: Written) -> None:
    folder = written(users=("t-1,,,true,s-1,teacher", "t-1,,,true,s-1,"))
    (folder / "roles.csv").write_text(
        "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,"
        "orgSourcedId,userProfileSourcedId\nr-1,,,t-1,primary,teacher,,,s-1,\n"
    )
    assert _read(folder).users["t-1"].role is Role.TEACHER


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"users": ("ada@hill.example", "no address")}, "users.csv, line 3, email:"),
        ({"users": ("ada@hill.example", "tess@hill.example")}, "users.csv, line 3, email:"),
        ({"users": ("student,ada", "pirate,ada")}, "users.csv, line 3, role:"),
        ({"users": ("p-1,,", "p 1,,")}, "users.csv, line 3, sourcedId:"),
        ({"users": ("p-2,,", "p-1,,")}, "users.csv, line 4, sourcedId:"),
        ({"users": ("g-1,07", "g-9,07")}, "users.csv, line 3, agentSourcedIds:"),
        ({"users": ("t-1,,,true", "t-1,,,maybe")}, "users.csv, line 2, enabledUser:"),
        ({"users": ("Ada,", "A\x07a,")}, "users.csv, line 3, givenName:"),
        ({"users": ("givenName,", "name,")}, "users.csv, line 1: no column givenName"),
        ({"classes": (",s-1,", ",s-9,")}, "classes.csv, line 2, schoolSourcedId:"),
        ({"classes": ("co-1", "co-9")}, "classes.csv, line 2, courseSourcedId:"),
        ({"classes": ("term-1", "term-9")}, "classes.csv, line 2, termSourcedIds:"),
        ({"enrollments": ("c-1,s-1,t-1", "c-9,s-1,t-1")}, "enrollments.csv, line 2, class"),
        ({"enrollments": ("s-1,p-1", "s-1,p-9")}, "enrollments.csv, line 3, userSourcedId:"),
        ({"enrollments": ("p-1,student", "p-1,teacher")}, "enrollments.csv, line 3, role:"),
        ({"enrollments": ("2026-09-01", "soon")}, "enrollments.csv, line 3, beginDate:"),
    ],
)
def test_a_mistake_is_told_by_file_line_and_field(
    written: Written, change: dict[str, tuple[str, str]], place: str
) -> None:
    with pytest.raises(RosterError) as told:
        _read(written(**change))
    assert place in str(told.value)
    assert "ada@hill.example" not in str(told.value)


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (FILES["users.csv"].replace("Moor", "Möhr").encode("latin-1"), "users.csv, line 4: "),
        (FILES["users.csv"].encode("utf-16"), "users.csv, line 1: "),
        (
            FILES["users.csv"].replace("Moor", 'Mo"or"').replace(",Ben", ',"B"en').encode(),
            "line 4: ",
        ),
        (FILES["users.csv"].encode()[:-30] + b'"half', "users.csv, line 6, the row:"),
        (FILES["users.csv"].encode() + b"\x00,,,\n", "users.csv, line 7"),
    ],
    ids=["latin-1", "utf-16", "quotes", "cut off", "nul"],
)
def test_a_file_that_is_no_csv_in_utf_8_is_told_by_its_line(
    written: Written, content: bytes, place: str
) -> None:
    folder = written()
    (folder / "users.csv").write_bytes(content)
    with pytest.raises(RosterError) as told:
        _read(folder)
    assert place in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + FILES["users.csv"],
        FILES["users.csv"].replace("\n", "\r\n"),
        FILES["users.csv"].replace("t-1,,,", "t-1,Active,,").replace("p-1,,,", "p-1,ACTIVE,,"),
    ],
    ids=["byte order mark", "line ends", "capitals"],
)
def test_what_spreadsheets_make_of_a_file_is_the_same(written: Written, text: str) -> None:
    same = _read(written())
    folder = written()
    (folder / "users.csv").write_text(text, encoding="utf-8", newline="")
    assert _read(folder) == same


def test_an_unknown_status_is_a_mistake_and_disables_nobody(written: Written) -> None:
    with pytest.raises(RosterError, match=r"users\.csv, line 3, status:"):
        _read(written(users=("p-1,,,", "p-1,enrolled,,")))


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        ({"users": ("p-2,,,", "p-2,tobedeleted,,")}, (RelationKind.ENROLLED, "p-2", "c-1")),
        ({"users": ("g-2,,,", "g-2,tobedeleted,,")}, (RelationKind.GUARDIAN_OF, "g-2", "p-2")),
        ({"users": ("t-1,,,", "t-1,tobedeleted,,")}, (RelationKind.TEACHES, "t-1", "c-1")),
        ({"classes": ("c-1,,,", "c-1,tobedeleted,,")}, (RelationKind.ENROLLED, "p-1", "c-1")),
        ({"orgs": ("s-1,,,", "s-1,tobedeleted,,")}, None),
        ({"courses": ("co-1,,,", "co-1,tobedeleted,,")}, None),
        ({"academicSessions": ("term-1,,,", "term-1,tobedeleted,,")}, None),
    ],
    ids=["pupil", "guardian", "teacher", "class", "org", "course", "term"],
)
def test_who_is_to_be_deleted_may_be_named_still(
    written: Written,
    change: dict[str, tuple[str, str]],
    left_out: tuple[RelationKind, str, str] | None,
) -> None:
    whole = _read(written()).relations
    told = _read(written(**change)).relations
    assert left_out is None or left_out in whole - told
    assert told <= whole


def test_who_is_to_be_deleted_in_one_line_and_there_in_another_is_there(written: Written) -> None:
    whole = _read(written())
    folder = written(
        users=("p-1,,,", "p-1,tobedeleted,,,s-1,student,ada,,Ada,Lane,,,,,,,,\np-1,,,")
    )
    assert _read(folder) == whole


def test_whose_only_role_is_to_be_deleted_leaves(written: Written) -> None:
    folder = written(users=("t-1,,,true,s-1,teacher", "t-1,,,true,s-1,"))
    (folder / "roles.csv").write_text("userSourcedId,status,role\nt-1,tobedeleted,teacher\n")
    roster = _read(folder)
    assert "t-1" not in roster.users
    assert not [one for one in roster.relations if one[0] is RelationKind.TEACHES]


def test_two_people_of_one_name_at_the_provider_are_a_mistake(written: Written) -> None:
    folder = written(users=("ben,", "ada,"))
    with pytest.raises(RosterError, match=r"users\.csv, line 4, username: is also on line 3"):
        read_roster(folder, today=TODAY, subject="username")
    assert _read(folder)


def test_enrolments_that_are_over_or_to_come_do_not_count(written: Written) -> None:
    for old, new in (("2027-07-01", "2026-11-27"), ("2026-09-01", "2026-11-28")):
        relations = _read(written(enrollments=(old, new))).relations
        assert (RelationKind.ENROLLED, "p-1", "c-1") not in relations


def test_half_a_file_disables_nobody(stored: Stored, written: Written) -> None:
    rosters = Rosters(stored.database, stored.clock.ms)
    many = "".join(f"x-{n},,,true,s-1,student,,,X,{n},,,,,,,,\n" for n in range(20))
    rosters.take_over(_read(written(users=("t-1,", f"{many}t-1,"))), actor="test")
    with pytest.raises(RosterError, match="20 of 25 people would be disabled"):
        rosters.take_over(_read(written()), actor="test", most_leaving=0.2)
    assert not any(user.disabled for user in rosters.present().users.values())


def test_an_administrators_address_is_not_taken_over(stored: Stored, written: Written) -> None:
    admin = User(
        user_id="a" * 36,
        email="tess@hill.example",
        role=Role.ADMIN,
        display_name="",
        disabled=False,
        created_at_ms=0,
    )
    stored.people.create_user(admin, "hash", actor="test")
    rosters = Rosters(stored.database, stored.clock.ms)
    with pytest.raises(RosterError, match="sourcedId t-1, email: belongs to an administrator here"):
        rosters.take_over(_read(written()), actor="test")
    assert len(rosters.present().users) == 1


def test_learners_are_found_by_the_address_of_their_user(stored: Stored, written: Written) -> None:
    Rosters(stored.database, stored.clock.ms).take_over(_read(written()), actor="test")
    asked = ["ada@hill.example", "tess@hill.example", "nobody@hill.example"]
    assert stored.people.own_learners(asked) == {"ada@hill.example": "p-1"}


ISSUER = "https://id.hill.example"


def _named(stored: Stored, folder: Path) -> dict[str, str]:
    """Take a roster over, and return who is known by which name at the provider."""
    rosters = Rosters(stored.database, stored.clock.ms)
    roster = read_roster(folder, today=TODAY, subject="username")
    rosters.take_over(roster, actor="test", issuer=ISSUER)
    with stored.database.read() as connection:
        known = connection.execute(select(identities.c.subject, identities.c.user_id)).all()
    names = {one.user_id: one.display_name for one in rosters.present().users.values()}
    return {row.subject: names[row.user_id] for row in known}


def test_a_name_at_the_provider_may_be_given_again(stored: Stored, written: Written) -> None:
    assert _named(stored, written())["ada"] == "Ada Lane"
    swapped = written(users=("student,ada,,Ada", "student,ben,,Ada"))
    users = (swapped / "users.csv").read_text().replace("student,ben,,Ben", "student,ada,,Ben")
    (swapped / "users.csv").write_text(users)
    named = _named(stored, swapped)
    assert (named["ben"], named["ada"]) == ("Ada Lane", "Ben Moor")
    newcomer = written(
        users=("p-1,,,true,s-1,student,ada,,Ada,Lane", "p-9,,,true,,student,ada,,Al,Ox")
    )
    (newcomer / "users.csv").write_text(
        (newcomer / "users.csv").read_text().replace("ada@hill", "al@hill")
    )
    (newcomer / "enrollments.csv").write_text(
        (newcomer / "enrollments.csv").read_text().replace("p-1", "p-9")
    )
    assert _named(stored, newcomer)["ada"] == "Al Ox"


def test_a_name_of_somebody_whom_no_roster_named_is_theirs(
    stored: Stored, written: Written
) -> None:
    admin = User(
        user_id="a" * 36,
        email="head@hill.example",
        role=Role.ADMIN,
        display_name="",
        disabled=False,
        created_at_ms=0,
    )
    stored.people.create_user(admin, "hash", actor="test")
    with stored.database.write() as connection:
        connection.execute(
            insert(identities).values(
                issuer=ISSUER, subject="tess", user_id=admin.user_id, told_at_s=1
            )
        )
    roster = read_roster(written(), today=TODAY, subject="username")
    rosters = Rosters(stored.database, stored.clock.ms)
    for dry_run in (True, False):
        with pytest.raises(RosterError, match=r"users\.csv, sourcedId t-1: "):
            rosters.take_over(roster, actor="test", issuer=ISSUER, dry_run=dry_run)
    assert list(rosters.present().users) == [admin.user_id]

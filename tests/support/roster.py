"""A small school as OneRoster files: a teacher, a guardian, and a class of pupils."""

from __future__ import annotations

from pathlib import Path


def write_roster(folder: Path, *, pupils: int, guardian_of_first: bool = True) -> Path:
    """Write the files of a class `c-1` with the teacher `t-1` and `pupil-0` and so on, the first of
    whom is, or is not, the child of `g-1`.
    """
    folder.mkdir(exist_ok=True)
    child = "pupil-0" if guardian_of_first else ""
    users = ["sourcedId,enabledUser,role,givenName,familyName,email,agentSourcedIds"]
    users += ["t-1,true,teacher,Tess,Hill,t-1@school.example,"]
    users += [f"g-1,true,parent,Gwen,Lane,g-1@home.example,{child}"]
    enrolled = ["sourcedId,classSourcedId,userSourcedId,role", "e-t,c-1,t-1,teacher"]
    for number in range(pupils):
        agents = "g-1" if number == 0 and guardian_of_first else ""
        users.append(f"pupil-{number},true,student,Pupil,Number{number},,{agents}")
        enrolled.append(f"e-{number},c-1,pupil-{number},student")
    for name, lines in (
        ("users", users),
        ("classes", ["sourcedId,title", "c-1,Maths 7a"]),
        ("enrollments", enrolled),
    ):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder

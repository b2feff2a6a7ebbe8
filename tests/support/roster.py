"""A small school as other systems tell of it: a teacher, a guardian, and a class of pupils as
OneRoster files, and what the pupils answer as xAPI statements.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

HOME = "https://lms.school.example"
"""What the learning platform calls itself."""
NAMES = ("Znamensky", "Hillbrand", "Lanequist")
"""Of the pupils, the teacher, and the guardian: no log, no span and no message has them."""
STEP_S = 30
"""Between two statements."""


def write_roster(folder: Path, *, pupils: int, guardian_of_first: bool = True) -> Path:
    """Write the files of a class `c-1` with the teacher `t-1` and `pupil-0` and so on. `pupil-1` is
    the child of `g-1`, and the first is, or is not.
    """
    folder.mkdir(exist_ok=True)
    users = ["sourcedId,enabledUser,role,givenName,familyName,email,agentSourcedIds"]
    users += [f"t-1,true,teacher,Tess,{NAMES[1]},t-1@school.example,"]
    users += [f"g-1,true,parent,Gwen,{NAMES[2]},g-1@home.example,pupil-1"]
    enrolled = ["sourcedId,classSourcedId,userSourcedId,role", "e-t,c-1,t-1,teacher"]
    for number in range(pupils):
        agents = "g-1" if number == 0 and guardian_of_first else ""
        users.append(f"pupil-{number},true,student,Quirin,{NAMES[0]},,{agents}")
        enrolled.append(f"e-{number},c-1,pupil-{number},student")
    for name, lines in (
        ("users", users),
        ("classes", ["sourcedId,title", "c-1,Maths 7a"]),
        ("enrollments", enrolled),
    ):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def statements(numbers: Iterable[int], *, pupils: int, begin: datetime) -> list[dict[str, object]]:
    """Return what the pupils answered in turn, every third time wrong; the same number is always
    the same statement.
    """
    return [
        {
            "id": str(uuid.UUID(int=0x0192F3A4000070008000000000000000 + number)),
            "actor": {"account": {"homePage": HOME, "name": f"pupil-{number % pupils}"}},
            "verb": {"id": "http://adlnet.gov/expapi/verbs/answered"},
            "object": {"id": f"{HOME}/items/{number % 40}"},
            "result": {"success": number % 3 > 0, "duration": "PT20S"},
            "timestamp": (begin + timedelta(seconds=STEP_S * number)).isoformat(),
        }
        for number in numbers
    ]

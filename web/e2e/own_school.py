"""Runs a private stack for a school that brings its own people: a provider, a roster, statements.

Prints one JSON line when ready (`url`, `pupils`), then answers each line of its standard input with
one line of output. Commands: `record STATEMENTS` (so many more, a thousand a call), `withdraw` (the
next roster lacks the guardian's relation to `pupil-0`) and `relate` (the next has it again); both
tell when that was committed, `at_ms`. Ends with its input.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "proto" / "gen")]

from harness.stack import private_stack  # noqa: E402 - the path comes first
from tests.support.commands import auth_command  # noqa: E402
from tests.support.provider import running_provider  # noqa: E402
from tests.support.roster import HOME, STEP_S, statements, write_roster  # noqa: E402
from tests.support.school import School, found_school, request  # noqa: E402

PUPILS = 25
A_CALL = 1_000


def main() -> None:
    """Serve commands until the input ends."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_provider() as provider,
        private_stack(env=settings(Path(folder), provider)) as stack,
    ):
        school = found_school(stack)
        roster = stack.directory / "roster"
        import_roster(school, roster, provider, guardian=True)
        say({"url": stack.http_url, "pupils": PUPILS})
        recorded = 0
        for line in sys.stdin:
            command, *words = line.split()
            try:
                if command == "record":
                    numbers = range(recorded, recorded := recorded + int(words[0]))
                    say({"stored": record(school, numbers)})
                elif command in ("withdraw", "relate"):
                    import_roster(school, roster, provider, guardian=command == "relate")
                    say({"at_ms": committed_at_ms(school)})
                else:
                    raise ValueError(f"no such command: {command}")
            except Exception as failure:  # the test that asked shall read it
                say({"failed": f"{type(failure).__name__}: {failure}"})


def settings(folder: Path, provider: str) -> dict[str, str]:
    """Write the file of issuers, and return what the services need to be told."""
    (folder / "client.secret").write_text("a secret of the client")
    (folder / "issuers.toml").write_text(
        f'[[issuers]]\nissuer = "{provider}"\naudiences = ["aivo-api"]\n'
        f'jwks = "{provider}/jwks"\ndefault_role = "learner"\n'
        '[issuers.sign_in]\nid = "school"\nlabel = "Sign in with Hill School"\n'
        'client_id = "aivo"\nclient_secret_file = "client.secret"\n'
    )
    return {
        "AUTH_TRUSTED_ISSUERS": str(folder / "issuers.toml"),
        "EDGE_XAPI_HOMEPAGES": HOME,
        "EDGE_USER_UNITS_PER_S": "0",
    }


def import_roster(school: School, folder: Path, provider: str, *, guardian: bool) -> None:
    """Take over the roster, with or without the relation of the guardian."""
    write_roster(folder, pupils=PUPILS, guardian_of_first=guardian)
    auth_command(school, "import-roster", str(folder), "--issuer", provider)


def record(school: School, numbers: range) -> int:
    """Send these statements, up to now, and return how many were stored."""
    begin, stored = datetime.now(UTC) - timedelta(seconds=STEP_S * numbers.stop), 0
    admin = school.token("admin")
    for first in range(0, len(numbers), A_CALL):
        some = statements(numbers[first : first + A_CALL], pupils=PUPILS, begin=begin)
        status, answer = request(school.stack, "POST", "/api/xapi/statements", some, admin)
        if status != 200:
            raise RuntimeError(f"statements were not taken: {status} {answer}")
        stored += answer["stored"]
    return stored


def committed_at_ms(school: School) -> int:
    """Return when the newest change was committed, as the audit log has it, Unix milliseconds."""
    newest = json.loads(auth_command(school, "audit", "--limit", "1"))
    return int(newest["at_ms"])


def say(value: object) -> None:
    """Print one line."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main()

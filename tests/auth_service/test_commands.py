"""The admin commands, also while the service runs."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service.__main__ import main
from auth_service.settings import Settings
from tests.auth_service.harness import ADMIN, CREDENTIAL, PASSWORD, Client

Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def environ(settings: Settings) -> dict[str, str]:
    return {
        "AUTH_DATABASE_URL": settings.database_url,
        "AUTH_KEY_FILE": str(settings.key_file),
        "AUTH_ARGON2_TIME_COST": "1",
        "AUTH_ARGON2_MEMORY_KIB": "64",
        "AUTH_ARGON2_LANES": "1",
    }


@pytest.fixture
def command(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: str, stdin: str = "") -> tuple[int, str, str]:
        stdout = io.StringIO()
        code = main(argv, environ, io.StringIO(stdin), stdout)
        return code, stdout.getvalue(), capsys.readouterr().err

    return run


def create(command: Run, email: str, role: str) -> str:
    code, output, _ = command(
        "create-user", "--email", email, "--role", role, "--password-stdin", stdin=f"{PASSWORD}\n"
    )
    assert code == 0
    return output.strip()


def test_learners_are_listed_by_id_all_or_those_of_a_class(command: Run) -> None:
    for learner_id in ("ben", "ada", "cho"):
        command("create-learner", "--id", learner_id, "--display-name", "Somebody")
    command("create-class", "--id", "7a")
    for learner_id in ("cho", "ada"):
        command("relate", "enrolled", learner_id, "7a")
    assert command("list-learners") == (0, "ada\nben\ncho\n", "")
    assert command("list-learners", "--class", "7a") == (0, "ada\ncho\n", "")
    code, printed, complaint = command("list-learners", "--class", "7b")
    assert (code, printed) == (1, "")
    assert "no such class" in complaint


def test_a_school_is_made_by_commands_and_every_change_is_audited(command: Run) -> None:
    teacher = create(command, "Teacher@School.Example", "teacher")
    assert command("create-learner", "--id", "lea", "--display-name", "Lea") == (0, "lea\n", "")
    assert command("create-class", "--id", "maths") == (0, "maths\n", "")
    assert command("relate", "teaches", "teacher@school.example", "maths") == (0, "", "")
    assert command("relate", "enrolled", "lea", "maths") == (0, "", "")
    assert command("unrelate", "enrolled", "lea", "maths") == (0, "", "")
    assert command("delete-learner", "lea") == (0, "", "")
    assert command("disable", teacher) == (0, "", "")

    _, listed, _ = command("list-users")
    _, as_json, _ = command("list-users", "--json")
    _, audit, _ = command("audit", "--limit", "3")

    assert listed == f"{teacher}\tteacher\tdisabled\tteacher@school.example\t\n"
    assert json.loads(as_json)["user_id"] == teacher
    assert [json.loads(line)["action"] for line in audit.splitlines()] == [
        "unrelate",
        "delete-learner",
        "disable-user",
    ]
    assert json.loads(audit.splitlines()[0])["actor"].startswith("command:")


def test_a_user_without_password_gets_tokens_and_the_audit_log_has_each(command: Run) -> None:
    made = ("create-user", "--email", "lms@school.example", "--role", "admin", "--no-password")
    code, user_id, _ = command(*made)
    assert code == 0
    code, token, _ = command("mint-token", "lms@school.example", "--ttl-s", "7200")
    assert (code, token.count(".")) == (0, 2)

    *_, entry = (json.loads(line) for line in command("audit")[1].splitlines())
    assert entry["actor"].startswith("command:")
    assert entry["action"] == "mint-token"
    assert (entry["subject"], entry["detail"]) == (user_id.strip(), "for 7200 s")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (
            ("create-user", "--email", "no address", "--role", "admin", "--password-stdin"),
            "not well-formed",
        ),
        (("create-user", "--email", "a@b.c", "--role", "admin"), "--password-stdin"),
        (("set-password", "nobody@school.example", "--password-stdin"), "there is no such user"),
        (("disable", "nobody"), "there is no such user"),
        (("relate", "enrolled", "lea", "maths"), "there is no such learner"),
        (("relate", "teaches", "nobody", "maths"), "there is no such user"),
        (("create-learner", "--id", "a b"), "a learner id must be"),
        (("mint-token", "nobody"), "there is no such user"),
        (("rotate-keys", "--lead-s", "-1"), "--lead-s"),
    ],
)
def test_a_refused_command_says_why_and_changes_nothing(
    command: Run, argv: tuple[str, ...], sentence: str
) -> None:
    code, output, error = command(*argv, stdin=f"{PASSWORD}\n")

    assert (code, output) == (1, "")
    assert error.startswith(f"auth_service {argv[0]}: ")
    assert sentence in error
    assert PASSWORD not in error
    assert command("audit")[1] == ""


def test_a_weak_password_is_refused(command: Run) -> None:
    argv = ("create-user", "--email", "a@b.c", "--role", "admin", "--password-stdin")

    assert "at least 12 characters" in command(*argv, stdin="admin\n")[2]


def test_unknown_settings_are_told(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list-users"], environ | {"AUTH_POL_S": "1", "AUTH_POLL_S": "0"}) == 2
    assert "AUTH_POL_S" in capsys.readouterr().err
    assert main(["list-users"], environ | {"AUTH_POLL_S": "0"}) == 2
    assert "AUTH_POLL_S must be at least" in capsys.readouterr().err


def test_a_bootstrap_address_without_a_password_is_told(
    environ: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list-users"], environ | {"AUTH_BOOTSTRAP_ADMIN_EMAIL": "a@b.c"}) == 2
    assert "need each other" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["--help"], ["create-user", "--help"], ["relate", "--help"], ["mint-token", "--help"]]
)
def test_help_needs_no_settings(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv, {})

    assert caught.value.code == 0
    assert "usage: python -m auth_service" in capsys.readouterr().out


async def test_people_made_by_commands_can_sign_in_at_the_running_service(
    client: Client, command: Run
) -> None:
    user_id = await asyncio.to_thread(create, command, "ann@school.example", "teacher")

    response = await client.login("ann@school.example")
    (answer,) = await client.authenticate(response.tokens.access_token)

    assert response.user.user_id == user_id == answer.identity.user_id


async def test_open_streams_hear_of_commands(client: Client, command: Run) -> None:
    admin = await client.login(*ADMIN)
    async with client.revocations() as following:
        assert (await asyncio.to_thread(command, "disable", ADMIN[0]))[0] == 0
        told = await following()
    (answer,) = await client.authenticate(admin.tokens.access_token)

    assert told == [pb.Revocation(user_id=admin.user.user_id, all_sessions=True)]
    assert answer.error


async def test_a_minted_token_is_good_at_the_running_service_until_its_session_ends(
    client: Client, command: Run
) -> None:
    _, output, _ = await asyncio.to_thread(command, "mint-token", ADMIN[0], "--ttl-s", "7200")
    token = output.strip()
    (answer,) = await client.authenticate(token)
    async with client.revocations() as following:
        await client.Logout(pb.LogoutRequest(access_token=token))
        told = await following()

    assert answer.identity.role == pb.ROLE_ADMIN
    assert [each.session_id for each in told] == [answer.identity.session_id]
    assert (await client.authenticate(token))[0].error


async def test_rotated_keys_come_into_use_without_a_restart(client: Client, command: Run) -> None:
    old = (await client.login(*ADMIN)).tokens
    _, output, _ = await asyncio.to_thread(command, "rotate-keys", "--lead-s", "0")

    async with asyncio.timeout(20):
        while output.strip() not in (await client.GetJwks(pb.GetJwksRequest())).jwks_json:
            pass
    new = (await client.login(*ADMIN)).tokens
    answers = await client.authenticate(old.access_token, new.access_token)

    assert [answer.error for answer in answers] == ["", ""]


async def test_dropped_keys_end_everything(client: Client, command: Run) -> None:
    old = (await client.login(*ADMIN)).tokens
    _, output, _ = await asyncio.to_thread(command, "rotate-keys", "--drop-old")

    async with asyncio.timeout(20):
        while output.strip() not in (await client.GetJwks(pb.GetJwksRequest())).jwks_json:
            pass

    assert [answer.error for answer in await client.authenticate(old.access_token)] == [
        "the access token is not valid"
    ]
    with pytest.raises(grpc.aio.AioRpcError):
        await client.Refresh(pb.RefreshRequest(refresh_token=old.refresh_token))


def test_the_real_process_serves_commands_and_stops_at_a_signal(environ: dict[str, str]) -> None:
    environ |= {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'proto' / 'gen'}",
        "PATH": os.environ["PATH"],
    }
    program = [sys.executable, "-m", "auth_service"]
    made = subprocess.run(
        [*program, "create-user", "--email", "a@b.c", "--role", "admin", "--password-stdin"],
        env=environ, input=f"{PASSWORD}\n", capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    refused = subprocess.run(
        [*program, "serve"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    serving = subprocess.Popen(
        program,
        env=environ
        | {"AUTH_LISTEN": "127.0.0.1:0", "AUTH_EXPOSITION_LISTEN": "off", "AUTH_CREDENTIAL":
        CREDENTIAL},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert serving.stderr is not None
    with serving.stderr:
        try:
            assert any('"listening"' in line for line in serving.stderr)
        finally:
            serving.terminate()
            code = serving.wait(60)

    assert made.stdout.strip()
    assert refused.returncode == 2
    assert "Set AUTH_CREDENTIAL or AUTH_CREDENTIAL_FILE" in refused.stderr
    assert code == 0

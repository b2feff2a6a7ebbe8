"""The admin commands: they change the database directly, and a running service notices."""

from __future__ import annotations

import argparse
import datetime
import getpass
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from auth_service.administration import Administration
from auth_service.domain import InvalidInputError, Relation, RelationKind, Role
from auth_service.roster.reading import read_roster
from auth_service.roster.writing import write_roster
from auth_service.sessions import Issuer
from auth_service.store import ChangeLog, Database, Rosters
from auth_service.store.change_log import RECORDS, SIGN_IN
from auth_service.tokens import KeyFile, KeySet
from service_runtime.database import commands as database_commands
from service_runtime.json_lines import on_one_line
from service_runtime.version import told

_DESCRIPTION = """\
Says who is connected and whom they may watch. Without a command (or with "serve") it serves
aivo.auth.v1.AuthService;
the other commands administer its database directly, also while it runs: a running service notices
within AUTH_POLL_S
seconds and ends the sockets concerned. They need AUTH_DATABASE_URL and AUTH_KEY_FILE as the service
has them."""

_MAX_MINT_S = 30 * 86_400

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What commands work with."""

    administration: Administration
    issuer: Issuer
    database: Database
    change_log: ChangeLog
    rosters: Rosters
    key_file: KeyFile
    clock: Callable[[], float]
    access_ttl_s: int
    actor: str
    stdin: TextIO
    stdout: TextIO


def parser(settings_help: str) -> argparse.ArgumentParser:
    """Return the command line of the service; `settings_help` describes the environment
    variables.
    """
    root = argparse.ArgumentParser(
        prog="python -m auth_service",
        description=_DESCRIPTION,
        epilog=f"Settings (environment variables):\n{settings_help}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=told("auth_service"))
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    commands.add_parser("serve", help="serve (the default)")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False
        )

    command = add("create-user", "add a user and print the user id")
    command.add_argument(
        "--email", required=True, help="e-mail address to sign in with; unique, any case"
    )
    command.add_argument("--role", required=True, choices=[role.value for role in Role])
    command.add_argument("--display-name", default="", help="name for people (default: none)")
    _add_password(command).add_argument(
        "--no-password",
        action="store_true",
        help="of another system, or of who signs in at your provider: no password opens it",
    )

    command = add("set-password", "replace a user's password and end all sessions of that user")
    _add_user(command)
    _add_password(command)

    _add_user(add("disable", "disable a user: all sessions and sockets end, signing in is refused"))
    _add_user(add("enable", "let a disabled user sign in again"))

    command = add(
        "list-users", "print all users: id, role, state, e-mail address, name, separated by tabs"
    )
    command.add_argument(
        "--json", action="store_true", help="print one JSON object per line instead"
    )

    command = add("create-learner", "add a learner and print the learner id")
    command.add_argument(
        "--id", default="", help="learner id, 1–128 characters of [A-Za-z0-9_.:@-] (default: made)"
    )
    command.add_argument("--display-name", default="", help="name for people (default: none)")

    command = add("list-learners", "print the ids of learners, one a line")
    command.add_argument("--class", dest="class_id", default="", help="only those of this class")

    command = add(
        "delete-learner", "remove a learner with all relations; the brain's data are erased there"
    )
    command.add_argument("id", help="learner id")

    database_commands.add_commands(commands)

    command = add("create-class", "add a class and print the class id")
    command.add_argument(
        "--id", default="", help="class id, 1–128 characters of [A-Za-z0-9_.:@-] (default: made)"
    )
    command.add_argument("--display-name", default="", help="name for people (default: none)")

    for name, help in (("relate", "relate two parties"), ("unrelate", "remove a relation")):
        command = add(name, help)
        command.add_argument(
            "kind", choices=[kind.value for kind in RelationKind], help="kind of relation"
        )
        command.add_argument("subject", help="user id or e-mail address; a learner id for enrolled")
        command.add_argument("object", help="learner id; a class id for teaches and enrolled")

    command = add("import-roster", "make people, classes and relations as OneRoster files say")
    command.add_argument("folder", type=Path, help="folder with the CSV files (1.1 or 1.2)")
    command.add_argument(
        "--dry-run", action="store_true", help="print what would change, and change nothing"
    )
    command.add_argument(
        "--issuer", default="", help="the trusted issuer whose tokens name these people"
    )
    command.add_argument(
        "--subject",
        choices=["sourcedId", "username", "identifier", "email"],
        default="sourcedId",
        help="what that issuer calls them (default: %(default)s)",
    )
    command.add_argument(
        "--most-leaving",
        type=float,
        default=20.0,
        metavar="PERCENT",
        help="refuse a roster that disables more people than this (default: %(default)s)",
    )
    command = add("export-roster", "write people, classes and relations as OneRoster 1.1 files")
    command.add_argument("folder", type=Path, help="folder for the CSV files")

    command = add(
        "mint-token",
        "print an access token for a user without a password, for tests and other systems",
    )
    _add_user(command)
    command.add_argument(
        "--ttl-s", type=int, help="seconds it is good for (default: AUTH_ACCESS_TTL_S)"
    )

    command = add("rotate-keys", "add a signing key; old tokens stay good until they expire")
    command.add_argument(
        "--lead-s",
        type=int,
        default=600,
        help="seconds to publish the key before it signs (default: %(default)s)",
    )
    command.add_argument(
        "--drop-old",
        action="store_true",
        help="for a leaked key file: drop all old keys, so that everyone must sign in again",
    )

    command = add("audit", "print the newest administrative changes, oldest first, as JSON lines")
    command.add_argument("--limit", type=int, default=100, help="how many (default: %(default)s)")
    other = command.add_mutually_exclusive_group()
    for option, action, meaning in (
        ("--sign-ins", SIGN_IN, "who signed in, and how"),
        ("--records", RECORDS, "who sent learning records about whom, and the outcome"),
    ):
        other.add_argument(
            option,
            dest="only",
            action="store_const",
            const=action,
            default="",
            help=f"{meaning}, instead; kept for 90 days",
        )
    return root


async def execute(arguments: argparse.Namespace, tools: Tools) -> None:
    """Run a parsed command. Raises the domain's exceptions; then nothing has changed."""
    administration, command = tools.administration, arguments.command
    match command:
        case "create-user":
            asked = not arguments.no_password
            password = _read_password(arguments, tools.stdin) if asked else None
            role, name = Role(arguments.role), arguments.display_name
            user = await administration.create_user(arguments.email, password, role, name)
            _print(tools, user.user_id)
        case "set-password":
            user = await administration.find_user(arguments.user)
            await administration.set_password(user.user_id, _read_password(arguments, tools.stdin))
        case "disable" | "enable":
            user = await administration.find_user(arguments.user)
            await administration.set_disabled(user.user_id, command == "disable")
        case "list-users":
            await _list_users(tools, as_json=arguments.json)
        case "create-learner":
            learner = await administration.create_learner(arguments.id, arguments.display_name)
            _print(tools, learner.learner_id)
        case "list-learners":
            for learner_id in await administration.learner_ids(arguments.class_id):
                _print(tools, learner_id)
        case "delete-learner":
            await administration.delete_learner(arguments.id)
        case "create-class":
            _print(tools, await administration.create_class(arguments.id, arguments.display_name))
        case "relate":
            await administration.add_relation(await _relation(arguments, administration))
        case "unrelate":
            await administration.remove_relation(await _relation(arguments, administration))
        case "import-roster":
            await _import_roster(arguments, tools)
        case "export-roster":
            present = await tools.database.run(tools.rosters.present)
            _print(tools, f"{write_roster(present, arguments.folder)} people written")
        case "mint-token":
            await _mint(arguments, tools)
        case "rotate-keys":
            _rotate_keys(arguments, tools)
        case "audit":
            for entry in await tools.database.run(
                tools.change_log.audit_entries,
                max(1, arguments.limit),
                only=arguments.only,
            ):
                moment = datetime.datetime.fromtimestamp(
                    entry.at_ms / 1000, datetime.UTC
                ).isoformat()
                _print(tools, on_one_line({"at": moment, **asdict(entry)}))
        case _:
            raise InvalidInputError(f"there is no command {command}")


def _add_user(command: argparse.ArgumentParser) -> None:
    command.add_argument("user", help="user id or e-mail address")


def _add_password(command: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    ways = command.add_mutually_exclusive_group()
    ways.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from the first line of standard input instead of asking for it",
    )
    return ways


def _read_password(arguments: argparse.Namespace, stdin: TextIO) -> str:
    if arguments.password_stdin:
        return stdin.readline().rstrip("\r\n")
    if not stdin.isatty():
        raise InvalidInputError(
            "there is no terminal to ask for the password; give it with --password-stdin"
        )
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise InvalidInputError("the two passwords differ")
    return password


async def _list_users(tools: Tools, *, as_json: bool) -> None:
    token = ""
    while True:
        page = await tools.administration.list_users(_PAGE, token)
        for user in page.users:
            state = "disabled" if user.disabled else "enabled"
            columns = (user.user_id, user.role.value, state, user.email, user.display_name)
            _print(
                tools,
                on_one_line(asdict(user)) if as_json else "\t".join(columns),
            )
        token = page.next_page_token
        if not token:
            return


async def _relation(arguments: argparse.Namespace, administration: Administration) -> Relation:
    kind = RelationKind(arguments.kind)
    subject = arguments.subject
    if kind is not RelationKind.ENROLLED:
        subject = (await administration.find_user(subject)).user_id
    return Relation(kind=kind, subject=subject, object=arguments.object)


async def _mint(arguments: argparse.Namespace, tools: Tools) -> None:
    ttl_s = tools.access_ttl_s if arguments.ttl_s is None else arguments.ttl_s
    if not 1 <= ttl_s <= _MAX_MINT_S:
        raise InvalidInputError(f"--ttl-s must be 1–{_MAX_MINT_S}")
    user = await tools.administration.find_user(arguments.user)
    _print(tools, await tools.issuer.mint(user, ttl_s, actor=tools.actor))


async def _import_roster(arguments: argparse.Namespace, tools: Tools) -> None:
    today = datetime.datetime.fromtimestamp(tools.clock(), datetime.UTC).date()
    subject = arguments.subject if arguments.issuer else ""
    roster = read_roster(arguments.folder, today=today, subject=subject)
    changes = await tools.database.run(
        tools.rosters.take_over,
        roster,
        actor=tools.actor,
        issuer=arguments.issuer,
        most_leaving=arguments.most_leaving / 100,
        dry_run=arguments.dry_run,
    )
    lines = list(changes.lines())
    for line in lines if arguments.dry_run else ():
        _print(tools, line)
    done = "would change" if arguments.dry_run else "changed"
    _print(tools, f"{len(lines)} things {done}; the roster has {len(roster.users)} people")


def _rotate_keys(arguments: argparse.Namespace, tools: Tools) -> None:
    if arguments.lead_s < 0:
        raise InvalidInputError("--lead-s must be at least 0")
    now = tools.clock()
    # Minted tokens may live longer than others; their keys stay as long.
    keys = tools.key_file.load_or_create(now).rotated(
        now, lead_s=arguments.lead_s, keep_s=_MAX_MINT_S
    )
    if arguments.drop_old:
        keys = KeySet.make(now)
    tools.key_file.replace(keys)
    _print(tools, keys.keys[-1].kid)


def _print(tools: Tools, line: str) -> None:
    print(line, file=tools.stdout)

"""Runs a private stack with the demonstration's school for the browser's tests, and does what they
ask.

`stack.py [LEARNERS]` (12 unless given). Prints one JSON line when ready (`url`, `people`), then
answers each line of its standard input with one line of output.
Commands: `kill NAME …`, `start NAME …`, `restart NAME`, `mend` (start what was killed), `class
PACE DAYS` (the simulated learners at so many times the pace of people, after so many days). Ends
with its input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "proto" / "gen")]

import grpc  # noqa: E402 - the path comes first

from demo.people import FEWEST_LEARNERS, demo_school, seed  # noqa: E402
from harness.registry import Registry  # noqa: E402
from harness.stack import SERVICES, Stack, private_stack  # noqa: E402


def main(learners: int = FEWEST_LEARNERS) -> None:
    """Serve commands until the input ends."""
    with private_stack() as stack:
        users = stack.directory / "demo-users.json"
        with grpc.insecure_channel(stack.address("auth")) as channel:
            people = seed(Registry(channel, stack.metadata), demo_school(learners), users)
        passwords = {person.email: person.password for person in people}
        say({"url": stack.http_url, "people": passwords})
        for line in sys.stdin:
            command, *names = line.split()
            try:
                obey(stack, users, command, names)
                say({"done": command})
            except Exception as failure:  # the test that asked shall read it
                say({"failed": f"{type(failure).__name__}: {failure}"})


def obey(stack: Stack, users: Path, command: str, names: list[str]) -> None:
    """Do one command."""
    match command:
        case "kill":
            stack.kill(*names)
        case "start":
            stack.start(*names)
        case "restart":
            stack.restart(names[0])
        case "mend":
            if dead := [name for name in SERVICES if stack.children[name].exit_code is not None]:
                stack.start(*dead)
        case "class":
            pace, days = names
            arguments = ["--url", stack.http_url, "--users", str(users), "--pace", pace]
            arguments += ["--past-days", days]
            stack.add("class", [sys.executable, "-m", "demo.classroom", *arguments]).start()
        case _:
            raise ValueError(f"no such command: {command}")


def say(value: object) -> None:
    """Print one line."""
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

"""A program outside: it logs in, answers for a learner and watches what becomes of it, through
every reconnect.

    PYTHONPATH=client .venv/bin/python examples/answer_and_watch.py \\
        --email loadtest@school.example --learner learner-test-0

runs against a system that `make run` started; the password comes from the environment
(AIVO_PASSWORD) or from the file that `make run` wrote.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from aivo_client import AivoClient, AivoError

QUESTIONS = 3
USERS = Path(".aivo/demo-users.json")


def log_in(http_url: str, email: str, password: str) -> str:
    """Return an access token."""
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's
        f"{http_url}/api/auth/login",
        json.dumps({"email": email, "password": password}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        token: str = json.load(answer)["access_token"]
        return token


def password_of(email: str) -> str:
    """Return the password of the environment, or of a demonstration's user."""
    if given := os.environ.get("AIVO_PASSWORD"):
        return given
    people = json.loads(USERS.read_text(encoding="utf-8"))
    return next(str(one["password"]) for one in people if one["email"] == email)


async def main(http_url: str, email: str, learner_id: str) -> None:
    """Answer three questions and print what the watcher saw."""
    password = password_of(email)

    async def token() -> str:
        return await asyncio.to_thread(log_in, http_url, email, password)

    socket = http_url.replace("http", "ws", 1) + "/ws"
    async with (
        AivoClient(socket, token=token) as client,
        client.watch(learner_id, mode="every") as watch,
    ):
        for number in range(QUESTIONS):
            done = await client.interact(
                {
                    "learner_id": learner_id,
                    "type": "question_response",
                    "content": f"What is {number} + {number}?",
                    "response": f"{2 * number}",
                    "context": {"correct": True, "skill": "addition", "time_taken": 4.0},
                }
            )
            print(f"recorded as revision {done['revision']}")
        async for update in watch:
            print(f"the watcher saw revision {update['revision']}")
            if update["revision"] >= done["revision"]:
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the edge is")
    parser.add_argument("--email", default="loadtest@school.example", help="who logs in")
    parser.add_argument("--learner", default="learner-test-0", metavar="ID", help="whom to act for")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.url, arguments.email, arguments.learner))
    except (OSError, StopIteration, urllib.error.HTTPError) as error:
        sys.exit(f"cannot log in: {error!r}; is `make run` running?")
    except AivoError as error:
        sys.exit(f"the server says {error.code}: {error}")

"""compose.yaml on a real Docker engine: a copy of this checkout, deployed as an operator does, with
names, ports and volumes of its own.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from harness.ports import reserve
from tests.deploy.composed import ENVIRONMENT, OURS, ROOT, read

COMMAND_S = 300.0
"""How long a command may take: images are built, and may be fetched."""
HEALTHY_S = 90.0
"""How long a container may take to be what is waited for; generous, because machines that run tests
are busy.
"""


def why_not() -> str:
    """Return why nothing can be deployed here; nothing when it can."""
    if sys.platform != "linux":
        return "only Linux reaches containers by their own addresses"
    if shutil.which("docker") is None:
        return "docker is not installed"
    for command, complaint in (
        (("docker", "info"), "no Docker engine answers"),
        (("docker", "compose", "version"), "docker has no compose plugin"),
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            return f"{complaint}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
    return ""


class Deployment:
    """One deployment. It names things as `harness.stack.Stack` does: tests' helpers take either."""

    def __init__(self, folder: Path, port: int, *files: str) -> None:
        """Copy what git knows of the checkout to `folder`; nothing runs yet. `files` are those on
        top of compose.yaml.
        """
        files = ("compose.yaml", *files)
        self.folder = folder
        self.http_url = f"http://127.0.0.1:{port}"
        self.ws_url = f"ws://127.0.0.1:{port}/ws"
        self._name = f"aivo-test-{uuid.uuid4().hex[:8]}"
        _copy_checkout(folder)
        settings = ENVIRONMENT | {
            "COMPOSE_PROJECT_NAME": self._name,
            "COMPOSE_FILE": ":".join((*files, "compose.test.yaml")),
            "AIVO_PORT": str(port),
            # Of 172.16.0.0/12, where engines take networks from; not the default, which may run.
            "AIVO_FRONT": f"172.29.{random.SystemRandom().randrange(256)}",
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (folder / ".env").write_text("".join(lines), encoding="utf-8")
        override = _override(read(*files, environ=settings), image=self._name)
        (folder / "compose.test.yaml").write_text(override, encoding="utf-8")

    def run(self, *command: str) -> str:
        """Run an operator's command in the deployment's folder and return what it prints."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIVO_", "COMPOSE_", "MAKE"))
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def compose(self, *arguments: str) -> str:
        """Run docker compose and return what it prints."""
        return self.run("docker", "compose", *arguments)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Return what the engine knows of a service's containers, also of those that ended."""
        ids = self.compose("ps", "--all", "--quiet", "--no-trunc", service).split()
        return self.inspect(*ids) if ids else []

    def inspect(self, *ids: str) -> list[dict[str, Any]]:
        """Return what the engine knows of containers."""
        found: list[dict[str, Any]] = json.loads(self.run("docker", "inspect", *ids))
        return found

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of the service's only container."""
        (found,) = self.containers(service)
        return found

    def ip(self, container: dict[str, Any], network: str = "services") -> str:
        """Return a container's address in a network."""
        return str(container["NetworkSettings"]["Networks"][f"{self._name}_{network}"]["IPAddress"])

    def address(self, name: str) -> str:
        """Return "host:port" of the gRPC server of brain, auth or metrics, the first of several."""
        environment = read()["services"][name]["environment"]
        port = environment[f"{name.upper()}_LISTEN"].rpartition(":")[2]
        return f"{self.ip(self.containers(name)[0])}:{port}"

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The metadata that every gRPC call must carry."""
        return (("authorization", f"Bearer {self.secret('service-credential')}"),)

    def secret(self, name: str) -> str:
        """Return one of the secrets that were made."""
        return (self.folder / "deploy" / "secrets" / name).read_text(encoding="utf-8")

    def until(self, look: Callable[[], bool], what: str) -> None:
        """Look again and again until a condition is met."""
        deadline = time.monotonic() + HEALTHY_S
        while not look():
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {HEALTHY_S:.0f} s: {what}\n{self.state()}")
            time.sleep(0.2)

    def until_health(self, service: str, health: str = "healthy") -> None:
        """Wait until all containers of a service are as healthy as told."""
        self.until(
            lambda: {health_of(one) for one in self.containers(service)} == {health},
            f"{service} is {health}",
        )

    def ready(self) -> bool:
        """Tell whether some edge serves, asked through the proxy."""
        try:
            with urllib.request.urlopen(f"{self.http_url}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def state(self) -> str:
        """Return what an operator would look at first when something is wrong."""
        listed = self.compose("ps", "--all")
        return listed + self.compose("logs", "--tail", "15", "--no-color", *OURS, "proxy")

    def remove(self) -> None:
        """Take everything away: containers, networks, volumes, the image."""
        self.compose("down", "--volumes", "--timeout", "5", "--remove-orphans")
        images = self.run("docker", "image", "ls", "--quiet", self._name).split()
        if images:
            self.run("docker", "image", "rm", "--force", *set(images))


def health_of(container: dict[str, Any]) -> str:
    """Return a container's health, or how it runs when it has no health command."""
    state = container["State"]
    return str(state.get("Health", {}).get("Status") or state["Status"])


@contextlib.contextmanager
def deployed(folder: Path, *files: str) -> Iterator[Deployment]:
    """Give a deployment of which nothing runs yet, with these files on top of compose.yaml, and
    take it away at the end.
    """
    ports, claim = reserve()
    with claim:
        made = Deployment(folder, ports.edge, *files)
        try:
            yield made
        finally:
            made.remove()


def _copy_checkout(folder: Path) -> None:
    """Copy what git knows: not the developer's own secrets and .env."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _override(compose: dict[str, Any], image: str) -> str:
    """Return what differs from compose.yaml: an image of our own name, operators' pages on free
    ports, no more open files than this machine allows, and a build that reaches what this machine
    reaches.
    """
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    services: dict[str, Any] = {}
    for name, service in compose["services"].items():
        changed: dict[str, Any] = {}
        if service["image"].startswith("aivo-realtime:"):
            changed["image"] = f"{image}:latest"
        if "build" in service:
            changed["build"] = {"network": "host"}
        if name != "proxy" and "ports" in service:
            changed["ports"] = _Replaced(
                [f"127.0.0.1::{one.split(':')[-1]}" for one in service["ports"]]
            )
        if "ulimits" in service and most != resource.RLIM_INFINITY:
            changed["ulimits"] = {"nofile": min(service["ulimits"]["nofile"], most)}
        services[name] = changed
    return yaml.dump({"services": services}, Dumper=_Dumper, sort_keys=False)


class _Replaced(list[str]):
    """A list that replaces the one of compose.yaml instead of adding to it."""


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Replaced, lambda dumper, data: dumper.represent_sequence("!override", list(data))
)

"""compose.yaml without Docker: read as compose reads it, and its containers run as processes of
this machine.

Each container gets a loopback address of its own, so that every port, command and variable is the
one of compose.yaml; only the names of containers, folders and "all addresses" are replaced by what
stands for them here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from auth_service.settings import Settings as AuthSettings
from brain_service.settings import BrainSettings
from edge.settings import EdgeSettings
from harness.supervisor import Child, Spawner
from metrics_service.settings import MetricsSettings

ROOT = Path(__file__).parents[2]
OURS = {
    "edge": "edge",
    "brain": "brain_service",
    "auth": "auth_service",
    "metrics": "metrics_service",
}
"""Container → the Python package it runs."""

SETTINGS: dict[str, type[Any]] = {
    "edge": EdgeSettings,
    "brain": BrainSettings,
    "auth": AuthSettings,
    "metrics": MetricsSettings,
}
"""Container → what its variables are read into."""

ENVIRONMENT = {"AIVO_ADMIN_EMAIL": "operator@school.example"}
"""What the operator's .env says in tests."""

START_S = 60.0


def read(*names: str, environ: Mapping[str, str] = ENVIRONMENT) -> dict[str, Any]:
    """Return the files as compose sees them: merged, with variables of `environ` put in."""
    whole: dict[str, Any] = {}
    for name in names or ("compose.yaml",):
        text = (ROOT / name).read_text(encoding="utf-8")
        whole = _merged(whole, yaml.safe_load(interpolated(text, environ)))
    return whole


def interpolated(text: str, environ: Mapping[str, str]) -> str:
    """Put in variables: `${A}`, `${A:-default}`, and `${A:?complaint}`, which raises LookupError
    when there is none.
    """

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if environ.get(name):
            return environ[name]
        if operator == ":?":
            raise LookupError(rest)
        return rest if operator == ":-" else ""

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def _merged(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return one | {key: _merged(one.get(key), value) for key, value in other.items()}
    if isinstance(one, list) and isinstance(other, list):
        # As compose does for volumes: who is mounted on the same place is replaced.
        places = {str(entry).split(":")[1] for entry in other if ":" in str(entry)}
        return [
            entry
            for entry in one
            if ":" not in str(entry) or str(entry).split(":")[1] not in places
        ] + other
    return other


def image() -> dict[str, Any]:
    """Return what the last stage of the Dockerfile says about running: env, entrypoint, workdir,
    user.
    """
    found: dict[str, Any] = {"env": {}}
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.rpartition("\nFROM ")[2].splitlines():
        instruction, _, rest = line.partition(" ")
        match instruction:
            case "ENV":
                found["env"] |= dict(pair.split("=", 1) for pair in rest.split())
            case "ENTRYPOINT" | "CMD":
                found[instruction.lower()] = yaml.safe_load(rest)
            case "WORKDIR" | "USER":
                found[instruction.lower()] = rest
    return found


def variable(name: str, field: str) -> str:
    """Return the variable of a setting."""
    (found,) = [one for one in dataclasses.fields(SETTINGS[name]) if one.name == field]
    return found.metadata["env"] or f"{name.upper()}_{field.upper()}"


def port(address: str) -> int:
    """Return the port of "host:port"."""
    return int(address.rpartition(":")[2])


class Containers:
    """The containers of one run: where each listens, and where its folders are."""

    def __init__(self, folder: Path, *files: str) -> None:
        """Prepare to run below `folder`, with fresh secrets; nothing runs yet."""
        self.compose = read(*files)
        self.folder = folder
        self.secrets = folder / "secrets"
        make_secrets(self.secrets)
        net = ipaddress.IPv4Address("127.0.0.0") + (
            random.SystemRandom().randrange(256, 2**16) << 8
        )
        self.addresses = {
            name: str(net + number) for number, name in enumerate(self.compose["services"], 10)
        }
        self._spawner = Spawner()
        self._children: dict[str, Child] = {}
        self._served: set[str] = set()

    def address(self, name: str) -> str:
        """Return the loopback address that stands for a container; "edge-2" is the second one of
        "edge".
        """
        kind, _, number = name.partition("-")
        return str(ipaddress.IPv4Address(self.addresses[kind]) + 20 * int(number or 0))

    def here(self, text: str, name: str) -> str:
        """Return a command's argument or a variable's value as it has to be on this machine."""
        text = re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1)\b", self.address(name), text)
        proxy = self.compose["services"]["proxy"]["networks"]["front"]["ipv4_address"]
        text = text.replace(proxy, self.address("proxy"))
        for other in self.compose["services"]:
            text = re.sub(rf"(?<![\w.-]){other}(?=:\d)", self.address(other), text)
        text = text.replace("/run/secrets", str(self.secrets)).replace(
            "/data/", f"{self.volume(name)}/"
        )
        return text.replace("/app/probe.py", str(ROOT / "deploy" / "probe.py"))

    def volume(self, name: str) -> Path:
        """Return the folder that stands for a container's data volume."""
        place = self.folder / f"{name}-data"
        place.mkdir(exist_ok=True)
        return place

    def environment(self, name: str) -> dict[str, str]:
        """Return the whole environment of a container of ours."""
        service = self.compose["services"][name.partition("-")[0]]
        ours = {key: self.here(str(value), name) for key, value in service["environment"].items()}
        given = {key: value.replace("/app", str(ROOT)) for key, value in image()["env"].items()}
        given["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return given | ours

    def command(self, name: str) -> list[str]:
        """Return the whole command of a container of ours."""
        service = self.compose["services"][name.partition("-")[0]]
        return [*image()["entrypoint"], *(self.here(part, name) for part in service["command"])]

    def add(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Prepare a process by hand."""
        child = Child(
            name,
            command,
            spawner=self._spawner,
            environ=environ,
            directory=ROOT,
            log=self.folder / f"{name}.log",
        )
        self._children[name] = child
        return child

    def start(self, *names: str) -> None:
        """Start containers of ours, each once those it depends on are healthy."""
        for name in names:
            for needed in self.compose["services"][name.partition("-")[0]].get("depends_on", ()):
                self._wait(needed)
            self._served.discard(name)
            child = self._children.get(name) or self.add(
                name, self.command(name), self.environment(name)
            )
            child.start()
        for name in names:
            self._wait(name)

    def _wait(self, name: str) -> None:
        if name not in self._served:
            self._children[name].wait_until(lambda: self._listens(name), timeout_s=START_S)
            self._children[name].wait_until(lambda: self.healthy(name), timeout_s=START_S)
            self._served.add(name)

    def _listens(self, name: str) -> bool:
        """Tell whether anything takes connections on a container's metrics port: cheaper than a
        health command.
        """
        environment = self.compose["services"][name.partition("-")[0]]["environment"]
        port = environment[f"{name.partition('-')[0].upper()}_EXPOSITION_LISTEN"].rpartition(":")[2]
        with socket.socket() as probe:
            return probe.connect_ex((self.address(name), int(port))) == 0

    def child(self, name: str) -> Child:
        """Return a process."""
        return self._children[name]

    def healthy(self, name: str) -> bool:
        """Run a container's health command, as Docker would."""
        return self.health(name).returncode == 0

    def health(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a container's health command and return how it ended."""
        kind, *command = self.compose["services"][name.partition("-")[0]]["healthcheck"]["test"]
        assert kind == "CMD"
        environ = self.environment(name) if name.partition("-")[0] in OURS else dict(os.environ)
        return subprocess.run(
            [self.here(part, name) for part in command],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def close(self) -> None:
        """End everything: those that call first."""
        for child in reversed(self._children.values()):
            child.stop(grace_s=40)
        self._spawner.close()


def make_secrets(folder: Path) -> str:
    """Make secrets by the operator's command and return what it prints."""
    command = [str(ROOT / "deploy" / "secrets.sh"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


@contextlib.contextmanager
def containers(folder: Path, *files: str) -> Iterator[Containers]:
    """Give containers and end them."""
    made = Containers(folder, *files)
    try:
        yield made
    finally:
        made.close()

"""The units of deploy/systemd are held against systemd, compose.yaml and the settings, and their
commands run here with exactly their variables.
"""

from __future__ import annotations

import dataclasses
import json
import random
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.supervisor import Child, Spawner
from service_runtime.settings import load
from tests.deploy.composed import OURS, ROOT, SETTINGS, make_secrets, read, variable

FOLDER = ROOT / "deploy" / "systemd"
COMPOSE = read()["services"]
START_S = 60.0
OPERATOR = "operator@school.example"

Unit = dict[str, list[str]]


def unit(name: str) -> Unit:
    """Return what a service's unit and the drop-in of all say, each key with all its values."""
    said: Unit = defaultdict(list)
    for file in (FOLDER / "aivo-.service.d/common.conf", FOLDER / f"aivo-{name}.service"):
        for line in file.read_text(encoding="utf-8").splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                said[key].append(value)
    return said


def variables(name: str, credentials: str = "/run/credentials") -> dict[str, str]:
    """Return what a unit sets, with its settings' file."""
    pairs = shlex.split(" ".join(unit(name)["Environment"]))
    (file,) = unit(name)["EnvironmentFile"]
    assert file == f"/etc/aivo/{name}.env"
    pairs += (
        line
        for line in (FOLDER / f"env/{name}.env").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    )
    return dict(pair.replace("%d", credentials).split("=", 1) for pair in pairs)


def verified(folder: Path) -> str:
    """Return what systemd says of the units in a folder."""
    for file in folder.glob("*.service"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace("/opt/aivo/.venv/bin/python", sys.executable), "utf-8")
    result = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--man=no",
            *map(str, [*folder.glob("*.service"), *folder.glob("*.target")]),
        ],
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # Of a machine's own units, others may be wrong.
    return "\n".join(line for line in result.stderr.splitlines() if "aivo" in line)


needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@needs_systemd
def test_systemd_takes_every_line(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)

    assert verified(tmp_path) == ""


@needs_systemd
def test_a_misspelt_line_of_unit_or_drop_in_would_be_found(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    for name in ("aivo-edge.service", "aivo-.service.d/common.conf"):
        with (tmp_path / name).open("a") as file:
            file.write("[Service]\nRestrt=always\n")

    complaints = verified(tmp_path)
    assert re.search(r"aivo-edge\.service:\d+: Unknown key\b.*Restrt", complaints)
    assert re.search(r"common\.conf:\d+: Unknown key\b.*Restrt", complaints)


def test_the_target_starts_all_four() -> None:
    target = (FOLDER / "aivo.target").read_text(encoding="utf-8")
    (wanted,) = re.findall(r"^Wants=(.*)$", target, re.MULTILINE)

    assert set(wanted.split()) == {f"aivo-{name}.service" for name in OURS}
    assert {file.stem for file in FOLDER.glob("*.service")} == {f"aivo-{name}" for name in OURS}
    assert {file.stem for file in (FOLDER / "env").iterdir()} == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_each_runs_and_ends_as_its_container_does(name: str) -> None:
    said, composed = unit(name), COMPOSE[name]

    assert said["ExecStart"] == [f"/opt/aivo/.venv/bin/python -m {OURS[name]}"]
    assert composed["command"] == [OURS[name]]
    assert f"{said['TimeoutStopSec'][0]}s" == composed["stop_grace_period"]
    assert said["LimitNOFILE"] == [str(composed["ulimits"]["nofile"])]


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_process_reads_and_compose_sets(
    name: str, tmp_path: Path
) -> None:
    make_secrets(tmp_path)
    set_here = variables(name, str(tmp_path))
    settings = load(SETTINGS[name], set_here | first_administrator(name), prefix=name.upper())

    assert settings.credential == (tmp_path / "service-credential").read_text()
    own = {variable(name, field.name) for field in dataclasses.fields(SETTINGS[name])}
    own |= {f"{one}_FILE" for one in own}
    composed = {key for key in COMPOSE[name]["environment"] if not key.startswith("OTEL_")}
    assert set(set_here) & own == composed


@pytest.mark.parametrize("name", OURS)
def test_credentials_are_secrets_that_secrets_sh_makes(name: str, tmp_path: Path) -> None:
    make_secrets(tmp_path)
    loaded = [one.split(":") for one in unit(name)["LoadCredential"]]

    assert all(Path(file).name == secret for secret, file in loaded)
    assert {secret for secret, _ in loaded} == set(COMPOSE[name]["secrets"])
    assert {file for _, file in loaded} <= {
        f"/etc/aivo/secrets/{made.name}" for made in tmp_path.iterdir()
    }


@pytest.mark.parametrize("name", ["brain", "auth", "metrics"])
def test_data_lie_in_a_folder_that_only_the_service_may_enter(name: str) -> None:
    said = unit(name)

    assert said["StateDirectory"] == [f"aivo/{name}"]
    assert said["StateDirectoryMode"] == ["0700"]
    for key, value in variables(name).items():
        if key.endswith(("_DATABASE_URL", "_KEY_FILE")):
            assert value.removeprefix("sqlite:///").startswith(f"/var/lib/aivo/{name}/")
    (user,) = said["User"]
    assert (FOLDER / "sysusers.conf").read_text(encoding="utf-8").split()[:2] == ["u", user]


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd is not installed")
def test_the_documented_command_would_make_the_user() -> None:
    documented = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^systemd-sysusers (\S+)", documented, re.MULTILINE)
    result = subprocess.run(
        ["systemd-sysusers", "--dry-run", command.replace("/opt/aivo", str(ROOT))],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    assert re.search(r"(Creating|Would create) user 'aivo'", result.stdout + result.stderr) or (
        re.search(r"^aivo:", Path("/etc/passwd").read_text(encoding="utf-8"), re.MULTILINE)
    )


def first_administrator(name: str) -> dict[str, str]:
    """Return what an operator has to add to the settings' file."""
    return {"AUTH_BOOTSTRAP_ADMIN_EMAIL": OPERATOR} if name == "auth" else {}


class Machine:
    """A machine that was set up as docs/operations.md says, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = f"127.{random.SystemRandom().randrange(1, 255)}.77.1"
        self.secrets = folder / "secrets"
        make_secrets(self.secrets)
        for name in ("brain", "auth", "metrics"):
            (folder / name).mkdir(mode=0o700)
        for file in (FOLDER / "env").iterdir():
            text = self.here(file.read_text(encoding="utf-8"))
            (folder / file.name).write_text(text.replace("EMAIL=", f"EMAIL={OPERATOR}"))

    def here(self, text: str) -> str:
        return text.replace("127.0.0.1", self.address).replace("/var/lib/aivo", str(self.folder))

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the operator's command, as root would and as this user."""
        return subprocess.run(
            [str(FOLDER / "command.sh"), *arguments],
            env={"PATH": "/usr/bin:/bin", "AIVO_ETC": str(self.folder), "AIVO_USER": "root"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made, spawner, children = Machine(tmp_path), Spawner(), []
    try:
        for name in OURS:
            said = variables(name, str(made.secrets)) | first_administrator(name)
            environ = {key: made.here(value) for key, value in said.items()}
            environ["PYTHONPATH"] = environ["PYTHONPATH"].replace("/opt/aivo", str(ROOT))
            children.append(
                Child(
                    name,
                    [sys.executable, *unit(name)["ExecStart"][0].split()[1:]],
                    spawner=spawner,
                    environ=environ,
                    directory=ROOT,
                    log=tmp_path / f"{name}.log",
                )
            )
            children[-1].start()
        edge = children[list(OURS).index("edge")]
        edge.wait_until(lambda: ready(made), timeout_s=START_S)
        yield made
    finally:
        for child in children:
            child.stop(grace_s=40)
        spawner.close()


def ready(machine: Machine) -> bool:
    try:
        with urllib.request.urlopen(f"http://{machine.address}:8000/readyz", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
@pytest.mark.skipif(
    not (ROOT / ".venv/bin/python").exists(), reason="the operator's command is for a checkout"
)
def test_units_serve_and_commands_work_beside_them(machine: Machine) -> None:
    password = (machine.secrets / "admin-password").read_text()
    login = urllib.request.Request(
        f"http://{machine.address}:8000/api/auth/login",
        json.dumps({"email": OPERATOR, "password": password}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(login, timeout=10) as answer:
        assert json.load(answer)["access_token"]
    for name in ("brain", "auth", "metrics"):
        copied = machine.command(name, "backup", str(machine.folder / name / "copy"))
        assert copied.returncode == 0, copied.stderr
        assert (machine.folder / name / "copy").stat().st_mode & 0o077 == 0

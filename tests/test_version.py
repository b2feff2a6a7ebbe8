"""Every program tells its version, and everything that names one names the same."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml

from aivo_client.version import VERSION as CLIENT
from harness.root import ROOT
from service_runtime.version import VERSION

PROGRAMS = ("edge", "brain_service", "auth_service", "metrics_service", "demo")


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_program_prints_its_version_without_any_settings(program: str):
    result = subprocess.run(
        [sys.executable, "-m", program, "--version"],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'proto/gen'}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(
        rf"aivo-realtime {re.escape(VERSION)}, {program} \(Python 3\.\d+\.\d+\)\n", result.stdout
    )


def test_packages_images_and_manifests_have_the_same_version():
    named = {
        name: json.loads((ROOT / name).read_text(encoding="utf-8"))["version"]
        for name in ("web/package.json", "web/package-lock.json", "examples/node/package.json")
    }
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    named["compose.yaml"] = compose["x-service"]["image"].partition(":")[2]
    kubernetes = ROOT / "deploy/kubernetes/example/kustomization.yaml"
    (image,) = yaml.safe_load(kubernetes.read_text(encoding="utf-8"))["images"]
    named[kubernetes.name] = image["newTag"]
    named["client"] = CLIENT

    assert {name: version for name, version in named.items() if version != VERSION} == {}

"""Rules of docs/architecture.md that import-linter cannot check."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.root import OUR_PATH, ROOT

PACKAGES = (
    "service_runtime",
    "edge",
    "brain_service",
    "auth_service",
    "metrics_service",
    "harness",
    "demo",
)

IMPORT_ALL = """
import importlib, json, os, sys, threading
before = dict(os.environ)
for name in sys.argv[1:]:
    importlib.import_module(name)
sockets = [link for fd in os.listdir("/proc/self/fd") if (link := _link(fd)).startswith("socket:")]
print(json.dumps({
    "threads": [thread.name for thread in threading.enumerate() if thread is not
    threading.main_thread()],
    "sockets": sockets,
    "environ": dict(os.environ) == before,
}))
"""
LINK = """
def _link(fd):
    import os
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
"""


def modules() -> list[str]:
    """Return every module of ours, without migrations (which Alembic runs, in its own context)."""
    found = []
    for package in PACKAGES:
        found.append(package)
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if ".migrations" not in module.name and not module.name.endswith("harness.leash"):
                found.append(module.name)
    return found


def test_importing_any_module_has_no_effect():
    names = modules()
    assert "edge.__main__" in names
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", LINK + IMPORT_ALL, *names],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **OUR_PATH},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {"threads": [], "sockets": [], "environ": True}
    assert result.stderr == ""


def imported(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield what a module of ours imports of ours, also where only types are checked."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{one.name}" for one in node.names]
            found = [one if one in known else node.module for one in inside]
        else:
            continue
        yield from (one for one in found if one in known and one != name)


def test_no_files_import_each_other_in_a_circle():
    known = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in (*PACKAGES, "bench", "siege", "evaluation")
        for path in (ROOT / package).rglob("*.py")
    }
    graph = {name: set(imported(name, path, known)) for name, path in known.items()}

    graphlib.TopologicalSorter(graph).prepare()  # names the circle that there is


def test_proto_is_a_folder_and_never_a_python_package():
    assert not list((ROOT / "proto").glob("*.py"))


def test_tests_are_no_packages_so_that_they_never_hide_what_they_test():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_lock_file_names_a_registry():
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8")
    for name in ("web", "examples/node"):
        lock = (ROOT / name / "package-lock.json").read_text(encoding="utf-8")
        assert '"resolved"' not in lock


def test_every_requirement_has_a_hash():
    for name in ("requirements.txt", "requirements-dev.txt"):
        pinned = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        assert all(
            "--hash=sha256:" in line
            for line in pinned
            if line and not line.lstrip().startswith("#")
        )

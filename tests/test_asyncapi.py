"""The published description of the socket is valid, as AsyncAPI's own parser understands it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from harness.root import ROOT

FOLDER = ROOT / "tests/asyncapi"
ERROR, WARNING = 0, 1


def findings(document: str) -> list[dict[str, Any]]:
    """Return the errors and warnings of a document; what else it says is advice."""
    if not (FOLDER / "node_modules/@asyncapi/parser").is_dir() or not shutil.which("node"):
        pytest.skip("Node or AsyncAPI's parser is not there: `make test` fetches it")
    told = subprocess.run(
        ["node", "validate.mjs"],
        cwd=FOLDER,
        input=document,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found = [json.loads(line) for line in told.stdout.splitlines()]
    return [one for one in found if one["severity"] in (ERROR, WARNING)]


def test_the_published_document_is_valid() -> None:
    assert findings((ROOT / "docs/asyncapi.json").read_text(encoding="utf-8")) == []


def test_a_document_with_a_mistake_is_not() -> None:
    document = json.loads((ROOT / "docs/asyncapi.json").read_text(encoding="utf-8"))
    operation = next(iter(document["operations"].values()))
    operation["action"] = "shout"

    assert any("action" in one["path"] for one in findings(json.dumps(document)))

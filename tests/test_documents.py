"""Documents link to what is there, name settings that exist, and quote what programs say."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from auth_service.settings import Settings as AuthSettings
from brain_service.settings import BrainSettings
from edge.settings import EdgeSettings
from harness.root import ROOT
from metrics_service.settings import MetricsSettings

FOLDERS = (".", "docs", "docs/adr", "client", "examples", "web")
DOCUMENTS = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))
WIDTH = 100
PREFIXES = {
    "EDGE": EdgeSettings,
    "BRAIN": BrainSettings,
    "AUTH": AuthSettings,
    "METRICS": MetricsSettings,
}
OTHERS_SAY = {"Could not find a version", "Pool overlaps with other one"}
"""What programs of others say: pip, Docker."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """Return what links can point to in a document, as GitHub names headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in plain}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.parent / file).resolve() if file else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_prose_keeps_to_its_width(document: Path):
    """Tables, code and pictures may be wider; so may a line that is one long link or name."""
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    wide = [
        line
        for line in text.splitlines()
        if len(line) > WIDTH and not line.startswith(("|", "![")) and " " in line.strip()
    ]

    assert wide == []


def variables(prefix: str) -> set[str]:
    fields = [one for one in dataclasses.fields(PREFIXES[prefix]) if "help" in one.metadata]
    names = {one.metadata["env"] or f"{prefix}_{one.name.upper()}" for one in fields}
    return names | {f"{one}_FILE" for one in names}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_settings_exist_by_the_names_that_are_given(document: Path):
    text = document.read_text(encoding="utf-8")
    unknown = {
        named
        for prefix in PREFIXES
        for named in re.findall(rf"(?<![\w.]){prefix}_[A-Z_]*[A-Z]\b(?!_)", text)
        if named not in variables(prefix)
    }

    assert unknown == set()


def test_troubleshooting_quotes_what_programs_say():
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    first = re.search(r"## It does not start\n(.*?)\n## ", text, re.DOTALL)
    assert first is not None
    seen = re.findall(r"^\| ([^|]+) \|", first[1], re.MULTILINE)
    quoted = re.findall(r"`([^`]+)`", "\n".join(seen))
    said = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("service_runtime", "demo", "edge", "auth_service")
        for path in (ROOT / folder).rglob("*.py")
    )
    said += (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    said += (ROOT / "compose.yaml").read_text(encoding="utf-8")
    pieces = [piece.strip() for one in quoted for piece in one.split("…") if len(piece.strip()) > 5]

    assert len(pieces) > 8
    assert [one for one in pieces if one not in said and one not in OTHERS_SAY] == []

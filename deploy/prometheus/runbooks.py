"""Writes the page that alerts link to, from docs/operations.md:
`python -m deploy.prometheus.runbooks [--check]`.

Prometheus serves it as a console, so a link works wherever Prometheus is reached, and shows what
the alerts of this very version mean.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from markdown_it import MarkdownIt

from deploy.generated import keep

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "docs" / "operations.md"
PAGE = Path(__file__).parent / "consoles" / "runbooks.html"

HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Runbooks – AIVO realtime</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto }
  h2 { margin-top: 3rem }
  h2:target { background: color-mix(in srgb, Highlight 25%, transparent) }
  code { font-size: .9em }
</style>
<h1>Runbooks</h1>
"""


def page(operations: str) -> str:
    """Return the page of the section "Alerts"."""
    section = re.search(r"^## Alerts\n(.*?)(?=^## )", operations, re.M | re.S)
    if section is None:
        raise LookupError("docs/operations.md has no section called Alerts")
    alerts = set(re.findall(r"^### (\w+)$", section[1], re.M))
    # Elsewhere is not on this page: such a link keeps its words only.
    here = re.sub(
        r"\[([^\]]+)\]\(([^)]+)\)",
        lambda link: link[0] if link[2] in {f"#{name.lower()}" for name in alerts} else link[1],
        section[1],
    )
    body = MarkdownIt("commonmark").render(here)
    body = re.sub(
        r"<h3>(\w+)</h3>", lambda title: f'<h2 id="{title[1].lower()}">{title[1]}</h2>', body
    )
    # Prometheus runs consoles as templates.
    return HEAD + body.replace("{{", '{{"{{"}}')


if __name__ == "__main__":
    sys.exit(keep({PAGE: page(SOURCE.read_text(encoding="utf-8"))}, __doc__ or ""))

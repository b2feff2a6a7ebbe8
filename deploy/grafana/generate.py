"""Writes the dashboards beside it from the short tables in `tables`:
`python -m deploy.grafana.generate [--check]`.

Grafana's JSON repeats itself so much that nobody reads it; what a panel asks and why it is there is
read in the tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deploy.generated import keep
from deploy.grafana.panels import Panel
from deploy.grafana.tables import auth, brain, edge, fleet, learners

FOLDER = Path(__file__).parent / "dashboards"
SOURCE = {"type": "prometheus", "uid": "prometheus"}
COLUMNS = 24

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "fleet": ("AIVO fleet", fleet.PANELS),
    "edge": ("AIVO edge", edge.PANELS),
    "brain": ("AIVO brain", brain.PANELS),
    "auth": ("AIVO auth", auth.PANELS),
    "learners": ("AIVO learners' health", learners.PANELS),
}


def dashboard(uid: str, title: str, panels: Sequence[Panel]) -> dict[str, Any]:
    """Return one dashboard in Grafana's JSON model."""
    return {
        "uid": f"aivo-{uid}",
        "title": title,
        "tags": ["aivo"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "links": [
            {
                "type": "dashboards",
                "tags": ["aivo"],
                "title": "AIVO",
                "asDropdown": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": [_EDGE_VARIABLE] if uid == "edge" else []},
        "panels": list(_placed(panels)),
    }


_EDGE_VARIABLE = {
    "name": "edge",
    "label": "Edge",
    "type": "query",
    "datasource": SOURCE,
    "query": "label_values(aivo_websocket_active_connections, instance)",
    "refresh": 2,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": "All", "value": "$__all"},
}


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    """Return panels in rows from left to right."""
    placed = []
    x = y = row = 0
    for number, one in enumerate(panels, 1):
        height = 4 if one.kind == "stat" else 8
        if x + one.width > COLUMNS:
            x, y, row = 0, y + row, 0
        placed.append(_panel(one, number, {"x": x, "y": y, "w": one.width, "h": height}))
        x, row = x + one.width, max(row, height)
    return placed


def _panel(one: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    custom = (
        {"fillOpacity": 20, "stacking": {"mode": "normal"}} if one.stacked else {"fillOpacity": 5}
    )
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": expression,
            "legendFormat": legend or "__auto",
            "instant": one.kind == "stat",
            "range": one.kind != "stat",
            "exemplar": one.exemplars,
        }
        for index, (expression, legend) in enumerate(one.queries)
    ]
    shown: dict[str, Any] = {
        "id": number,
        "type": one.kind,
        "title": one.title,
        "description": one.meaning,
        "datasource": SOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": one.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }
    if one.kind == "timeseries":
        shown["fieldConfig"]["defaults"]["custom"] = custom
        shown["options"] = {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi"},
        }
    return shown


def rendered() -> dict[Path, str]:
    """Return every file with its text."""
    return {
        FOLDER / f"{uid}.json": json.dumps(dashboard(uid, title, panels), indent=2) + "\n"
        for uid, (title, panels) in DASHBOARDS.items()
    }


if __name__ == "__main__":
    sys.exit(keep(rendered(), __doc__ or ""))

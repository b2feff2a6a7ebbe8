"""JSON that stays on one line for every reader, whatever texts it holds."""

from __future__ import annotations

import json
from typing import Any, Final

_LINE_ENDS: Final = {mark: f"\\u{mark:04x}" for mark in (0x85, 0x2028, 0x2029)}
"""What Unicode ends lines with and JSON leaves raw: many readers split there, too. All others are
control characters, which JSON escapes.
"""


def on_one_line(value: Any, **options: Any) -> str:
    """Return a value as JSON, its letters as they are; `options` are those of `json.dumps`."""
    return json.dumps(value, ensure_ascii=False, **options).translate(_LINE_ENDS)

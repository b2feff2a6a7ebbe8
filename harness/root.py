"""Where the repository lies, and what a Python process needs in its environment to import us."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

OUR_PATH = {"PYTHONPATH": os.pathsep.join(str(ROOT / part) for part in ("", "proto/gen", "client"))}
"""What a Python process must find in its environment to import us."""

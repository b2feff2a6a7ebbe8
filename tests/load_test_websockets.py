"""The load test, as a command: `python tests/load_test_websockets.py --help`. Its rooms are in
tests/load.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "proto" / "gen"), str(ROOT / "client")]
    from tests.load.command import main

    sys.exit(main())

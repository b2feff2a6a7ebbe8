"""Files that are written from others, and are committed so that they can be read and mounted."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def keep(files: Mapping[Path, str], description: str) -> int:
    """Write files, or with --check say which are not what this would write; return the exit
    code.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; fail when a file is out of date"
    )
    check = parser.parse_args().check
    stale = [
        path
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if check:
            print(f"{path.name} is out of date; run make dashboards", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
    return 1 if check and stale else 0

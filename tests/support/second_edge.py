"""One more edge in front of a running stack's services, because clients may come back to
any edge.
"""

from __future__ import annotations

import contextlib
import sys
import urllib.request
from collections.abc import Iterator

from harness.ports import reserve
from harness.root import ROOT
from harness.stack import Stack
from harness.supervisor import running


@contextlib.contextmanager
def second_edge(stack: Stack) -> Iterator[str]:
    """Run another edge and give the address of its socket."""
    ports, claim = reserve()
    environ = stack.environment("edge") | {
        "PORT": str(ports.edge),
        "EDGE_EXPOSITION_LISTEN": f"127.0.0.1:{ports.expositions['edge']}",
    }

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports.edge}/readyz", timeout=1):
                return True
        except OSError:
            return False

    command = [sys.executable, "-m", "edge"]
    log = stack.logs / "edge-2.log"
    with (
        claim,
        running("edge-2", command, ready=ready, environ=environ, directory=ROOT, log=log),
    ):
        yield f"ws://127.0.0.1:{ports.edge}/ws"

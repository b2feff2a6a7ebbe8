"""One more edge in front of a running stack's services, because clients may come back to
any edge.
"""

from __future__ import annotations

import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

from demo.ports import reserve
from demo.stack import ROOT, START_TIMEOUT_S, STOP_GRACE_S, Stack
from demo.supervisor import Child, Spawner


@contextlib.contextmanager
def second_edge(stack: Stack) -> Iterator[str]:
    """Run another edge and give the address of its socket."""
    ports, claim = reserve()
    spawner = Spawner()
    child = Child(
        "edge-2",
        [sys.executable, "-m", "edge"],
        spawner=spawner,
        environ=stack.environment("edge")
        | {
            "PORT": str(ports.edge),
            "EDGE_EXPOSITION_LISTEN": f"127.0.0.1:{ports.expositions['edge']}",
        },
        directory=ROOT,
        log=stack.logs / "edge-2.log",
    )

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports.edge}/readyz", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False

    try:
        child.start()
        child.wait_until(ready, timeout_s=START_TIMEOUT_S)
        yield f"ws://127.0.0.1:{ports.edge}/ws"
    finally:
        child.stop(grace_s=STOP_GRACE_S)
        spawner.close()
        claim.close()

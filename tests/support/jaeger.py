"""A real Jaeger on loopback, where there is one: named by AIVO_JAEGER, or in `tools` beside the
shared data.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.ports import reserve
from harness.root import ROOT

WAIT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Jaeger:
    """A running Jaeger."""

    otlp_port: int
    http_port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a process must find in its environment to send spans here, soon."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.otlp_port}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            "OTEL_SERVICE_NAME": "",
        }

    def get(self, path: str) -> Any:
        """Return what its API answers."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http_port}{path}", timeout=5
        ) as answer:
            return json.loads(answer.read())

    def page(self, trace_id: str) -> str:
        """Return the address of a trace's page."""
        return f"http://127.0.0.1:{self.http_port}/trace/{trace_id}"

    def spans(self, trace_id: str, counts: Mapping[str, int]) -> dict[str, list[Any]]:
        """Return a trace's spans by name, with their service, once it has so many of each of these
        names; blocks.

        Each process sends its own when it likes, so what is not waited for may still be missing.
        """
        deadline = time.monotonic() + WAIT_S
        while True:
            found = self._spans(trace_id)
            if all(len(found.get(name, ())) >= count for name, count in counts.items()):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"Jaeger has only {sorted(found)} of trace {trace_id}")
            time.sleep(0.1)

    def _spans(self, trace_id: str) -> dict[str, list[Any]]:
        try:
            answer = self.get(f"/api/v3/traces/{trace_id}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        found: dict[str, list[Any]] = {}
        for of_resource in answer["result"]["resourceSpans"]:
            told = {one["key"]: one["value"] for one in of_resource["resource"]["attributes"]}
            for of_scope in of_resource["scopeSpans"]:
                for span in of_scope["spans"]:
                    span["service"] = told["service.name"]["stringValue"]
                    found.setdefault(span["name"], []).append(span)
        return found


def find() -> Path | None:
    """Return the script that starts Jaeger, or None where there is none."""
    shared = Path(os.environ.get("AIVO_SHARED_DATA") or ROOT.parent / "shared" / "data")
    places = (
        [Path(os.environ["AIVO_JAEGER"])]
        if os.environ.get("AIVO_JAEGER")
        else [shared.parent / "tools" / "jaeger"]
    )
    for place in places:
        script = place / "start" if place.is_dir() else place
        if script.is_file():
            return script
    return None


@contextlib.contextmanager
def running(script: Path) -> Iterator[Jaeger]:
    """Run Jaeger until the end of the block."""
    ports, claim = reserve()
    jaeger = Jaeger(otlp_port=ports.brain, http_port=ports.auth)
    env = os.environ | {
        "JAEGER_OTLP_GRPC_PORT": str(jaeger.otlp_port),
        "JAEGER_QUERY_HTTP_PORT": str(jaeger.http_port),
        "JAEGER_QUERY_GRPC_PORT": str(ports.metrics),
    }
    process = subprocess.Popen(
        [str(script)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60.0
        while True:
            try:
                jaeger.get("/api/v3/services")
                break
            except OSError:
                assert process.poll() is None, "Jaeger ended at once"
                assert time.monotonic() < deadline, "Jaeger does not answer"
                time.sleep(0.1)
        yield jaeger
    finally:
        process.terminate()
        process.wait()
        claim.close()

"""A real Prometheus for tests: Debian's package, on a free port, with the project's own
configuration and rules.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.ports import reserve

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "deploy" / "prometheus"
MISSING = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
WHY_SKIPPED = (
    f"{' and '.join(MISSING)} not installed; on Debian: apt install --no-install-recommends"
    " prometheus"
)

WAIT_S = 30.0


class Prometheus:
    """Asks a running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an API call; raises HTTPError with what Prometheus says against it."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return what an expression gives now: labels and value of each series."""
        result = self.get("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in result]

    def has_data(self, expression: str) -> bool:
        """Tell whether an expression gives a number."""
        return any(math.isfinite(value) for _, value in self.query(expression))


def until(met: Callable[[], Any], what: str) -> Any:
    """Ask again and again until the answer is true; return it."""
    deadline = time.monotonic() + WAIT_S
    while not (answer := met()):
        assert time.monotonic() < deadline, f"not within {WAIT_S:.0f} s: {what}"
        time.sleep(0.1)
    return answer


def configuration(targets: Mapping[str, str], rules: Path = DEPLOYED / "alerts.yml") -> str:
    """Return the deployed configuration, every second, with these rules, and with these addresses
    instead of compose's names.
    """
    text = (DEPLOYED / "prometheus.yml").read_text(encoding="utf-8")
    text = re.sub(r"(scrape_interval|scrape_timeout|evaluation_interval): \d+s", r"\1: 1s", text)
    jobs = re.split(r"(?m)^  (?=- job_name:)", text)
    assert len(jobs) == 1 + len(targets)
    for place, job in enumerate(jobs[1:], 1):
        name = re.match(r"- job_name: aivo-(\w+)", job)
        assert name is not None
        jobs[place] = (
            f"- job_name: aivo-{name[1]}\n    static_configs:\n      - targets:"
            f' ["{targets[name[1]]}"]\n'
        )
    return "  ".join(jobs).replace("- alerts.yml", f"- {rules}")


@contextlib.contextmanager
def running(
    folder: Path, targets: Mapping[str, str], rules: Path = DEPLOYED / "alerts.yml"
) -> Iterator[Prometheus]:
    """Run Prometheus over these targets until the block ends."""
    file = folder / "prometheus.yml"
    file.write_text(configuration(targets, rules), encoding="utf-8")
    ports, claim = reserve()
    address = f"127.0.0.1:{ports.edge}"
    command = [
        "prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}",
        f"--web.console.templates={DEPLOYED / 'consoles'}",
        "--enable-feature=exemplar-storage",
        "--rules.alert.resend-delay=1s",
        "--log.level=warn",
    ]
    with claim, (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            prometheus = Prometheus(f"http://{address}")
            until(lambda: _is_ready(prometheus, process, folder / "log"), "Prometheus is ready")
            yield prometheus
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_ready(prometheus: Prometheus, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        with urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

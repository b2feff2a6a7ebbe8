"""Alerts reach whoever is named: compose.alerts.yaml's Alertmanager as a process, between a real
Prometheus and those who are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.ports import reserve
from tests.deploy import prometheus
from tests.deploy.composed import ROOT, read
from tests.support.eventually import eventually

START = ROOT / "deploy" / "alertmanager" / "start.sh"
PROGRAM = shutil.which("alertmanager") or shutil.which("prometheus-alertmanager")
MISSING = (
    ""
    if PROGRAM and shutil.which("amtool") and not prometheus.MISSING
    else "Alertmanager or Prometheus is missing; on Debian: prometheus-alertmanager, prometheus"
)
needs_alertmanager = pytest.mark.skipif(bool(MISSING), reason=MISSING)

MAIL = {
    "AIVO_ALERT_EMAIL_TO": "operators@school.example",
    "AIVO_ALERT_EMAIL_FROM": "aivo@school.example",
    "AIVO_ALERT_SMTP": "mail.school.example:587",
}
HOOK = "https://hooks.school.example/T0/secret"


def start(
    folder: Path,
    *arguments: str,
    hook: str = "",
    password: str = "",
    program: str = "true",
    **environ: str,
) -> subprocess.Popen[str]:
    """Run the container's command with these settings and secrets."""
    (folder / "alert-webhook").write_text(hook)
    (folder / "smtp-password").write_text(password)
    given = {
        "PATH": os.environ["PATH"],
        "AIVO_ALERT_CONFIG": str(folder / "alertmanager.yml"),
        "AIVO_ALERT_SECRETS": str(folder),
        "AIVO_ALERT_PROGRAM": program,
    }
    return subprocess.Popen(
        [str(START), *arguments],
        env=given | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def configured(folder: Path, **given: str) -> dict[str, Any]:
    """Return the configuration that settings lead to."""
    process = start(folder, **given)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 0, told
    read: dict[str, Any] = yaml.safe_load((folder / "alertmanager.yml").read_text())
    return read


# What settings lead to


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "alerts would reach nobody"),
        ({"hook": "\n"}, "alerts would reach nobody"),
        ({"hook": "hooks.school.example"}, "begins with http"),
        (MAIL | {"AIVO_ALERT_SMTP": ""}, "needs AIVO_ALERT_SMTP"),
        (MAIL | {"AIVO_ALERT_EMAIL_FROM": ""}, "needs AIVO_ALERT_EMAIL_FROM"),
        (MAIL | {"AIVO_ALERT_SMTP_USER": "aivo"}, "needs its password"),
        (MAIL | {"AIVO_ALERT_SMTP_TLS": "perhaps"}, "is true or false"),
    ],
)
def test_settings_that_would_tell_nobody_are_refused(
    tmp_path: Path, given: dict[str, str], said: str
) -> None:
    process = start(tmp_path, **given)
    told, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said in told
    assert not (tmp_path / "alertmanager.yml").exists()


@needs_alertmanager
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"hook": f"{HOOK}\n"}, {"webhook_configs"}),
        (MAIL, {"email_configs"}),
        (MAIL | {"AIVO_ALERT_SMTP_USER": "aivo", "password": "s3cret"}, {"email_configs"}),
        (MAIL | {"hook": HOOK}, {"webhook_configs", "email_configs"}),
    ],
)
def test_alertmanager_accepts_what_is_written(
    tmp_path: Path, given: dict[str, str], told: set[str]
) -> None:
    config = configured(tmp_path, **given)
    (receiver,) = config["receivers"]
    assert set(receiver) == {"name", *told}
    assert config.get("global", {}).get("smtp_require_tls", True) is True
    command = ["amtool", "check-config", str(tmp_path / "alertmanager.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    text = (tmp_path / "alertmanager.yml").read_text()
    assert "s3cret" not in text
    assert (tmp_path / "alertmanager.yml").stat().st_mode & 0o077 == 0


@settings(max_examples=30)
@example(text="\\0 \\n '' \"")
@given(text=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1))
def test_any_text_is_one_value(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    config = configured(folder, **MAIL | {"AIVO_ALERT_EMAIL_TO": text})
    assert config["receivers"][0]["email_configs"] == [{"to": text, "send_resolved": True}]


def test_the_container_gets_every_setting_and_secret() -> None:
    service = read("compose.yaml", "deploy/compose.alerts.yaml")["services"]["alertmanager"]
    used = set(re.findall(r"\$\{?(AIVO_ALERT_\w+)", START.read_text()))
    own = {"AIVO_ALERT_CONFIG", "AIVO_ALERT_SECRETS", "AIVO_ALERT_PROGRAM"}
    assert set(service["environment"]) == used - own
    assert set(service["secrets"]) == set(re.findall(r"\$secrets/([\w-]+)", START.read_text()))
    documented = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert all(name in documented for name in service["environment"])


# Who is told, for real


class Told:
    """Everything that came to whoever is told: webhooks and letters."""

    def __init__(self) -> None:
        self.hooks: list[dict[str, Any]] = []
        self.letters: list[str] = []

    async def counted(self) -> tuple[int, int]:
        """Return how many came: of webhooks, of letters."""
        return len(self.hooks), len(self.letters)

    async def hook(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None
        self.hooks.append(json.loads(await reader.readexactly(int(length[1]))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def mail(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take letters as a mail server without TLS does (RFC 5321)."""
        writer.write(b"220 mail\r\n")
        while line := await reader.readline():
            match line[:4].upper():
                case b"DATA":
                    writer.write(b"354 go on\r\n")
                    letter = await reader.readuntil(b"\r\n.\r\n")
                    self.letters.append(letter.decode())
                    writer.write(b"250 taken\r\n")
                case b"QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    writer.write(b"250 mail\r\n")
        writer.close()


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Told, int, int]]:
    """Give those who are told, and their ports: webhook, mail."""
    told = Told()
    hook = await asyncio.start_server(told.hook, "127.0.0.1", 0)
    mail = await asyncio.start_server(told.mail, "127.0.0.1", 0)
    async with hook, mail:
        yield told, *(one.sockets[0].getsockname()[1] for one in (hook, mail))


@contextlib.contextmanager
def alertmanager(folder: Path, hook_port: int, mail_port: int) -> Iterator[str]:
    """Run it by its container's command; give its address."""
    service = read("compose.yaml", "deploy/compose.alerts.yaml")["services"]["alertmanager"]
    command = [part.replace("=/alertmanager", f"={folder / 'data'}") for part in service["command"]]
    ports, claim = reserve()
    address = f"127.0.0.1:{ports.edge}"
    with claim:
        process = start(
            folder,
            *command,
            f"--web.listen-address={address}",
            "--log.level=warn",
            hook=f"http://127.0.0.1:{hook_port}/hook",
            program=str(PROGRAM),
            **MAIL | {"AIVO_ALERT_SMTP": f"127.0.0.1:{mail_port}", "AIVO_ALERT_SMTP_TLS": "false"},
        )
        try:
            yield address
        finally:
            process.terminate()
            process.communicate(timeout=10)


@pytest.mark.system
@needs_alertmanager
async def test_when_a_service_is_gone_operators_get_a_letter_and_a_call_with_a_link_that_opens(
    tmp_path: Path,
) -> None:
    # Nobody is there; nobody wants to wait minutes until that is told.
    rules = tmp_path / "alerts.yml"
    text = (prometheus.DEPLOYED / "alerts.yml").read_text(encoding="utf-8")
    rules.write_text(re.sub(r"for: \w+", "for: 0s", text), encoding="utf-8")
    targets = {name: "127.0.0.1:1" for name in ("edge", "brain", "auth", "metrics")}
    async with listening() as (told, hook_port, mail_port):
        with alertmanager(tmp_path, hook_port, mail_port) as address:
            target = (ROOT / "deploy" / "alertmanager" / "targets.yml").read_text()
            where = tmp_path / "alertmanager-compose.yml"
            where.write_text(target.replace("alertmanager:9093", address))
            running = prometheus.running(tmp_path, targets, rules)
            server = await asyncio.to_thread(running.__enter__)
            try:
                await eventually(
                    told.counted, lambda counts: min(counts) >= len(targets), within_s=60
                )
                (alert, *_) = told.hooks[0]["alerts"]
                link = alert["annotations"]["runbook_url"]
                page = await asyncio.to_thread(fetch, link)
            finally:
                await asyncio.to_thread(running.__exit__, None, None, None)

    assert alert["labels"]["alertname"] == "AivoServiceGone"
    assert link == f"{server.url}/consoles/runbooks.html#aivoservicegone"
    assert '<h2 id="aivoservicegone">' in page
    assert "{{" not in page
    letters = [message_from_string(one, policy=policy.default) for one in told.letters]
    assert {letter["To"] for letter in letters} == {MAIL["AIVO_ALERT_EMAIL_TO"]}
    bodies = [str(letter.get_body().get_content()) for letter in letters]  # type: ignore[union-attr]
    for call in told.hooks:
        summary = call["alerts"][0]["annotations"]["summary"]
        assert any(summary in body and link in body for body in bodies), summary
    # That none is up has been told: that each is down, too, is no news.
    names = {one["labels"]["alertname"] for call in told.hooks for one in call["alerts"]}
    assert names == {"AivoServiceGone"}


def fetch(url: str) -> str:
    """Return what is at an address."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())

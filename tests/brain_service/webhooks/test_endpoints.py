"""The file of webhooks is read, or refused with the place and the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from brain_service.webhooks.endpoints import WebhooksError, read_webhooks
from tests.support.receiver import KEY, SECRET

WHOLE = """
max_age_s = 3600

[[endpoints]]
name = "help-desk"
url = "https://desk.school.example/hooks"
secret_file = "desk.secret"
events = ["attention.began"]
level = "now"
learners = ["ada"]
learners_file = "class-7a"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "desk.secret").write_text(f"{SECRET}\n")
    (tmp_path / "class-7a").write_text("ben\n\ncho\n")
    (tmp_path / "words").write_text("not a secret\n")
    (tmp_path / "names").write_text("Ben Ärger\n")
    (tmp_path / "empty").write_text("")
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "webhooks.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_found_beside_it(folder: Path) -> None:
    webhooks = read_webhooks(written(folder, WHOLE))
    [one] = webhooks.endpoints
    assert (webhooks.max_age_s, webhooks.first_retry_s) == (3600, 2)
    assert (one.least, one.events, one.timeout_s) == (2, ("attention.began",), 10)
    assert one.secrets() == (KEY,)
    assert one.audience() == {"ada", "ben", "cho"}


def endpoint(**changes: str) -> str:
    fields = {"name": '"a"', "url": '"https://a.example/"', "secret_file": '"desk.secret"'}
    lines = [f"{name} = {value}" for name, value in (fields | changes).items() if value]
    return "[[endpoints]]\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "[[endpoints]]"),
        ("endpoints = []", "[[endpoints]]"),
        ("= 1", "not TOML"),
        ("retries = 3\n" + endpoint(), "`retries` is unknown"),
        ("max_age_s = 0\n" + endpoint(), "above zero"),
        ('max_age_s = "1"\n' + endpoint(), "a number"),
        (endpoint() + endpoint(), "a name of its own"),
        (endpoint(name=""), "`name` is missing"),
        (endpoint(name='"A b"'), "`name` must be"),
        (endpoint(url='"http://desk.school.example/"'), "https address"),
        (endpoint(url='"file:///etc/passwd"'), "https address"),
        (endpoint(url='"https://"'), "https address"),
        (endpoint(url='"https://user:word@a.example/"'), "neither user nor password"),
        (endpoint(url='"https://a.example:port/"'), "not an address"),
        (endpoint(secret_file='"missing"'), "cannot read `secret_file`"),
        (endpoint(secret_file='"words"'), "must begin with whsec_"),
        (endpoint(secret_file='"empty"'), "has no secret"),
        (endpoint(events='["attention"]'), "`events` must be of"),
        (endpoint(events="[]"), "`events` must be of"),
        (endpoint(events='"attention.began"'), "list of strings"),
        (endpoint(level='"soon"'), "`level` must be"),
        (endpoint(learners='["../x y"]'), "`learners` must be ids"),
        (endpoint(learners_file='"names"'), "one learner's id a line"),
        (endpoint(learners_file='"missing"'), "cannot read `learners_file`"),
        (endpoint(ca_file='"words"'), "has no certificates"),
        (endpoint(timeout_s="0"), "`timeout_s` must be"),
        (endpoint(timeout_s="true"), "a number"),
        (endpoint(color='"red"'), "`color` is unknown"),
    ],
    ids=lambda value: value[:40] if value.startswith(("`", "[")) else "",
)
def test_a_mistake_is_named(folder: Path, text: str, named: str) -> None:
    with pytest.raises(WebhooksError) as caught:
        read_webhooks(written(folder, text))
    assert named in str(caught.value)
    assert "not a secret" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(WebhooksError, match="cannot read BRAIN_WEBHOOKS"):
        read_webhooks(folder / "missing.toml")

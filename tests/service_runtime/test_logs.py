"""Logs of a process: what is in none."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import httpx
import pytest

from service_runtime import logs


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.setup("test", level="DEBUG", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_an_address_that_is_asked_is_in_no_log(log: io.StringIO) -> None:
    answers = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=answers) as client:
        client.post("https://chat.example/hooks/T0/secret")
    logging.getLogger("ours").debug("written")
    assert "written" in log.getvalue()
    assert "secret" not in log.getvalue()

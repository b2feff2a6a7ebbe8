"""Structured logs: one JSON object per line on standard error. Callers never pass tokens, addresses
or answers.
"""

from __future__ import annotations

import datetime
import logging
import sys
from typing import Any, TextIO

from service_runtime.json_lines import on_one_line

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


_TELL_ADDRESSES = ("httpx", "httpcore")
"""Libraries that log each request's address, in which a webhook's secret may be."""


class JsonFormatter(logging.Formatter):
    """Renders a record with everything passed as `extra`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, Any] = {
            "ts": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return on_one_line(line, default=str)


def setup(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all log records of this process to `stream` (standard error) as JSON lines, replacing
    earlier handlers.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _TELL_ADDRESSES:
        logging.getLogger(name).setLevel(logging.WARNING)

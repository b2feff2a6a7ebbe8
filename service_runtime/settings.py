"""Reads a frozen dataclass of settings from environment variables."""

from __future__ import annotations

import dataclasses
import logging
import re
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

logger = logging.getLogger(__name__)

T = TypeVar("T")

_INJECTED = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
"""Variables that Kubernetes gives every container about other services."""

_ALIKE = 0.8
"""How similar a name must be to one of ours, 0 to 1, to count as misspelt."""

REQUIRED: Any = dataclasses.MISSING
"""Pass as `default` for a setting that has none."""


class SettingsError(Exception):
    """The environment is invalid; the message lists every problem and what to do."""


def setting(default: Any, help: str, *, secret: bool = False, env: str | None = None) -> Any:
    """Declare a dataclass field read from the environment.

    `help` is one sentence with the unit. A `secret` can also be given as a file, by the name with
    `_FILE`, and never shows in descriptions. `env` replaces the whole name of the variable.
    """
    metadata = {"help": help, "secret": secret, "env": env}
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def load(cls: type[T], environ: Mapping[str, str], *, prefix: str) -> T:
    """Make a `cls` from `environ`, where field `x` is read from `<prefix>_X`. An empty variable
    counts as absent.

    Raises SettingsError that lists every bad, missing or unknown variable at once.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    known: set[str] = set()
    hints = get_type_hints(cls)
    for field in _fields(cls):
        name = _variable(field, prefix)
        known.update({name, f"{name}_FILE"} if field.metadata.get("secret") else {name})
        try:
            text = _read(field, name, environ)
            if text is not None:
                values[field.name] = _convert(hints[field.name], text)
            elif field.default is REQUIRED and field.default_factory is REQUIRED:
                problems.append(f"{name} is required: {field.metadata['help']}")
        except ValueError as error:
            problems.append(f"{name}: {error}")
    unknown = (name for name in environ if name.startswith(f"{prefix}_") and name not in known)
    problems += _misspelt(sorted(unknown), known)
    if problems:
        raise SettingsError("\n".join(problems))
    return cls(**values)


def _misspelt(unknown: Iterable[str], known: Collection[str]) -> list[str]:
    """Return a sentence for each variable that is likely a misspelt setting.

    Others are logged and ignored: the environment may share our prefix, as Kubernetes does with the
    addresses of a service named `edge`.
    """
    problems = []
    for name in unknown:
        if _INJECTED.search(name):
            continue
        alike = get_close_matches(name, known, n=1, cutoff=_ALIKE)
        if alike:
            problems.append(f"{name} is not a setting of this process; is {alike[0]} meant?")
        else:
            logger.warning("%s is not a setting of this process and is ignored", name)
    return problems


def describe(cls: type[Any], *, prefix: str) -> str:
    """Return a help text: each variable with its default and meaning, and those that every process
    has.
    """
    lines = []
    for field in _fields(cls):
        name = _variable(field, prefix)
        if field.default is REQUIRED and field.default_factory is REQUIRED:
            default = "required"
        elif field.default is None or field.default == "":
            default = "default: none"
        else:
            default = f"default: {_text(field.default)}"
        also = f" (or {name}_FILE)" if field.metadata.get("secret") else ""
        lines.append(f"  {name}{also}\n      {field.metadata['help']} [{default}]")
    lines.append(
        "  LOG_LEVEL\n      Least severe lines of the log: DEBUG, INFO, WARNING or ERROR. [default:"
        " INFO]"
    )
    lines.append(
        "  OTEL_*\n      Where traces go, as OpenTelemetry has it; none without"
        " OTEL_EXPORTER_OTLP_ENDPOINT."
    )
    return "\n".join(lines)


def _fields(cls: type[Any]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if "help" in field.metadata]


def _variable(field: dataclasses.Field[Any], prefix: str) -> str:
    return field.metadata["env"] or f"{prefix}_{field.name.upper()}"


def _read(field: dataclasses.Field[Any], name: str, environ: Mapping[str, str]) -> str | None:
    text = environ.get(name) or None
    if not field.metadata.get("secret"):
        return text
    path = environ.get(f"{name}_FILE") or None
    if text is not None and path is not None:
        raise ValueError(f"give either {name} or {name}_FILE, not both")
    if path is None:
        return text
    try:
        content = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {name}_FILE: {error.strerror}") from error
    if not content:
        raise ValueError(f"{name}_FILE is empty")
    return content


def _convert(kind: Any, text: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = (option for option in get_args(kind) if option is not type(None))
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if issubclass(kind, Enum):
        return _choice(kind, text)
    converter: Callable[[str], Any] = _CONVERTERS[kind]
    return converter(text)


def _choice(kind: type[Enum], text: str) -> Enum:
    try:
        return kind(text)
    except ValueError:
        choices = ", ".join(str(each.value) for each in kind)
        raise ValueError(f"must be one of {choices}") from None


def _boolean(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be true or false")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be a whole number") from None


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("must be a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("must be a finite number")
    return number


_CONVERTERS: dict[Any, Callable[[str], Any]] = {
    str: str,
    int: _integer,
    float: _number,
    bool: _boolean,
    Path: Path,
}


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

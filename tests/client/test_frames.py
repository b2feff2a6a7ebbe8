"""The types of frames say what the schema of the socket says."""

from __future__ import annotations

import ast
import json
from typing import Any, NotRequired, get_origin, get_type_hints, is_typeddict

import pytest

from aivo_client import frames
from harness.root import ROOT

SCHEMA = json.loads((ROOT / "docs/protocol.schema.json").read_text(encoding="utf-8"))["$defs"]
NAMES = {"Words": ("Bands", "Grades")}
OURS = [
    (name, schema)
    for name, value in vars(frames).items()
    if is_typeddict(value)
    for schema in NAMES.get(name, (name,))
    if schema in SCHEMA
]


def test_nearly_all_types_are_of_the_schema() -> None:
    typed = {name for name, value in vars(frames).items() if is_typeddict(value)}
    assert typed - {name for name, _ in OURS} == {"Change"}


@pytest.mark.parametrize(("name", "schema"), OURS)
def test_a_type_has_the_fields_that_the_schema_has(name: str, schema: str) -> None:
    typed: Any = getattr(frames, name)
    told = SCHEMA[schema]
    optional = set(told["properties"]) - set(told.get("required", ()))

    hints = get_type_hints(typed, include_extras=True)
    assert set(hints) == set(told["properties"])
    if typed.__total__:
        assert {key for key, hint in hints.items() if get_origin(hint) is NotRequired} == optional


def test_the_client_stands_on_nothing_of_ours() -> None:
    allowed = {"aivo_client", "websockets", "__future__"}
    for file in (ROOT / "client/aivo_client").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or top in STANDARD, f"{file.name} imports {name}"


STANDARD = set(__import__("sys").stdlib_module_names)

"""The contracts in proto/ suit other languages than ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileOptions

from aivo.auth.v1 import auth_pb2
from aivo.brain.v1 import brain_pb2
from aivo.metrics.v1 import metrics_pb2
from aivo.room.v1 import room_pb2

ROOT = Path(__file__).parents[1]
MODULES = (auth_pb2, brain_pb2, metrics_pb2, room_pb2)
CONTRACTS = {module.DESCRIPTOR.name: module for module in MODULES}


def test_every_contract_is_looked_at():
    assert set(CONTRACTS) == {
        str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto")
    }


@pytest.mark.parametrize("file", sorted(CONTRACTS))
def test_each_contract_says_where_its_code_goes(file: str):
    """As buf's managed mode names them, so that both ways make the same code."""
    options = FileOptions()
    options.CopyFrom(CONTRACTS[file].DESCRIPTOR.GetOptions())
    _, name, version, _ = file.split("/")

    assert options.go_package == f"aivo.internal/gen/aivo/{name}/{version};{name}{version}"
    assert options.java_package == f"com.aivo.{name}.{version}"
    assert options.java_outer_classname == f"{name.title()}Proto"
    assert options.java_multiple_files
    assert options.csharp_namespace == f"Aivo.{name.title()}.{version.upper()}"

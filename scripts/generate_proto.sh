#!/bin/sh
# Regenerates proto/gen from proto/aivo, from nothing, so that a removed contract leaves no stale
# module behind.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
out=${1:-proto/gen}
rm -rf "$out"
mkdir -p "$out"
PATH="$(dirname "$python"):$PATH" "$python" -m grpc_tools.protoc -I proto \
    --python_out="$out" --grpc_python_out="$out" --mypy_out="$out" --mypy_grpc_out="$out" \
    $(find proto/aivo -name '*.proto' | sort)

#!/bin/sh
# Fails when proto/gen is not what proto/aivo generates: a changed contract, an edited file, or a
# file too many or too few.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
scripts/generate_proto.sh "$fresh/gen"
if ! diff -r -x __pycache__ "$fresh/gen" proto/gen; then
    echo "proto/gen is out of date: run 'make proto' and commit the result." >&2
    exit 1
fi

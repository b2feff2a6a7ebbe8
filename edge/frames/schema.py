"""The protocol as a JSON Schema: `python -m edge.frames.schema` prints it,
docs/protocol.schema.json keeps it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from edge.frames import incoming, outgoing

SERVER_FRAMES = {name: msgspec.json.Decoder(one) for one, name in outgoing.TYPES.items()}
"""Decoders of the frames that the edge sends, by type, for tests and tools; the edge only writes
them.
"""


def components(ref_template: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return a reference to each frame, clients' first, as `TYPES` have them, and the schemas."""
    (*frames, context), schemas = msgspec.json.schema_components(
        [*incoming.TYPES, *outgoing.TYPES, incoming.Context], ref_template=ref_template
    )
    schemas["InteractionData"]["properties"]["context"] = context
    for one in schemas.values():
        if "description" in one:  # a docstring, with the source's lines
            one["description"] = " ".join(one["description"].split())
    return frames, schemas


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of every frame in both directions."""
    frames, definitions = components("#/$defs/{name}")
    clients = len(incoming.TYPES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AIVO realtime: WebSocket frames",
        "description": (
            "One JSON object per text frame; unknown fields are ignored. Meanings are in"
            " docs/protocol.md."
        ),
        "anyOf": [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": {
            "ClientFrame": {"oneOf": frames[:clients]},
            "ServerFrame": {"oneOf": frames[clients:]},
            **definitions,
        },
    }


def render() -> str:
    """Return the schema as the text that docs/protocol.schema.json holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())

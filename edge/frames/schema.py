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
"""How to read each frame that the edge sends, by its type; for tests and tools, the edge itself
only writes them.
"""


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of every frame in both directions."""
    client_types = incoming.AnyClientFrame.__args__
    names, definitions = msgspec.json.schema_components(
        [*client_types, *outgoing.TYPES, incoming.Context], ref_template="#/$defs/{name}"
    )
    definitions["InteractionData"]["properties"]["context"] = names[-1]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "AIVO realtime: WebSocket frames",
        "description": (
            "One JSON object per text frame; unknown fields are ignored. Meanings are in"
            " docs/protocol.md."
        ),
        "anyOf": [{"$ref": "#/$defs/ClientFrame"}, {"$ref": "#/$defs/ServerFrame"}],
        "$defs": {
            "ClientFrame": {"oneOf": list(names[: len(client_types)])},
            "ServerFrame": {"oneOf": list(names[len(client_types) : -1])},
            **definitions,
        },
    }


def render() -> str:
    """Return the schema as the text that docs/protocol.schema.json holds."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())

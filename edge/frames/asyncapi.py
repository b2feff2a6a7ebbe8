"""The socket as an AsyncAPI 3 document: `python -m edge.frames.asyncapi` prints it,
docs/asyncapi.json keeps it, an edge serves it at /docs/asyncapi.json.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from edge.frames import incoming, outgoing
from edge.frames.schema import components
from service_runtime.version import VERSION


def document() -> dict[str, Any]:
    """Return the AsyncAPI document, made from the same frames as the JSON Schema."""
    client, server = incoming.TYPES, outgoing.TYPES
    frames, schemas = components("#/components/schemas/{name}")
    tags = [*client.values(), *server.values()]
    messages = {
        one["$ref"].rpartition("/")[2]: {
            "name": tag,
            "title": tag,
            "contentType": "application/json",
            "payload": one,
        }
        for one, tag in zip(frames, tags, strict=True)
    }
    from_clients = list(messages)[: len(client)]
    from_server = list(messages)[len(client) :]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AIVO realtime: WebSocket frames",
            "version": VERSION,
            "description": (
                "One JSON object per text frame; unknown fields are ignored. The first frame is"
                " `authenticate`. Meanings are in docs/protocol.md."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {"ws": {"bindingVersion": "0.1.0"}},
            }
        },
        "operations": {
            "fromClients": _operation("receive", "What clients send.", from_clients),
            "fromServer": _operation("send", "What the edge sends.", from_server),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _operation(action: str, summary: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/socket"},
        "messages": [{"$ref": f"#/channels/socket/messages/{name}"} for name in names],
    }


def render() -> str:
    """Return the text that docs/asyncapi.json holds."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render())

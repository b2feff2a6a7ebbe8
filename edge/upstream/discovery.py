"""Finds brains by name: every address of the host in a setting dns:///host:port is one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

from service_runtime.addresses import BY_NAME, parse_address

Resolve = Callable[[Sequence[str]], Awaitable[list[str]]]
"""Returns the addresses that a setting stands for. Raises OSError."""


def is_name(address: str) -> bool:
    """Return whether an address is a name that resolves to others."""
    return address.startswith(BY_NAME)


def target(address: str) -> str:
    """Return what a channel can be opened to before names are resolved."""
    return address.removeprefix(BY_NAME)


def common_name(addresses: Sequence[str]) -> str:
    """Return the host name in the certificate of brains found by name; empty where each has its
    own.
    """
    names = {parse_address(target(each))[0] for each in addresses if is_name(each)}
    return names.pop() if len(names) == 1 else ""


async def resolve(addresses: Sequence[str]) -> list[str]:
    """Return all "host:port", each once and in order. Raises OSError when a name is not known."""
    found: dict[str, None] = {}
    for address in addresses:
        if not is_name(address):
            found[address] = None
            continue
        host, port = parse_address(target(address))
        answers = await asyncio.get_running_loop().getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM
        )
        for each in sorted(str(answer[4][0]) for answer in answers):
            found[f"[{each}]:{port}" if ":" in each else f"{each}:{port}"] = None
    return list(found)

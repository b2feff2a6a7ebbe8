"""Checks settings that say where to listen."""

from __future__ import annotations

import ipaddress

OFF = "off"
"""Instead of an address: no listener."""
BY_NAME = "dns:///"
"""Before "host:port": every address that the host has."""


def parse_address(address: str) -> tuple[str, int]:
    """Split "host:port" (an IPv6 host in brackets); raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError("must look like 127.0.0.1:8007")
    return host.strip("[]"), int(port)


def check_listen(listen: str, *, variable: str) -> list[str]:
    """Return what is wrong with a listen address (or `off`): no or one sentence."""
    if listen == OFF:
        return []
    try:
        parse_address(listen)
    except ValueError as error:
        return [f"{variable}: {error}, or be {OFF!r}"]
    return []


def check_target(target: str, *, variable: str) -> list[str]:
    """Return what is wrong with an address to call (also a dns:/// name): no or one sentence."""
    try:
        parse_address(target.removeprefix(BY_NAME))
    except ValueError:
        return [f"{variable}: {target!r} must look like brain:8001 or {BY_NAME}brain:8001"]
    return []


def is_address(host: str) -> bool:
    """Return whether this is an IP address or `localhost`.

    The variable HOST may hold other things: conda puts the kind of machine there.
    """
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(listen: str) -> bool:
    """Return whether an address such as "127.0.0.1:8001" or "unix:/path" can only be reached from
    this machine.
    """
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

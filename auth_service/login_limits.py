"""How long to wait before another password may be tried.

A guess counts against the account as tried from one address, so that guesses elsewhere do not lock
its owner out. Against guessing from many addresses there is a wider limit for the account, and
against trying many accounts one for the address, which only slows: a whole school may share it. A
device that its owner has signed in from before has a count of its own. An account that has signed
in from this address before is exempt from both wider limits: sprayed names do not keep a school
out.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from auth_service.known_addresses import KnownAddresses
from auth_service.throttle import Policy, Throttle

ADDRESS_WAIT_S = 2.0
"""Longest wait of an address as a whole."""


class UnauthenticatedError(Exception):
    """The sign-in failed; the sentence does not say what exactly was wrong."""


class TooManyAttemptsError(Exception):
    """Too many failed sign-ins for this account or from this address; wait before the next one."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many attempts; try again in {math.ceil(wait_s)} s")
        self.trailing_metadata = (("retry-after-ms", str(math.ceil(wait_s * 1000))),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Free failures of each kind; the longest wait in seconds."""

    per_pair: int
    """Of one account from one address, or from one known device."""
    per_account: int
    """Of one account from anywhere else."""
    per_address: int
    max_wait_s: float


class LoginLimits:
    """Counts failures; too many make one wait."""

    def __init__(self, allowance: Allowance) -> None:
        """Begin with no failures."""
        longest_s = allowance.max_wait_s
        self._known_addresses = KnownAddresses()
        self._pairs = Throttle(Policy(free=allowance.per_pair, max_s=longest_s))
        self._accounts = Throttle(Policy(free=allowance.per_account, max_s=longest_s))
        self._addresses = Throttle(
            Policy(free=allowance.per_address, max_s=min(longest_s, ADDRESS_WAIT_S))
        )

    def knows(self, account: str, address: str, now_s: float) -> bool:
        """Whether this account has signed in from this address lately."""
        return self._known_addresses.knows(account, address, now_s)

    @contextlib.contextmanager
    def counted(self, account: str, address: str, device: str, now_s: float) -> Iterator[None]:
        """Count an attempt; it stays counted if the block raises UnauthenticatedError or is
        cancelled.

        Raises TooManyAttemptsError instead of beginning the block.
        """
        pair = f"{account} {device or address}"
        lines = [(self._pairs, pair)]
        if not device and not self.knows(account, address, now_s):
            lines.append((self._accounts, account))
            if address:
                lines.append((self._addresses, address))
        wait_s = max(throttle.wait_s(key, now_s) for throttle, key in lines)
        if wait_s > 0:
            raise TooManyAttemptsError(wait_s)
        tickets = [throttle.attempt(key, now_s) for throttle, key in lines]
        try:
            yield
        except UnauthenticatedError:
            raise
        except Exception:
            self._refund(lines, tickets)
            raise
        self._refund(lines, tickets)
        self._pairs.forgive(pair)  # what its owner mistyped before
        self._known_addresses.add(account, address, now_s)

    @staticmethod
    def _refund(lines: list[tuple[Throttle, str]], tickets: list[float]) -> None:
        for (throttle, key), ticket in zip(lines, tickets, strict=True):
            throttle.refund(key, ticket)

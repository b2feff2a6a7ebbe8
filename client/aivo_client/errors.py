"""One exception with a code for everything that can go wrong, and the meaning of close codes."""

from __future__ import annotations

from typing import Final

STAY_CLOSED: Final = frozenset({1000, 4400, 4403})
"""Close codes after which reconnecting would not help: normal, not the protocol, access refused."""

TOO_BIG, BAD_TOKEN, DEAD = 1009, 4401, 4408


class AivoError(Exception):
    """An error of the server or of this client. It never carries a token or a frame's content.

    `code` is one of the protocol's, or one of ours: `connection_lost`, `no_token`, `timeout`,
    `too_big`, `queue_full`, `expired`, `closed`.
    """

    def __init__(
        self,
        code: str,
        sentence: str = "",
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
        id: str = "",
    ) -> None:
        super().__init__(sentence or code.replace("_", " "))
        self.code = code
        self.retryable = retryable
        """Whether the same may succeed later."""
        self.retry_after_s = retry_after_s
        """How long to wait before retrying, if known."""
        self.id = id
        """The request or interaction concerned, if any."""


class ClosedError(AivoError):
    """The connection is closed and stays so: `code` says why, `close_code` what the server said."""

    def __init__(self, code: str, sentence: str = "", *, close_code: int | None = None) -> None:
        super().__init__(code, sentence)
        self.close_code = close_code

"""Who is connected on one socket, and how to answer there: all that its activities share."""

from __future__ import annotations

from dataclasses import dataclass

from edge.admission.budgets import Budget
from edge.ports import Sink
from edge.session.dependencies import Dependencies
from edge.session.replies import Replies


@dataclass(slots=True, kw_only=True, eq=False)
class Connected:
    """One authenticated socket."""

    edge: Dependencies
    sink: Sink
    replies: Replies
    connection_id: str
    user_id: str
    role: str
    budget: Budget
    """This user's budget, shared by all their sockets and requests."""
    is_open: bool = True
    """False once the socket is closed and answers go nowhere."""

"""The HTTP API and the page. The only package that imports fastapi; errors are problem details (RFC
9457).

`services` has what the routes work with, `callers` who asks, `requests` the middleware, `problems`
the errors; `auth`, `learners`, `fleet` (with `analytics`), `health` and `page` are the routes;
`app` puts them together.
"""

from edge.http.app import make_app
from edge.http.problems import STATUSES
from edge.http.services import Services

__all__ = ["STATUSES", "Services", "make_app"]

"""Puts the HTTP API and the page together."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from edge.http import auth, documents, fleet, health, learners, sign_in, xapi
from edge.http.cross_origin import CrossOrigin
from edge.http.debug import log_requests
from edge.http.page import Headers, add_page
from edge.http.problems import ANY_PROBLEM, add_problems
from edge.http.requests import HeadLikeGet, KnownClient, Metered, ReadableHost, SmallBodies
from edge.http.services import Services
from edge.telemetry.tracing import HttpSpans
from service_runtime.version import VERSION


def make_app(services: Services) -> FastAPI:
    """Return the application that serves /api, health checks and the page."""
    # Whose /docs brings its own scripts: many schools' networks reach no other site.
    app = FastAPIOffline(
        title="AIVO realtime",
        version=VERSION,
        summary=(
            "Follows each learner's state while they learn and shows it live to those who may"
            " watch."
        ),
        redoc_url=None,
        static_url="/docs/static",
        responses=ANY_PROBLEM,
        redirect_slashes=False,  # addresses are exact, as the socket's is
        # Its own spans and logs would contain paths with ids, query strings with tokens, and
        # refused values.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.services = services
    add_problems(app)
    for room in (auth, sign_in, learners, xapi, fleet, health, documents):
        app.include_router(room.router)
    app.add_middleware(SmallBodies)
    app.add_middleware(ReadableHost)
    app.add_middleware(Metered, door=services.door)
    app.add_middleware(CrossOrigin, origins=services.door.origins)
    app.add_middleware(Headers)
    add_page(app, services.settings.static_dir)
    if services.settings.debug:
        log_requests(app)
    if services.tracer is not None:
        app.add_middleware(HttpSpans, tracer=services.tracer)
    app.add_middleware(HeadLikeGet)
    app.add_middleware(KnownClient, proxies=services.door.proxies)
    return app

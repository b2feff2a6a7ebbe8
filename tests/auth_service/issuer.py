"""Another issuer for tests: key pairs of every kind, a key set over HTTP or in a file, tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

NAME = "https://id.school.example"
AUDIENCE = "aivo-api"


class Issuer:
    """Signs whatever a test wants signed."""

    def __init__(self) -> None:
        self.private: dict[str, tuple[Any, str]] = {}
        self.jwks: list[dict[str, Any]] = []
        self.fetches = 0
        self.up = True
        self.behaves: Callable[[BaseHTTPRequestHandler], None] | None = None
        """What answers instead of the keys."""
        self.address = ""
        self.add("ed", "EdDSA")

    def add(self, kid: str, algorithm: str) -> None:
        if algorithm == "EdDSA":
            key: Any = ed25519.Ed25519PrivateKey.generate()
            public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
        elif algorithm == "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self.private[kid] = (key, algorithm)
        self.jwks.append({**public, "kid": kid, "alg": algorithm, "use": "sig"})

    def drop(self, kid: str) -> None:
        self.jwks = [one for one in self.jwks if one["kid"] != kid]

    def token(
        self,
        subject: str = "u-1",
        *,
        kid: str = "ed",
        header: dict[str, Any] | None = None,
        without: tuple[str, ...] = (),
        **claims: Any,
    ) -> str:
        now = int(time.time())
        content: dict[str, Any] = {
            "iss": NAME,
            "aud": AUDIENCE,
            "sub": subject,
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        for name in without:
            content.pop(name)
        key, algorithm = self.private[kid]
        headers = {"kid": kid, "typ": "at+jwt", **(header or {})}
        return jwt.encode(content, key, algorithm=algorithm, headers=headers)

    def claiming(self, **claims: Any) -> str:
        """Return a token with claims that a library would not write."""
        now = int(time.time())
        content = {
            "iss": NAME,
            "aud": AUDIENCE,
            "sub": "u-1",
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        key, algorithm = self.private["ed"]
        headers = {"kid": "ed", "typ": "at+jwt"}
        return jwt.api_jws.encode(json.dumps(content).encode(), key, algorithm, headers)

    def configured(self, jwks: str = "", **more: Any) -> str:
        """Return the text of a file that trusts this issuer."""
        lines = {
            "issuer": NAME,
            "audiences": [AUDIENCE],
            "jwks": jwks or self.address,
            "default_role": "learner",
            "create": True,
            **more,
        }
        told = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
        return (
            f"[[issuers]]\n{told}"
            '[issuers.claims]\nrole = "groups"\nlearners = "school.learners"\n'
            'classes = "school.classes"\nname = "name"\n'
            '[issuers.roles]\nstaff = "teacher"\nparents = "guardian"\npupils = "learner"\n'
        )


@contextmanager
def serving(issuer: Issuer) -> Iterator[Issuer]:
    """Serve an issuer's keys on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.fetches += 1
            if issuer.behaves is not None:
                issuer.behaves(self)
                return
            body = json.dumps({"keys": issuer.jwks}).encode()
            self.send_response(200 if issuer.up else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    issuer.address = f"http://127.0.0.1:{server.server_port}/jwks"
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""Tells by its exit code whether a process of ours serves: the image's health check.

probe.py http://127.0.0.1:8000/readyz     an HTTP address that answers 200 probe.py 127.0.0.1:8001
a gRPC server that answers SERVING
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_S = 3.0

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""What is probed is beside us, whatever proxy the environment names."""


def problem(target: str) -> str:
    """Return why the target does not serve; nothing when it does."""
    try:
        if target.startswith("http://"):
            with DIRECT.open(target, timeout=TIMEOUT_S):
                return ""
        with grpc.insecure_channel(target, options=(("grpc.enable_http_proxy", 0),)) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S
            )
    except urllib.error.HTTPError as error:
        return f"{error.code}: {error.read(500).decode(errors='replace')}"
    except OSError as error:
        return str(error)
    except grpc.RpcError as error:
        return str(error.code())
    return "" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not serving"


def main(arguments: list[str]) -> int:
    """Probe the one target given; return 0 when it serves, 1 when not."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    why = problem(arguments[0])
    if why:
        print(why, file=sys.stderr)
    return 1 if why else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

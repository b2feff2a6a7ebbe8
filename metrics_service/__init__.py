"""The fleet's metrics, and records of the messages that edges handled."""

import service_runtime  # noqa: F401 - before anything that imports gRPC

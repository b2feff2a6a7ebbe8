"""The edge: turns JSON frames on WebSockets into calls to the brain, auth and metrics services, and
back.
"""

import service_runtime  # noqa: F401 - before anything that imports gRPC

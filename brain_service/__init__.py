"""The brain: a model of every learner behind a durable log, and the streams of changes for
watchers.
"""

import service_runtime  # noqa: F401 - before anything that imports gRPC

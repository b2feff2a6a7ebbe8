"""Who is connected and whom they may watch: passwords, signing keys and relations."""

import service_runtime  # noqa: F401 - before anything that imports gRPC

"""What every process shares: settings, logs, lifetime, gRPC server and client. It imports
neither a contract nor a process.

gRPC reads its environment when it is first imported, so each service imports this package first.
"""

import os

# gRPC then reads and writes sockets on the thread that waits for events. By default each event
# passes through a pool of four more threads: seven context switches for a lone message there and
# back, a tenth of what a lone interaction costs.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

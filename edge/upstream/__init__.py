"""The edge's side of the services behind it: the only part of the edge that knows gRPC and the
contracts.
"""

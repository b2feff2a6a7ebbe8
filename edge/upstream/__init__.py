"""Clients of the services behind the edge: the only part of it that knows gRPC and the
contracts.
"""

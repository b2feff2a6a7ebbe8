"""What every process shares: settings, logs, lifetime, gRPC server and client. Imports neither a
contract nor a process.
"""

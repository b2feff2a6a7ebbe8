"""How any process of ours runs: settings, logs, lifetime, gRPC server and client. It imports
neither a contract nor a process.
"""

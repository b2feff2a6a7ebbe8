"""How any process of ours runs: settings, logs, lifetime, gRPC server and client. It knows no
contract, no process.
"""

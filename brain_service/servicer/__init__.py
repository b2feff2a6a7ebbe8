"""The brain's gRPC services: check requests, call the modules behind them, and answer in
protobuf.
"""

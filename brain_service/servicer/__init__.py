"""The brain's gRPC face: checks what callers send, calls the rooms behind it, and answers in
protobuf.
"""

"""The brain's gRPC face: checks what callers send, calls the modules behind it, and answers in
protobuf.
"""

"""Every frame of the public protocol, defined once (docs/protocol.md). It knows no session and no
transport.
"""

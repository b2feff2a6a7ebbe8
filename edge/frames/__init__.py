"""Every frame of the public protocol, defined once (docs/protocol.md)."""

"""Sockets as bytes: the listener, the WebSocket protocol over one transport, and what joins it to a
session.
"""

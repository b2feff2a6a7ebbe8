"""The edge: turns JSON frames on WebSockets into calls to the brain, auth and metrics services, and
back.
"""

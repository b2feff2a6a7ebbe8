"""Tells watchers what changed: the bus that wakes, the watches of edges, and each one's place in a
history.
"""

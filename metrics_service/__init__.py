"""Knows what the whole fleet of edges is doing, and keeps records of the messages they handled."""

"""Sends changes to watchers: the watches of edges, and each one's position in a history."""

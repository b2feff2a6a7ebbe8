"""What the whole fleet of edges is doing, and records of the messages they handled."""

"""The fleet's metrics, and records of the messages that edges handled."""

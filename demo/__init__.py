"""The demonstration: all services on this machine, a school of invented people, and a simulated
class that learns.

Tests and benchmarks use its `stack` to run the real processes; nothing of the product depends on
it.
"""

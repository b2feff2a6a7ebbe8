"""The demonstration: all services on this machine, a school of invented people, and a simulated
class that learns.
"""

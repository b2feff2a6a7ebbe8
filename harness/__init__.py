"""The services from outside, as operators and clients see them: private stacks, people in them,
clients. The demonstration, tests, benchmarks and the siege share it; the product never imports it.
"""

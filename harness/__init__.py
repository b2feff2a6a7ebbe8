"""The services from outside, as an operator and a client meet them: private stacks, people in them,
clients. The demonstration, tests, benchmarks and the siege share it; the product never imports it.
"""

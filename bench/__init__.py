"""Compares the running services with the monolith they replace: side by side, in one run, as
ratios.
"""

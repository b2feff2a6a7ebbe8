"""Hostile clients of every kind beside honest ones, on a stack of its own: what do the honest ones
notice, and what does it cost? `python -m siege --help`.
"""

"""Checks the learner model against logs and ratings of real people, and compares it with simpler
rules.
"""

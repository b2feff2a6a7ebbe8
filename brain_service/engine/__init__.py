"""Applies interactions one at a time per learner, makes them durable in groups, and answers
reads.
"""

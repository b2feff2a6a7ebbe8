"""The brain: a model of every learner behind a durable log, and the streams of changes for
watchers.
"""

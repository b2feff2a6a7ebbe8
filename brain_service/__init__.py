"""The brain: a model of every learner behind a durable log, and the streams that tell watchers what
changed.
"""

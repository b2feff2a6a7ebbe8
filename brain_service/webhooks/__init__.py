"""Notifies outside systems when a learner needs attention and when that is over, by signed requests
that are retried until accepted (https://www.standardwebhooks.com).

Only `sending` knows HTTP, and nothing here knows SQL.
"""

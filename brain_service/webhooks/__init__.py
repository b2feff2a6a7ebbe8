"""Tells systems outside when a learner needs attention and when that is over, by signed requests
that are repeated until they are answered (https://www.standardwebhooks.com).

Only `sending` knows HTTP, and nothing here knows SQL.
"""

"""The services' databases: addresses, connections and transactions, drivers' errors as sentences,
schema versions, backups. SQLite or PostgreSQL, by the address alone.

It has no table of any service. Only this package and the stores import a driver.
"""

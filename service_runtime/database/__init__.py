"""How any service of ours keeps a database: address, connections and transactions, drivers' errors
told in sentences, the schema's versions, backups. SQLite or PostgreSQL, by the address alone.

It has no table of any service. Only this package and the stores import a driver.
"""

"""OneRoster CSV files (1EdTech, 1.1 and 1.2): reading, comparing with the database, writing."""

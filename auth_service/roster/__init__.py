"""OneRoster CSV files (1EdTech, 1.1 and 1.2): read, compared with who is here, written."""

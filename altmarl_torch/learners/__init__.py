"""Ways to a best response: exact tables, chains with UCFH, networks."""

"""Networks in place of tables."""

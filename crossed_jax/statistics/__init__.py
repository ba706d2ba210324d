"""What a likelihood needs of a table, and first estimates from it."""

"""How many to ask: what each k earns, with a memory and without, and what it is worth at a price."""

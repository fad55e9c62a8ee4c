"""How many to ask: what each k earns, with a memory and without, what it is worth at a price, and values of beliefs."""

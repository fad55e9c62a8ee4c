"""Values of beliefs: a dispatcher with a memory that knows how much it knows, when to act, and how many to ask."""

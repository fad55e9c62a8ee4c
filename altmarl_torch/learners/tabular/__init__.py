"""G-LEARN and the model-based L-LEARN on tables."""

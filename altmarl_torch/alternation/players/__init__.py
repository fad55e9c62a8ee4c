"""The players of each solver: learners, evaluator and start, as the loop takes them."""

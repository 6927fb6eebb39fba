"""Training: the recipe, what carries it out, and the folder that a run leaves."""

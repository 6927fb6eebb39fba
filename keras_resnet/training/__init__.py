"""Training: the recipe, its execution, and the folder that a run writes."""

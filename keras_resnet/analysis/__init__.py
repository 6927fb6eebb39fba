"""Analyses of networks: their size and cost, and what happens inside them."""

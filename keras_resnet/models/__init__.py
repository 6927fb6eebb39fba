"""Residual networks: tables of variants, and the pure functions that build networks from them."""

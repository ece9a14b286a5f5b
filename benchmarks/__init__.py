"""Measurements of speed, each a ratio to a named baseline in one run; RESULTS.md keeps them."""

"""Comparison of several systems: which is better, on what, and how certain that is."""

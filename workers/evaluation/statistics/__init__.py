"""Error counts, confidence intervals and slices."""

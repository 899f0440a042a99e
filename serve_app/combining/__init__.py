"""Several hypotheses of the same speech made into one."""

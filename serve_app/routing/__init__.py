"""Choose the models for a record, and combine their hypotheses."""

"""Training of the demo models: batches, the fit loop, recipes, cards."""

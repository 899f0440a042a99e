"""Training of the demo models: their recipes, and the command that trains them."""

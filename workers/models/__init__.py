"""Models and the registry: bringing them in, their cards, their rollouts."""

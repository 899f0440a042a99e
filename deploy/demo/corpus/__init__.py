"""Synthetic speech for the demo models: grammars, voices, channels, splits, manifests."""

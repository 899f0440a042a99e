"""Clips that are shipped, so that any model can be heard: synthetic English of the demo."""

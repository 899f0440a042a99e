"""Deployment: containers, compose, the demo."""

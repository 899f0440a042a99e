"""Deploying on a running Ray cluster by a Serve config, and what that changes there."""

"""Rollouts on recorded speech: what the verdict on a candidate would have been, and when."""

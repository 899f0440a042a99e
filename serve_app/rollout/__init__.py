"""Rollouts: is a candidate better or worse than the version that serves?"""

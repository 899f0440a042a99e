"""Versions of models: their folders and their cards."""

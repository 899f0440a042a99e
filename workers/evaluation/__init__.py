"""Measuring models: benchmark, compare, validate."""

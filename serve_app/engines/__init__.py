"""Engines: loaded models behind one protocol, and what every engine needs."""

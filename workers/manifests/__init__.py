"""Manifest files: read, explained, transcribed."""

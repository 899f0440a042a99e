"""Helpers around the operating system and Ray: files, processes, logs, environment."""

"""Bring models into the registry: from files and from hubs."""

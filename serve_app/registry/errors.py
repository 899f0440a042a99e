"""Errors of the registry; their messages say what there is and what to do."""

from __future__ import annotations


class UnknownModelError(LookupError):
    """There is no such model, version or alias."""


class RegistryFaultError(ValueError):
    """What is to be registered is not fit for it, or what is registered is damaged."""


class ConflictError(RuntimeError):
    """Somebody else changed the same thing at the same moment."""

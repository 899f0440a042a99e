"""The section `registry`: where versions of models are, and how replicas follow their aliases."""

from __future__ import annotations

from schemas.settings.types import PositiveFloat, Strict


class RegistrySettings(Strict):
    """The registry that models with a `model` are found in.

    Attributes:
        url: its folder, relative to the settings file, or a URL (`s3://`, `gs://`, `az://`), whose
            credentials are found as that store's own tools find them.
        poll_s: seconds between two looks of a replica at the alias that it serves.
        cache: folder for copies of models, relative to the settings file, also of a registry that
            is a folder. By default models from a URL are copied below `~/.cache`, and those of a
            folder are read there.
    """

    url: str = "models"
    poll_s: PositiveFloat = 5.0
    cache: str | None = None

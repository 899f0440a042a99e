"""What determines a transcript, by content: the digests of files, not their names or places."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from schemas.settings import ModelSettings, RegistrySettings, Settings
from serve_app.registry.source import VersionSource
from serve_app.system.files import sha256_at, sha256_of

#: Settings of a model that say where and how fast it runs, not what it writes.
_SERVING = (
    "autoscaling",
    "batch_seconds",
    "gpu_fraction",
    "interactive_share",
    "num_cpus",
    "replicas",
    "swap",
    "threads",
)
#: Settings of audio that decide whether there is a transcript, and of what. Where it lies is told
#: by its path.
_AUDIO = (
    "max_seconds",
    "max_bytes",
    "max_channels",
    "channel",
    "max_each_seconds",
    "min_sample_rate",
    "max_sample_rate",
)


def model_identity(
    model: ModelSettings, registry: RegistrySettings | None = None
) -> dict[str, Any]:
    """The digest of a model's files and all its settings but its path, as JSON-compatible data.

    Of a registered model it is that of the version that it names now.

    A digest that the settings name is taken as it is: the model is not loaded if it is wrong.

    Raises:
        OSError: the file cannot be read.
        UnknownModelError: a registered model names no version.
    """
    if model.model is not None:
        digest: str | None = VersionSource(model, registry).card().sha256
    else:
        digest = (model.sha256 or sha256_at(Path(model.path))) if model.path else None
    options = msgspec.to_builtins(model) | {"path": None, "model": None, "sha256": None}
    return {"model": digest, "options": options}


def transcription_digest(settings: Settings) -> str:
    """A digest of all that transcripts follow from: `settings`, and the files that they name.

    That is models, plans, rules, calibration, text rules and what audio is read.

    Raises:
        OSError: a file cannot be read.
    """
    models = {
        name: model_identity(model, settings.registry) for name, model in settings.models.items()
    }
    for model in models.values():
        for key in _SERVING:
            del model["options"][key]
    calibration = settings.routing.calibration
    identity = msgspec.to_builtins(
        {
            "models": models,
            "plans": settings.plans,
            "routing": msgspec.structs.replace(settings.routing, calibration=None),
            "calibration": sha256_of(Path(calibration)) if calibration else None,
            "text_rules": settings.text_rules,
            "audio": {key: getattr(settings.audio, key) for key in _AUDIO},
        }
    )
    return sha256(msgspec.json.encode(identity, order="deterministic")).hexdigest()

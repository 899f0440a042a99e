"""The parts of the settings that concern each Serve application.

What a part does not hold may change without a restart of its application.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec.structs import replace

from schemas.settings.audio import AudioSettings
from schemas.settings.digest import FETCHING, PLACEMENT
from schemas.settings.kafka import KafkaSettings
from schemas.settings.models import ModelSettings
from schemas.settings.rollout import RolloutSettings
from schemas.settings.root import Settings
from schemas.settings.routing import Routing
from schemas.settings.serve import ServeSettings
from schemas.settings.stream import StreamSettings
from schemas.settings.validation import ValidationSettings

#: What runs as a Serve application; of `model`, there is one for each.
Part = Literal["model", "router", "http", "worker"]
#: Of what reads no files: there has to be a root.
_NO_AUDIO = AudioSettings(roots=["/"])


def part_of(settings: Settings, part: Part, model: str = "") -> Settings:
    """Settings of which all that does not concern an application has its default.

    Args:
        settings: as `load_settings` returns them.
        part: the application.
        model: name of the model, for the part `model`.
    """
    if part == "model":
        serve = settings.serve
        identifies = settings.routing.language_model == model
        return Settings(
            models={model: replace(settings.models[model], text_rules=None, required=True)},
            routing=Routing(default=model, language_model=model if identifies else None),
            audio=_NO_AUDIO,
            serve=ServeSettings(app=serve.app, health_timeout_s=serve.health_timeout_s),
            registry=settings.registry,
        )
    keeps_required = part != "worker"
    common = replace(
        settings,
        models={
            name: _unplaced(each, keeps_required=keeps_required)
            for name, each in settings.models.items()
        },
        serve=ServeSettings(app=settings.serve.app),
        rollout=RolloutSettings(),
        validation=ValidationSettings(),
    )
    if part == "worker":
        audio = replace(settings.audio, **{key: getattr(_NO_AUDIO, key) for key in FETCHING})
        return replace(common, http=None, audio=audio)
    alone = replace(common, kafka=KafkaSettings(), stream=StreamSettings())
    if part == "http":
        return alone
    defaults = ServeSettings()
    elsewhere = ("address", "quick_start", "health_timeout_s")
    serve = replace(settings.serve, **{key: getattr(defaults, key) for key in elsewhere})
    return replace(alone, http=None, serve=serve)


def part_digest(settings: Settings, part: Part, model: str = "") -> str:
    """SHA-256, in hexadecimal, of `part_of`."""
    encoded = msgspec.json.encode(part_of(settings, part, model), order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


def _unplaced(model: ModelSettings, *, keeps_required: bool) -> ModelSettings:
    defaults = ModelSettings(engine="a.b:C")
    kept = {"required"} if keeps_required else set()
    return replace(model, **{key: getattr(defaults, key) for key in PLACEMENT - kept})

"""The parts of the settings that concern each Serve application.

What a part does not hold may change without a restart of its application. None holds how many
replicas there are: Serve changes that in place.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec
from msgspec.structs import replace

from schemas.settings.audio import AudioSettings
from schemas.settings.console import ConsoleSettings
from schemas.settings.digest import FETCHING, PLACEMENT
from schemas.settings.kafka import KafkaSettings
from schemas.settings.models import Autoscaling, ModelSettings
from schemas.settings.rollout import RolloutSettings
from schemas.settings.root import Settings
from schemas.settings.routing import Routing
from schemas.settings.serve import ServeSettings
from schemas.settings.stream import StreamAutoscaling, StreamSettings
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
            models={
                model: replace(
                    settings.models[model],
                    text_rules=None,
                    required=True,
                    replicas=1,
                    autoscaling=None,
                )
            },
            routing=Routing(default=model, language_model=model if identifies else None),
            audio=_NO_AUDIO,
            serve=ServeSettings(app=serve.app, health_timeout_s=serve.health_timeout_s),
            registry=settings.registry,
        )
    common = replace(
        settings,
        models={
            name: _unplaced(each, reached=part != "worker")
            for name, each in settings.models.items()
        },
        serve=ServeSettings(app=settings.serve.app),
        rollout=RolloutSettings(),
        validation=ValidationSettings(),
        console=ConsoleSettings(),
    )
    if part == "worker":
        audio = replace(settings.audio, **{key: getattr(_NO_AUDIO, key) for key in FETCHING})
        scaling = _per_worker(settings.stream)
        stream = replace(settings.stream, status=None, workers=1, autoscaling=scaling)
        return replace(common, http=None, audio=audio, stream=stream)
    alone = replace(common, kafka=KafkaSettings(), stream=StreamSettings())
    if part == "http":
        http = settings.http
        return replace(alone, http=http if http is None else replace(http, replicas=1))
    defaults = ServeSettings()
    elsewhere = ("address", "quick_start", "health_timeout_s", "routers")
    serve = replace(settings.serve, **{key: getattr(defaults, key) for key in elsewhere})
    return replace(alone, http=None, serve=serve)


def part_digest(settings: Settings, part: Part, model: str = "") -> str:
    """SHA-256, in hexadecimal, of `part_of`."""
    encoded = msgspec.json.encode(part_of(settings, part, model), order="deterministic")
    return hashlib.sha256(encoded).hexdigest()


def _per_worker(stream: StreamSettings) -> StreamAutoscaling | None:
    """What the workers themselves need of their autoscaling."""
    wanted = StreamAutoscaling(records_per_worker=stream.scaling.records_per_worker)
    return None if wanted == StreamAutoscaling() else wanted


def _unplaced(model: ModelSettings, *, reached: bool) -> ModelSettings:
    """A model as those know it that call it, if they reach it themselves."""
    defaults = ModelSettings(engine="a.b:C")
    kept = {"required"} if reached else set()
    found = replace(model, **{key: getattr(defaults, key) for key in PLACEMENT - kept})
    sleeps = reached and model.may_sleep
    return replace(found, autoscaling=Autoscaling(min_replicas=0)) if sleeps else found

"""The settings as a whole, and the contradictions between their sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.settings.audio import AudioSettings, audio_faults
from schemas.settings.console import ConsoleSettings, console_faults
from schemas.settings.http import HttpSettings, http_faults
from schemas.settings.kafka import KafkaSettings, kafka_faults
from schemas.settings.models import ModelSettings, model_faults
from schemas.settings.plans import Plan, plan_faults
from schemas.settings.registry import RegistrySettings
from schemas.settings.rollout import RolloutSettings, rollout_faults
from schemas.settings.routing import Routing, reserved_name_faults, routing_faults
from schemas.settings.serve import ServeSettings
from schemas.settings.stream import StreamSettings, stream_faults
from schemas.settings.types import Fault, Name, Strict, under
from schemas.settings.validation import ValidationSettings
from schemas.text_rules import TextRules, text_rule_faults


class Settings(Strict):
    """The settings file as a whole.

    Attributes:
        models: the models, by name.
        routing: which plan or model transcribes a record.
        audio: what audio may be read.
        plans: ensembles, tiers and fallbacks, by name.
        text_rules: how texts are written, by name; models name the rules that they use.
        kafka: where Kafka is and how to talk to it.
        stream: how the stream worker works.
        serve: Ray and the Router.
        http: the HTTP API of `chorus serve`; unless given, there is none.
        console: the web pages of `chorus console`.
        registry: where versions of models are, for models that are named by `model`.
        rollout: when a candidate is promoted, and when it is rolled back.
        validation: what a model must achieve in `chorus validate`.
    """

    models: Annotated[dict[Name, ModelSettings], msgspec.Meta(min_length=1)]
    routing: Routing
    audio: AudioSettings
    plans: dict[Name, Plan] = {}
    text_rules: dict[Name, TextRules] = {}
    kafka: KafkaSettings = msgspec.field(default_factory=KafkaSettings)
    stream: StreamSettings = msgspec.field(default_factory=StreamSettings)
    serve: ServeSettings = msgspec.field(default_factory=ServeSettings)
    http: HttpSettings | None = None
    console: ConsoleSettings = msgspec.field(default_factory=ConsoleSettings)
    registry: RegistrySettings | None = None
    rollout: RolloutSettings = msgspec.field(default_factory=RolloutSettings)
    validation: ValidationSettings = msgspec.field(default_factory=ValidationSettings)


def faults(settings: Settings, base: Path | None) -> Iterator[Fault]:
    """What is wrong with the settings that types alone cannot express, as pairs of (key, reason).

    Args:
        settings: as read, with the paths as they are written.
        base: folder that relative paths are relative to; None if files are not looked for.
    """
    models, plans = settings.models, settings.plans
    yield from model_faults(models, settings.text_rules, base)
    if settings.registry is None:
        yield from _registry_faults(models)
    yield from _text_rule_faults(settings.text_rules)
    yield from plan_faults(plans, models)
    yield from routing_faults(settings.routing, models, plans, base)
    yield from http_faults(settings.http, [*plans, *models])
    yield from console_faults(settings.console)
    yield from reserved_name_faults({"models": models, "plans": plans})
    yield from audio_faults(settings.audio, base)
    yield from kafka_faults(settings.kafka)
    yield from stream_faults(settings.stream)
    yield from rollout_faults(settings.rollout)


def _text_rule_faults(text_rules: Mapping[str, TextRules]) -> Iterator[Fault]:
    for name, rules in text_rules.items():
        yield from under(f"text_rules.{name}.", text_rule_faults(rules))


def _registry_faults(models: Mapping[str, ModelSettings]) -> Iterator[Fault]:
    for name, model in models.items():
        if model.model is not None:
            yield (
                f"models.{name}.model",
                "there is no registry to find it in: add `registry: {url: FOLDER_OR_URL}`",
            )
            return

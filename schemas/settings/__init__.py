"""The settings file: one YAML file, decoded strictly, checked whole before anything starts.

Each section has a module of its own, with the checks that types alone cannot express beside it.
"""

from schemas.settings.audio import AudioSettings
from schemas.settings.console import ConsoleKey, ConsoleSettings, Role
from schemas.settings.digest import settings_digest
from schemas.settings.http import Access, ApiKey, HttpSettings, is_loopback
from schemas.settings.kafka import FromEnvironment, KafkaSettings, Topics
from schemas.settings.loading import key_place, load_settings, settings_from
from schemas.settings.models import FOLDER_ENGINES, PRETRAINED, Autoscaling, ModelSettings
from schemas.settings.parts import Part, part_digest, part_of
from schemas.settings.plans import Combiner, Plan, Tiers, plan_text
from schemas.settings.registry import RegistrySettings
from schemas.settings.rollout import BlockBy, RolloutSettings, rollout_faults
from schemas.settings.root import Settings
from schemas.settings.routing import (
    AUTO,
    DEFAULT,
    LANGUAGE,
    LANGUAGE_CONFIDENCE,
    LANGUAGE_MEASURES,
    MEASURES,
    REQUESTED,
    SPEECH_SHARE,
    TESTS,
    Condition,
    Routing,
    Rule,
    Scalar,
)
from schemas.settings.secrets import api_key_digests, api_key_faults, backend_key, client_options
from schemas.settings.serve import ServeSettings
from schemas.settings.stream import StatusSettings, StreamSettings, broker_limit_faults
from schemas.settings.types import (
    NAME_PATTERN,
    Name,
    SettingsError,
)
from schemas.settings.validation import ValidationSettings

__all__ = [
    "AUTO",
    "DEFAULT",
    "FOLDER_ENGINES",
    "LANGUAGE",
    "LANGUAGE_CONFIDENCE",
    "LANGUAGE_MEASURES",
    "MEASURES",
    "NAME_PATTERN",
    "PRETRAINED",
    "REQUESTED",
    "SPEECH_SHARE",
    "TESTS",
    "Access",
    "ApiKey",
    "AudioSettings",
    "Autoscaling",
    "BlockBy",
    "Combiner",
    "Condition",
    "ConsoleKey",
    "ConsoleSettings",
    "FromEnvironment",
    "HttpSettings",
    "KafkaSettings",
    "ModelSettings",
    "Name",
    "Part",
    "Plan",
    "RegistrySettings",
    "Role",
    "RolloutSettings",
    "Routing",
    "Rule",
    "Scalar",
    "ServeSettings",
    "Settings",
    "SettingsError",
    "StatusSettings",
    "StreamSettings",
    "Tiers",
    "Topics",
    "ValidationSettings",
    "api_key_digests",
    "api_key_faults",
    "backend_key",
    "broker_limit_faults",
    "client_options",
    "is_loopback",
    "key_place",
    "load_settings",
    "part_digest",
    "part_of",
    "plan_text",
    "rollout_faults",
    "settings_digest",
    "settings_from",
]

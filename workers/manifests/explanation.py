"""Explaining how the rules of the settings route a record, without any model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from schemas.channels import EACH, Channel, one_channel
from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord, with_channel
from schemas.settings import AudioSettings, Settings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.channels import others
from serve_app.audio.clip import SAMPLE_RATE, Recording
from serve_app.audio.measures import measure
from serve_app.engines.whisper_options import WINDOW_S
from serve_app.routing.plans import Planner
from serve_app.routing.rules import Choice, ConditionResult, Selector
from workers.manifests.audio_paths import audio_of
from workers.manifests.costs import cost_of
from workers.manifests.files import is_there
from workers.manifests.manifest_file import Line, ManifestFile, read_line, read_manifest
from workers.manifests.shards import audio_folders
from workers.manifests.source import folder_of, manifest_text, name_of


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a record.

    Attributes:
        error: why nothing would; None where something would.
        choice: the plan or model, and the rule.
        measures: of its audio.
        channel: that it is about, where the record or the settings name one, or each.
        tried: the conditions up to the rule that held, in order.
        asks: the model that is asked for the language before this choice, which is that without an
            answer; None where the choice does not depend on it.
        costs: seconds of audio that each model computes which the choice may ask, with padding.
    """

    id: str
    error: str | None = None
    choice: Choice | None = None
    measures: Mapping[str, float] = {}
    channel: Channel | None = None
    tried: list[ConditionResult] = []
    asks: str | None = None
    costs: Mapping[str, float] = {}


def explain_file(path: Path, settings: Settings) -> Iterator[Explanation]:
    """Explain a record, or every line of a manifest. Reads and measures the audio.

    A record whose channels are transcribed one by one has an explanation for each channel.

    Relative audio paths are looked up in the folder of `path`, then under the settings' roots.

    Args:
        path: JSON of one record, over as many lines as it likes; or a manifest, see
            `workers.manifests.manifest_file`.
        settings: whose rules are tried.

    Raises:
        ManifestFileError: the file as a whole is no manifest.
        OSError: the file cannot be read.
    """
    explainer = _Explainer(settings)
    roots = settings.audio.roots
    folders = audio_folders(path)
    loader = AudioLoader(msgspec.structs.replace(settings.audio, roots=[*roots, *folders]))
    for line in _records(path):
        if line.record is None:
            yield Explanation(id=line.id, error=str(line.error))
            continue
        record = with_channel(line.record, settings.audio.channel)
        audio = audio_of(line, roots)
        try:
            yield from _explain(record, audio, explainer, loader, settings.audio)
        except AudioError as error:
            reason = error.message.removeprefix(f"{audio}: ")
            yield Explanation(id=line.id, error=f"{line.record.audio_filepath}: {reason}")


def _explain(
    record: ManifestRecord,
    audio: str,
    explainer: _Explainer,
    loader: AudioLoader,
    limits: AudioSettings,
) -> Iterator[Explanation]:
    """The explanation of a record, or of each of its channels."""
    first = replace(record, channel=0) if record.channel == EACH else record
    recording = _read(first, audio, loader)
    yield explainer.explain(first, recording)
    if record.channel == EACH:
        for channel in others(recording, limits):
            one = replace(record, channel=channel)
            yield explainer.explain(one, _read(one, audio, loader))


def _read(record: ManifestRecord, audio: str, loader: AudioLoader) -> Recording:
    return loader.read(
        audio,
        offset=record.offset,
        duration=record.duration,
        channel=one_channel(record.channel),
        sample_rate=SAMPLE_RATE,
    )


class _Explainer:
    """Explains clips by the rules, plans and models of the settings."""

    def __init__(self, settings: Settings) -> None:
        self._selector = Selector(settings.routing)
        self._planner = Planner(settings)
        self._language_model = settings.routing.language_model
        self._costs = {
            name: cost_of(model, settings.registry) for name, model in settings.models.items()
        }

    def explain(self, record: ManifestRecord, recording: Recording) -> Explanation:
        measures = measure(recording.clip, SAMPLE_RATE, speech=self._selector.needs_speech)
        seconds = measures["audio.seconds"]
        measures |= recording.measures
        choice = self._selector.choose(record, measures)
        asks = self._language_model if self._selector.needs_language(record, measures) else None
        tried = self._selector.test_conditions(record, measures)
        held = [index for index, each in enumerate(tried) if each.rule == choice.rule]
        return Explanation(
            id=record.id,
            choice=choice,
            measures=measures,
            channel=record.channel,
            tried=tried[: held[-1] + 1] if held else tried,
            asks=asks,
            costs=self._costs_of(choice.target, asks, seconds),
        )

    def _costs_of(self, target: str, asks: str | None, seconds: float) -> dict[str, float]:
        costs = {name: self._costs[name](seconds) for name in self._planner.members(target)}
        if asks is not None:  # of the beginning alone, which is heard for the language
            costs[asks] = costs.get(asks, 0.0) + self._costs[asks](min(seconds, WINDOW_S))
        return {name: round(cost, 3) for name, cost in costs.items()}


def _records(path: Path) -> Iterator[Line]:
    """The lines of a manifest, or the one record that the whole file is."""
    if not is_there(path):
        return read_manifest(path)
    whole = b"".join(manifest_text(path))
    line = read_line(whole, ManifestFile(name_of(path), folder_of(path)))
    if line.error is not None and line.error.code is ErrorCode.RECORD_JSON:
        return read_manifest(path)  # several records, or wrong: each line says what
    return iter([line])

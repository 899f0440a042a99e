"""Make the transcript or the error of a record whose plan has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.settings import ModelSettings, Settings
from schemas.transcript import Suppressed, Timings, Transcript
from serve_app.audio.clip import Measures
from serve_app.router.joining import joined
from serve_app.routing.plans import Decision, Failure
from serve_app.routing.rules import Choice
from serve_app.routing.writing import writers
from serve_app.scoring.wer import count_errors

Result = Transcript | RecordError


@dataclass(frozen=True, kw_only=True)
class FinishedRecord:
    """A record whose plan has ended, with everything that goes into its result.

    Attributes:
        record: the record.
        outcome: how its plan ended, without what was suppressed.
        heard: the text before that.
        suppressed: what was left out because nobody speaks there.
        choice: the plan or model that was chosen, and why.
        measures: of its audio.
        timings: durations of the processing stages.
        options: of the call that the record was part of.
        models: digest of the model file, and the version, by model; empty texts where there is
            none.
        phrases: how many of the record's phrases each model used.
        arms: which version was asked, by model, where a rollout is under way.
        failed: error codes of models that gave no answer before the plan began, by model.
    """

    record: ManifestRecord
    outcome: Decision | Failure
    heard: str
    suppressed: list[Suppressed]
    choice: Choice
    measures: Measures
    timings: Timings
    options: CallOptions
    models: Mapping[str, tuple[str, str]]
    phrases: Mapping[str, int]
    arms: Mapping[str, str]
    failed: Mapping[str, str]


class ResultMaker:
    """Makes the transcript of a finished record, or its error.

    Args:
        settings: the models and their text rules.
    """

    def __init__(self, settings: Settings) -> None:
        self._models = settings.models
        self._member_keys = {f"pred_text_{name}" for name in settings.models}
        #: Text rules by model, for models that have any.
        self._write = writers(settings.models, settings.text_rules)

    def written(self, model: str, text: str) -> str:
        """A text of a model, by its text rules.

        Args:
            model: its name.
            text: as it was heard.
        """
        write = self._write.get(model)
        return write(text) if write else text

    def make(self, finished: FinishedRecord) -> Result:
        """Make the transcript of `finished`, or its error."""
        record, found = finished.record, finished.outcome
        if isinstance(found, Failure):
            return RecordError(
                id=record.id, code=found.code, message=found.message, model=found.model
            )
        model = self._models[found.model]
        text = self.written(found.model, found.text)
        errors = (
            count_errors(record.text, text, lang=record.lang) if record.text is not None else None
        )
        measures = finished.measures
        sha256, version = finished.models.get(found.model, ("", ""))
        texts = {f"pred_text_{name}": text for name, text in found.texts.items()}
        return Transcript(
            id=record.id,
            audio_filepath=record.audio_filepath,
            offset=record.offset,
            duration=float(measures["audio.seconds"]),
            channel=record.channel,
            text=record.text,
            lang=record.lang,
            domain=record.domain,
            conditions=record.conditions,
            phrases=record.phrases,
            phrases_used=dict(finished.phrases) or None,
            pred_text=text,
            heard_text=finished.heard if text != finished.heard else None,
            suppressed=finished.suppressed or None,
            selected_model=found.model,
            model_path=_public_path(model),
            model_sha256=sha256,
            model_version=version or None,
            arm=finished.arms.get(found.model),
            rule=finished.choice.rule,
            rule_values=finished.choice.values,
            audio_measures={name.removeprefix("audio."): each for name, each in measures.items()},
            failed_models={**finished.failed, **found.failed} or None,
            confidence=found.confidence,
            words=found.words if model.words or finished.options.words else None,
            wer=errors.percent if errors else None,
            word_errors=errors.errors if errors else None,
            reference_words=errors.reference if errors else None,
            timings=finished.timings,
            extra={**self._not_ours(record.extra), **texts},
            **found.keys,
        )

    def join(
        self, record: ManifestRecord, channels: Sequence[Transcript], equal: Sequence[int]
    ) -> Transcript:
        """One transcript of those of a record's channels; see `serve_app.router.joining`.

        Args:
            record: the record.
            channels: the transcripts of its channels, in their order.
            equal: further channels that hold the same as the first one.
        """
        return joined(record, channels, equal, self._member_keys)

    def _not_ours(self, extra: Mapping[str, Any]) -> dict[str, Any]:
        """Without the texts of our models that the record came with, from earlier work on it."""
        return {key: value for key, value in extra.items() if key not in self._member_keys}


def _public_path(model: ModelSettings) -> str:
    """Where the model came from, without the folders of the file system."""
    return Path(model.path).name if model.path is not None else model.source

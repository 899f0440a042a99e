"""From the last word on a record to what Chorus says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from schemas.failures import RecordError
from schemas.how import How
from schemas.manifest import ManifestRecord
from schemas.settings import ModelSettings
from schemas.transcript import Timings, Transcript
from serve_app.plans import Decision, Failure
from serve_app.selection import Choice, Measures
from serve_app.wer import count_errors

Result = Transcript | RecordError


def make_result(
    record: ManifestRecord,
    found: Decision | Failure,
    choice: Choice,
    measures: Measures,
    timings: Timings,
    models: Mapping[str, ModelSettings],
    how: How,
    sha256: Mapping[str, str],
    phrases: Mapping[str, int],
    write: Mapping[str, Callable[[str], str]],
) -> Result:
    """The transcript of `record`, or its error.

    Args:
        found: how its plan ended.
        choice: why it had that plan.
        measures: of its audio.
        models: settings by name.
        how: what the caller asked for.
        sha256: digests of the model files, by the models' names.
        phrases: how many of the record's phrases models listened for, by the models' names.
        write: how the texts of models are written, by the models' names; as heard unless there.
    """
    if isinstance(found, Failure):
        return RecordError(id=record.id, code=found.code, message=found.message, model=found.model)
    model = models[found.model]
    text = write[found.model](found.text) if found.model in write else found.text
    errors = count_errors(record.text, text) if record.text is not None else None
    if errors is not None and not errors.reference:
        errors = None
    texts = {f"pred_text_{name}": text for name, text in found.texts.items()}
    return Transcript(
        id=record.id,
        audio_filepath=record.audio_filepath,
        offset=record.offset,
        duration=measures["audio.seconds"],
        text=record.text,
        lang=record.lang,
        domain=record.domain,
        conditions=record.conditions,
        phrases=record.phrases,
        phrases_used=dict(phrases) or None,
        pred_text=text,
        heard_text=found.text if text != found.text else None,
        selected_model=found.model,
        model_path=_public_path(model),
        model_sha256=sha256.get(found.model, ""),
        rule=choice.rule,
        rule_values=choice.values,
        audio_measures={name.removeprefix("audio."): each for name, each in measures.items()},
        failed_models=dict(found.failed) or None,
        confidence=found.confidence,
        words=found.words if model.words or how.words else None,
        wer=errors.percent if errors else None,
        word_errors=errors.errors if errors else None,
        reference_words=errors.reference if errors else None,
        timings=timings,
        extra={**record.extra, **texts},
        **found.keys,
    )


def _public_path(model: ModelSettings) -> str:
    """Where the model came from, without the folders of this machine."""
    return Path(model.path).name if model.path is not None else model.source

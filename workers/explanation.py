"""What the rules of the settings make of records, without any model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from schemas.manifest import ManifestError, ManifestRecord, decode_manifest
from schemas.settings import Settings
from serve_app.audio import AudioError, AudioLoader
from serve_app.audio.measures import measure
from serve_app.selection import Choice, Selector, Tried
from workers.speech import SAMPLE_RATE


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a record.

    Attributes:
        error: why nothing would; None where something would.
        choice: the plan or model, and the rule.
        measures: of its audio.
        tried: the conditions up to the rule that held, in order.
    """

    id: str
    error: str | None = None
    choice: Choice | None = None
    measures: Mapping[str, float] = {}
    tried: list[Tried] = []


def explain_file(path: Path, settings: Settings) -> Iterator[Explanation]:
    """Explain a record, or every line of a manifest. Reads and measures the audio.

    Args:
        path: JSON of one record, over as many lines as it likes; or JSON lines.

    Raises:
        OSError: the file cannot be read.
    """
    selector = Selector(settings.routing)
    loader = AudioLoader(settings.audio)
    for number, data in enumerate(_records(path.read_bytes()), 1):
        try:
            record = decode_manifest(data, default_id=f"{path.name}:{number}")
            yield _explain(record, selector, loader)
        except ManifestError as error:
            yield Explanation(id=f"{path.name}:{number}", error=str(error))
        except AudioError as error:
            yield Explanation(id=record.id, error=str(error))


def _explain(record: ManifestRecord, selector: Selector, loader: AudioLoader) -> Explanation:
    clip = loader.load(
        record.audio_filepath,
        offset=record.offset,
        duration=record.duration,
        sample_rate=SAMPLE_RATE,
    )
    measures = measure(clip, SAMPLE_RATE, speech=selector.needs_speech)
    choice = selector.choose(record, measures)
    tried = selector.try_all(record, measures)
    held = [index for index, each in enumerate(tried) if each.rule == choice.rule]
    return Explanation(
        id=record.id,
        choice=choice,
        measures=measures,
        tried=tried[: held[-1] + 1] if held else tried,
    )


def _records(data: bytes) -> list[bytes]:
    """One object, or a line each."""
    try:
        json.loads(data)
    except ValueError:  # several of them, or wrong: the line's own error says what
        return [line for line in data.splitlines() if line.strip()]
    return [data]

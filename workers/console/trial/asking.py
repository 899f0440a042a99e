"""Ask a model or a plan for a clip, and each member of an ensemble by itself.

A transcript has the texts of an ensemble's members, without the confidences of their words. Here
somebody waits and wants to see why a word won: so each member is asked once more, for its words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.failures import RecordError
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions
from schemas.transcript import Transcript
from serve_app.audio.clip import Recording
from serve_app.router.protocol import Backend
from workers.console.utterance.network import Member

#: Longest wait for all answers, in seconds.
_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Answer:
    """What came of asking one model or plan.

    Attributes:
        target: its name; None for the rules.
        result: the transcript, or why there is none.
        members: of an ensemble, with their words.
    """

    target: str | None
    result: Transcript | RecordError
    members: tuple[Member, ...] = ()


async def ask(backend: Backend, name: str, recording: Recording, target: str | None) -> Answer:
    """Ask one model or plan.

    Args:
        backend: the Router.
        name: of the record.
        recording: the audio at `SAMPLE_RATE`.
        target: its name; None for the rules.

    Raises:
        TimeoutError: no answer in time.
    """
    async with asyncio.timeout(_TIMEOUT_S):
        result = await _transcribe(backend, name, recording, target)
        if isinstance(result, RecordError) or result.ensemble_model_count is None:
            return Answer(target, result)
        prefix = "pred_text_"
        models = [key.removeprefix(prefix) for key in result.extra if key.startswith(prefix)]
        heard = await asyncio.gather(
            *(_transcribe(backend, name, recording, model) for model in models)
        )
    return Answer(target, result, tuple(_members(models, heard)))


async def _transcribe(
    backend: Backend, name: str, recording: Recording, target: str | None
) -> Transcript | RecordError:
    record = ManifestRecord(id=name, audio_filepath=f"try/{name}")
    options = CallOptions(target=target, words=True, interactive=True)
    (result,) = await backend.transcribe([record], options, [recording])
    return result


def _members(models: Sequence[str], heard: Sequence[Transcript | RecordError]) -> list[Member]:
    return [
        Member(model, each.heard_text or each.pred_text, each.words)
        for model, each in zip(models, heard, strict=True)
        if isinstance(each, Transcript)
    ]

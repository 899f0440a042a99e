from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, cast

import numpy as np
import pytest
from msgspec.structs import replace

from schemas.requests import ClipRequest
from schemas.settings import ModelSettings
from serve_app.engines.base import Hypothesis, Language
from serve_app.engines.errors import EngineError
from serve_app.model.batcher import EngineBrokenError
from serve_app.model.protocol import ModelInfo
from serve_app.model.replica import DomainModel
from tests.serve_app.conftest import tone
from tests.standin import marked_clip, text_of


async def make(
    engine: str = "tests.standin:StandInEngine", *, identifies: bool = False, **options: Any
) -> DomainModel:
    settings = ModelSettings(engine=engine, options=options)
    model = DomainModel.__new__(DomainModel)
    # as Serve does: the constructor of a deployment may be a coroutine
    starting = model.__init__("m", settings, 60.0, identifies=identifies)  # type: ignore[misc]
    await cast(Awaitable[None], starting)
    return model


async def test_it_transcribes_and_says_who_it_is() -> None:
    model = await make()
    clips = [tone(0.3, 1), tone(0.2, 2)]
    reply = await model.transcribe(clips, 16_000)
    heard = [outcome.result for outcome in reply.outcomes]
    assert heard == [Hypothesis(text=text_of(clip), confidence=0.5) for clip in clips]
    info = await model.info()
    assert info.audio_per_s == 0.5  # half a second, in the first one
    info = replace(info, audio_per_s=0.0)
    assert info == ModelInfo(name="m", sha256=reply.sha256, device="cpu", sample_rate=16_000)
    model.check_health()


async def test_words_where_asked_for() -> None:
    model = await make()
    reply = await model.transcribe([tone()], 16_000, [ClipRequest(words=True)])
    result = reply.outcomes[0].result
    assert isinstance(result, Hypothesis)
    assert result.words is not None
    assert [word.word for word in result.words] == result.text.split()


async def test_audio_of_another_rate_is_resampled_for_the_engine() -> None:
    model = await make(sample_rate=8_000)
    reply = await model.transcribe([tone(1.0)], 16_000, [ClipRequest(words=True)])
    result = reply.outcomes[0].result
    assert isinstance(result, Hypothesis)
    assert result.words is not None
    assert result.words[-1].end == pytest.approx(1.0, abs=0.01)


async def test_languages_and_texts_come_from_the_same_queue() -> None:
    model = await make(engine="tests.standin:Polyglot", identifies=True)
    clips = [np.full(1600, value, np.float32) for value in (-0.2, 0.2)]
    languages, texts = await asyncio.gather(
        model.transcribe(clips, 16_000, [ClipRequest(identify=True)] * 2),
        model.transcribe(clips, 16_000),
    )
    assert [each.result for each in languages.outcomes] == [
        Hypothesis(text="", language=Language("de", 0.75)),
        Hypothesis(text="", language=Language("en", 0.75)),
    ]
    assert [getattr(each.result, "text", None) for each in texts.outcomes] == [
        text_of(clip) for clip in clips
    ]
    assert (await model.info()).audio_per_s == 0.2, "what was only identified is not transcribed"


async def test_a_language_model_that_identifies_none_does_not_serve() -> None:
    with pytest.raises(EngineError, match="StandInEngine identifies no languages"):
        await make(identifies=True)


async def test_a_broken_engine_is_unhealthy() -> None:
    model = await make()
    with pytest.raises(EngineBrokenError):
        await model.transcribe([marked_clip("break")], 16_000)
    with pytest.raises(EngineBrokenError):
        model.check_health()


async def test_an_engine_that_does_not_load_does_not_serve() -> None:
    with pytest.raises(EngineError, match="told to fail"):
        await make(fail_to_load=True)

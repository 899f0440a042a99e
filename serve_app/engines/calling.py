"""Call an engine so that its mistakes are its own: named, logged, and of no other clip."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from schemas.requests import ClipRequest
from serve_app.audio.clip import Clip
from serve_app.engines.base import Engine, Hypothesis, Rejection
from serve_app.engines.identifying import identified
from serve_app.engines.isolation import is_out_of_memory, run_isolated
from serve_app.engines.load import check_engine
from serve_app.engines.results import checked_results, engine_name
from serve_app.system.logs import location_of, traceback_of

logger = logging.getLogger(__name__)


def call_isolated(
    engine: Engine,
    clips: Sequence[Clip],
    requests: Sequence[ClipRequest],
    *,
    on_call: Callable[[], None] = lambda: None,
) -> list[Hypothesis | Rejection]:
    """Transcribe a batch, or identify its languages: one result per clip, in order. Blocks.

    If the engine raises or its results are not what its protocol says, the batch is halved until
    the clip at which it does so is alone; that one has a rejection with `MODEL_FAULT`, or
    `MODEL_OUT_OF_MEMORY`. The engine's traceback is logged, without its message.

    Args:
        engine: the engine.
        clips: mono float32 audio at its sample rate.
        requests: one per clip; all with `identify`, or none.
        on_call: called before each call of the engine.

    Raises:
        EngineError: the engine fails on any audio.
    """
    failed = False

    def run(pairs: Sequence[tuple[Clip, ClipRequest]]) -> list[Hypothesis | Rejection]:
        nonlocal failed
        on_call()
        try:
            return _called(engine, [clip for clip, _ in pairs], [each for _, each in pairs])
        except Exception as error:
            failed = True
            alone = len(pairs) == 1 and not is_out_of_memory(error)
            logger.warning(
                "engine %s failed on %d clips: %s",
                engine_name(engine),
                len(pairs),
                traceback_of(error) if alone else location_of(error),
            )
            raise

    results = run_isolated(
        run, list(zip(clips, requests, strict=True)), who=f"the engine {engine_name(engine)}"
    )
    if failed:
        check_engine(engine)
    return results


def _called(
    engine: Engine, clips: list[Clip], requests: list[ClipRequest]
) -> list[Hypothesis | Rejection]:
    if requests[0].identify:
        return [Hypothesis(text="", language=each) for each in identified(engine, clips)]
    return checked_results(engine.transcribe(clips, requests), len(clips))

"""Ask a model which language is spoken, for the records whose rules depend on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec.structs import replace

from schemas.failures import ErrorCode
from schemas.manifest import ManifestRecord
from schemas.requests import CallOptions, ClipRequest
from schemas.settings import LANGUAGE
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.audio.reading import Loaded
from serve_app.engines.base import Hypothesis
from serve_app.engines.whisper_options import WINDOW_S
from serve_app.model.protocol import ModelError, Outcome
from serve_app.router.state import ActiveRecord, RouterState

logger = logging.getLogger(__name__)

#: Samples of a clip's beginning that are sent: no more are listened to.
_MOST = int(WINDOW_S * SAMPLE_RATE)


@dataclass(eq=False)
class Unrouted:
    """A record whose audio is read, and whose plan has not been chosen.

    Attributes:
        index: its place in the list.
        record: the record.
        loaded: its audio and measures.
        options: of the call, for this record.
    """

    index: int
    record: ManifestRecord
    loaded: Loaded
    options: CallOptions


class Identification(NamedTuple):
    """What became of asking for the language of a record.

    Attributes:
        model: that was asked.
        failure: error code of the reason why there is no answer; None if there is one.
        queue_ms: time in the queue.
        model_ms: time in the model.
    """

    model: str
    failure: ErrorCode | None = None
    queue_ms: float = 0.0
    model_ms: float = 0.0

    def note(self, item: ActiveRecord) -> None:
        """Note it for the transcript, apart from what the model does in a plan."""
        item.queue_ms[LANGUAGE] = self.queue_ms
        item.model_ms[LANGUAGE] = self.model_ms
        if self.failure is not None:
            item.failed[self.model] = self.failure.value


class LanguageCalls:
    """Identifies the languages of one list of records. Never fails: a language may be unknown.

    Args:
        state: of the Router.
        begin: takes records with what became of them; the measures of those whose language was
            identified have it.
        fail: takes what no call may raise.
    """

    def __init__(
        self,
        state: RouterState,
        *,
        begin: Callable[[Sequence[tuple[Unrouted, Identification]]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self._state = state
        self._begin = begin
        self._fail = fail
        self._group: list[Unrouted] = []  # not yet sent
        self._asked: dict[asyncio.Task[None], list[Unrouted]] = {}

    def add(self, item: Unrouted) -> bool:
        """Take a record if its rules depend on the language; False if they do not."""
        if item.options.target is not None:
            return False
        if not self._state.selector.needs_language(item.record, item.loaded.measures):
            return False
        self._group.append(item)
        return True

    def send(self) -> None:
        """Ask for the languages of what waits, in one call."""
        if self._group:
            group, self._group = self._group, []
            call = asyncio.create_task(self._call(group))
            self._asked[call] = group
            call.add_done_callback(self._end_call)

    def cancel(self) -> list[Unrouted]:
        """Give up the calls; returns the records that have not begun."""
        for call in self._asked:
            call.cancel()
        return [*self._group, *(item for group in self._asked.values() for item in group)]

    def _end_call(self, call: asyncio.Task[None]) -> None:
        self._asked.pop(call, None)
        if not call.cancelled() and (fault := call.exception()) is not None:
            self._fail(fault)

    async def _call(self, group: list[Unrouted]) -> None:
        routing = self._state.settings.routing
        model = str(routing.language_model)
        clips = [item.loaded.clip[:_MOST] for item in group]
        requests = [
            ClipRequest(identify=True, interactive=item.options.interactive) for item in group
        ]
        try:
            async with asyncio.timeout(routing.language_timeout_s):
                reply = await self._state.models[model].transcribe(clips, SAMPLE_RATE, requests)
        except (ModelError, TimeoutError) as error:
            code = error.code if isinstance(error, ModelError) else ErrorCode.MODEL_TIMEOUT
            logger.warning("languages of %d clips are unknown: %s: %s", len(group), model, code)
            found = [Identification(model, code)] * len(group)
        else:
            found = [
                _heard(model, item, outcome)
                for item, outcome in zip(group, reply.outcomes, strict=True)
            ]
        begun = list(zip(group, found, strict=True))
        group.clear()  # `begin` owns them from here on
        self._begin(begun)


def _heard(model: str, item: Unrouted, outcome: Outcome) -> Identification:
    """Add the language to the measures of a record."""
    result = outcome.result
    if not isinstance(result, Hypothesis):
        logger.warning("record %s: its language is unknown: %s", item.record.id, result.code)
        return Identification(model, result.code, outcome.queue_ms, outcome.model_ms)
    if result.language is not None:
        measures = {**item.loaded.measures, **result.language.measures}
        item.loaded = replace(item.loaded, measures=measures)
    return Identification(model, None, outcome.queue_ms, outcome.model_ms)

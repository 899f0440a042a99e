"""What is measured of a Router: at the end of each list, over all of its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.failures import RecordError
from schemas.transcript import Transcript
from serve_app.router.results import Result
from serve_app.telemetry import definitions as defined
from serve_app.telemetry.definitions import Metric
from serve_app.telemetry.instruments import Instruments, NoInstruments

#: Share of clipped samples from which on they can be heard, as in the presets of `chorus init`.
_CLIPPED = 0.001


class RouterMeter:
    """Measures one Router.

    Args:
        instruments: of the process.
    """

    def __init__(self, instruments: Instruments | None = None) -> None:
        self._instruments = instruments or NoInstruments()
        self._off = isinstance(self._instruments, NoInstruments)
        self._lists = 0

    def begin(self, audio_bytes: int) -> None:
        """A list has come.

        Args:
            audio_bytes: decoded audio that is held.
        """
        self._look(1, audio_bytes)

    def end(self, results: Sequence[Result], audio_bytes: int) -> None:
        """A list has ended; see `begin`.

        Args:
            results: of its records.
            audio_bytes: likewise.
        """
        self._look(-1, audio_bytes)
        if self._off:
            return
        counts: Counter[tuple[Metric, tuple[str, ...]]] = Counter()
        seconds = 0.0
        for result in results:
            if isinstance(result, RecordError):
                counts[defined.ROUTER_FAILURES, (result.failure.value, result.code.value)] += 1
            else:
                seconds += result.transcribed_seconds
                self._observe(result)
                _count(result, counts)
        for (metric, labels), count in counts.items():
            self._instruments.add(metric, count, *labels)
        self._instruments.add(defined.ROUTER_AUDIO, seconds)

    def _look(self, change: int, audio_bytes: int) -> None:
        self._lists += change
        self._instruments.set(defined.ROUTER_CALLS, self._lists)
        self._instruments.set(defined.AUDIO_HELD, audio_bytes)

    def _observe(self, result: Transcript) -> None:
        observe, times, measures = self._instruments.observe, result.timings, result.audio_measures
        observe(defined.STAGE, times.audio_ms / 1e3, "audio")
        observe(defined.STAGE, times.queue_ms / 1e3, "queue")
        observe(defined.STAGE, times.model_ms / 1e3, "model")
        observe(defined.STAGE, times.total_ms / 1e3, "total")
        observe(defined.DURATION, result.duration)
        if result.confidence is not None:
            observe(defined.CONFIDENCE, result.confidence, result.selected_model)
        if isinstance(snr := measures.get("snr_db"), float | int):
            observe(defined.SNR, snr)
        if isinstance(bandwidth := measures.get("bandwidth_hz"), float | int):
            observe(defined.BANDWIDTH, bandwidth)


def _count(result: Transcript, counts: Counter[tuple[Metric, tuple[str, ...]]]) -> None:
    model = result.selected_model
    counts[defined.ROUTES, (result.rule, result.plan or model)] += 1
    if result.fallback_from:
        counts[defined.FALLBACKS, (result.fallback_from,)] += 1
    for failed, code in (result.failed_models or {}).items():
        counts[defined.MEMBERS_FAILED, (failed, code)] += 1
    if result.ensemble_model_count:
        heard = result.heard_text or result.pred_text
        for key, text in result.extra.items():
            if key.startswith(_MEMBER):
                same = "yes" if text == heard else "no"
                counts[defined.MEMBER_TEXTS, (key.removeprefix(_MEMBER), same)] += 1
    if result.arm:
        counts[defined.ARMS, (model, result.arm)] += 1
    if not result.pred_text:
        counts[defined.EMPTY_TEXTS, (model,)] += 1
    clipping = result.audio_measures.get("clipping")
    if isinstance(clipping, float | int) and clipping > _CLIPPED:
        counts[defined.CLIPPED, ()] += 1


_MEMBER = "pred_text_"

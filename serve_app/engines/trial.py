"""Load a model and transcribe with it in a process of its own, which may crash without harm."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from schemas.channels import OneChannel
from schemas.settings import AudioSettings, ModelSettings
from serve_app.engines.apart import TIMEOUT_S, own_output, run_apart
from serve_app.engines.errors import EngineError, cause_of
from serve_app.system.memory import peak_bytes

if TYPE_CHECKING:
    from serve_app.audio.clip import Clip
    from serve_app.engines.base import Engine

#: The speech is transcribed again and again, for so many seconds or times: the fastest pass is the
#: one that other work on the machine held up least.
_PASSES_S, _PASSES = 3.0, 30
#: Seconds of each sound in which nobody speaks.
_QUIET_S = 3.0
#: Level of faint noise, as of a quiet room: -60 dB.
_FAINT = 1e-3


class TrialClip(msgspec.Struct, frozen=True):
    """Speech for a trial.

    Attributes:
        path: absolute path of its recording.
        offset: where it begins, in seconds.
        duration: in seconds; None to the end of the recording.
        channel: as in a manifest record.
        language: of its record; None without one.
    """

    path: str
    offset: float = 0.0
    duration: float | None = None
    channel: OneChannel | None = None
    language: str | None = None


def load_clips(speech: Sequence[TrialClip], sample_rate: int) -> list[Clip]:
    """The samples of each clip, float32 mono at `sample_rate` hertz, shape [samples].

    Raises:
        AudioError: a recording cannot be read.
    """
    from serve_app.audio import AudioLoader

    loader = AudioLoader(AudioSettings(roots=["/"]))
    return [
        loader.load(
            each.path,
            offset=each.offset,
            duration=each.duration,
            channel=each.channel,
            sample_rate=sample_rate,
        )
        for each in speech
    ]


class TrialReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of a model in its trial.

    Attributes:
        model_class: NeMo's class, or ``package.module:Class`` of another engine.
        parameters: how many it has; None where the engine does not say.
        device: "cpu" or "cuda".
        sample_rate: of the engine, in hertz.
        import_seconds: time to import the libraries.
        load_seconds: time to load the model after that, with the first second of noise.
        peak_bytes: most memory that the process had at once.
        gpu_bytes: most GPU memory of tensors; 0 without a GPU.
        audio_seconds: length of the speech.
        seconds: time of transcribing it, in the fastest pass; 0 without speech.
        texts: of each clip; None where the engine gave none.
        rejections: why it gave none, for each such clip.
        quiet_texts: what it hears in silence and in faint noise; empty without speech.
    """

    model_class: str
    parameters: int | None
    device: str
    sample_rate: int
    import_seconds: float
    load_seconds: float
    peak_bytes: int
    gpu_bytes: int = 0
    audio_seconds: float = 0.0
    seconds: float = 0.0
    texts: list[str | None] = []
    rejections: list[str] = []
    quiet_texts: list[str] = []


class _Job(msgspec.Struct, frozen=True):
    settings: ModelSettings
    speech: Sequence[TrialClip]


def try_model(
    settings: ModelSettings,
    speech: Sequence[TrialClip] = (),
    *,
    gpu: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> TrialReport:
    """Try whether a model loads and transcribes. Blocks while another process does that.

    Args:
        settings: of the model.
        speech: what it transcribes besides a second of noise.
        gpu: whether the process sees the GPU, if there is one.
        timeout_s: longest time.

    Raises:
        EngineError: it does not; the message says why.
    """
    job = msgspec.json.encode(_Job(settings, speech))
    ended = run_apart(__name__, job, gpu=gpu, timeout_s=timeout_s)
    if ended.code == 0:
        return msgspec.json.decode(ended.output, type=TrialReport)
    if ended.limit:
        raise EngineError(f"its trial {ended.limit}")
    reason = ended.output.decode(errors="replace").strip()
    raise EngineError(reason or f"its trial ended with exit code {ended.code}")


def _try(job: _Job) -> TrialReport:
    begin = time.perf_counter()
    from serve_app.engines.load import check_engine, import_engine, load_engine
    from serve_app.engines.results import engine_name

    import_engine(job.settings)
    imported = time.perf_counter()
    engine = load_engine(job.settings)
    check_engine(engine)
    report = TrialReport(
        model_class=getattr(engine, "model_class", engine_name(engine)),
        parameters=getattr(engine, "parameters", None),
        device=engine.device,
        sample_rate=engine.sample_rate,
        import_seconds=round(imported - begin, 3),
        load_seconds=round(time.perf_counter() - imported, 3),
        peak_bytes=peak_bytes(),
    )
    if job.speech:
        report = _with_speech(report, engine, job.speech)
    return msgspec.structs.replace(report, peak_bytes=peak_bytes(), gpu_bytes=_gpu_bytes())


def _with_speech(report: TrialReport, engine: Engine, speech: Sequence[TrialClip]) -> TrialReport:
    import numpy as np

    from schemas.requests import DEFAULT_REQUEST, ClipRequest
    from serve_app.audio import AudioError
    from serve_app.engines.base import Hypothesis, Rejection
    from serve_app.engines.calling import call_isolated

    rate = engine.sample_rate
    try:
        clips = load_clips(speech, rate)
    except AudioError as error:
        raise EngineError(f"the speech of the trial: {error}") from error

    def hear() -> list[Hypothesis | Rejection]:
        return call_isolated(
            engine, clips, [ClipRequest(language=each.language) for each in speech]
        )

    heard = hear()  # the first pass sets things up, and is not timed
    passes: list[float] = []
    while sum(passes) < _PASSES_S and len(passes) < _PASSES:
        begin = time.perf_counter()
        heard = hear()
        passes.append(time.perf_counter() - begin)
    noise = np.random.default_rng(0).normal(0, _FAINT, int(_QUIET_S * rate)).astype(np.float32)
    quiet = call_isolated(engine, [np.zeros_like(noise), noise], [DEFAULT_REQUEST] * 2)
    return msgspec.structs.replace(
        report,
        audio_seconds=round(sum(map(len, clips)) / rate, 3),
        seconds=round(min(passes), 6),
        texts=[each.text if isinstance(each, Hypothesis) else None for each in heard],
        rejections=[each.message for each in heard if isinstance(each, Rejection)],
        quiet_texts=[each.text for each in quiet if isinstance(each, Hypothesis)],
    )


def _gpu_bytes() -> int:
    torch = sys.modules.get("torch")  # not imported for an engine that does without
    return int(torch.cuda.max_memory_allocated()) if torch and torch.cuda.is_available() else 0


def _main() -> int:
    output = own_output()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=_Job)
    try:
        report = _try(job)
    except Exception as error:
        os.write(output, cause_of(error).encode())
        return 1
    with os.fdopen(output, "wb") as file:
        file.write(msgspec.json.encode(report))
    return 0


if __name__ == "__main__":
    sys.exit(_main())

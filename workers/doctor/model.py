"""Examine one model: load it in a process of its own, and judge what was seen there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from schemas.settings import Settings, ValidationSettings
from serve_app.audio.clip import SAMPLE_RATE
from serve_app.cluster.shares import replicas_of
from serve_app.engines.errors import EngineError
from serve_app.engines.trial import TrialReport, try_model
from serve_app.system.memory import available_bytes
from serve_app.system.sizes import size_text
from workers.doctor.accuracy import Heard, against_baseline, judged, silence, speech
from workers.doctor.causes import failure_of
from workers.doctor.clips import as_trial, read_clips
from workers.doctor.finding import Finding, ok, warning
from workers.doctor.gpu import gpu_devices
from workers.evaluation.systems.base import ModelSystem, System
from workers.evaluation.systems.naming import as_systems, roots_of, split_name


def examine_model(
    model: str,
    *,
    baseline: str | None = None,
    manifest: Path | None = None,
    skip_faults: bool = False,
    settings: Settings | None = None,
) -> Iterator[Finding]:
    """Examine a model. Blocks for seconds to minutes, and yields findings as they are made.

    Args:
        model: what to examine, as `workers.evaluation.compare` takes it; not a plan.
        baseline: another model that it is compared with.
        manifest: speech with references; the shipped clips unless given.
        skip_faults: leave out invalid lines of the manifest.
        settings: models by name, and the thresholds of `validation`.

    Raises:
        ValueError: there is no such model, it is a plan, or lines of the manifest are at fault.
        OSError: the manifest or the registry cannot be read.
    """
    named = [model] if baseline is None else [model, baseline]
    systems = [_single(each) for each in as_systems(named, _without_others(settings, named))]
    utterances = read_clips(manifest, roots_of(settings), skip_faults=skip_faults)
    thresholds = settings.validation if settings is not None else ValidationSettings()
    clips = as_trial(utterances)
    try:
        report = try_model(systems[0].settings, clips, gpu=True)
    except EngineError as error:
        yield failure_of("load", str(error))
        return
    yield from loaded(systems[0], report)
    heard = Heard(systems[0].name, report, systems[0].rules)
    yield from speech(heard, utterances, shipped=manifest is None)
    yield silence(report.quiet_texts)
    other = None
    if baseline is not None:
        try:
            found = try_model(systems[1].settings, clips, gpu=True)
        except EngineError as error:
            yield failure_of("baseline", str(error))
        else:
            other = Heard(systems[1].name, found, systems[1].rules)
            yield against_baseline(heard, other, utterances)
    if manifest is None:  # limits of the words in one's own test set say nothing of other speech
        thresholds = msgspec.structs.replace(thresholds, max_wer=None, max_cer=None)
    yield from judged(heard, other, utterances, thresholds)


def loaded(system: ModelSystem, report: TrialReport) -> Iterator[Finding]:
    """What loading the model showed: its kind, its times, its memory, its device and its rate."""
    size = f", {report.parameters / 1e6:.1f} M parameters" if report.parameters else ""
    yield ok(
        "load",
        f"{system.name}: {report.model_class}{size}; {report.import_seconds:.1f} s to import, "
        f"{report.load_seconds:.1f} s to load",
    )
    yield memory(report, replicas_of(system.settings))
    yield device(report, gpu_devices())
    yield sample_rate(report.sample_rate)


def memory(report: TrialReport, replicas: int, free: int | None = None) -> Finding:
    """Whether the model's replicas fit the memory that is free.

    Args:
        report: of its trial.
        replicas: how many there may be.
        free: bytes; what is free now, unless given.
    """
    free = available_bytes() if free is None else free
    said = f"{size_text(report.peak_bytes)} at most"
    if report.gpu_bytes:
        said += f", and {size_text(report.gpu_bytes)} of the GPU's"
    needed = report.peak_bytes * replicas
    if replicas > 1:
        said += f"; {size_text(needed)} for {replicas} replicas"
    if needed <= free:
        return ok("memory", f"{said}; {size_text(free)} are free")
    return warning(
        "memory",
        f"{said}, but {size_text(free)} are free",
        next="lower `replicas` (or `autoscaling.max_replicas`), or give the machine more memory",
    )


def device(report: TrialReport, gpus: int) -> Finding:
    """Whether the model runs on the GPU of a machine that has one.

    Args:
        report: of its trial.
        gpus: how many the machine has, seen by torch or not.
    """
    if report.device == "cuda" or not gpus:
        return ok("device", report.device)
    return warning(
        "device",
        f"{report.device}, although this machine has a GPU",
        cause="torch does not see it: CUDA_VISIBLE_DEVICES, the driver, or a torch for CPUs",
        next="`chorus doctor` looks at the GPUs; an engine of your own must ask for it itself",
    )


def sample_rate(rate: int) -> Finding:
    """What the model's sample rate, in hertz, means for 16 kHz audio."""
    if rate == SAMPLE_RATE:
        return ok("sample rate", f"{rate} Hz")
    if rate < SAMPLE_RATE:
        return warning(
            "sample rate",
            f"{rate} Hz: what is above {rate // 2} Hz in the audio is not heard",
            cause="a model for telephone speech",
            next="route telephone speech to it (by `audio.bandwidth_hz`), and other speech to a "
            "model for 16 kHz",
        )
    return warning(
        "sample rate",
        f"{rate} Hz, but audio is decoded to {SAMPLE_RATE} Hz: there is nothing above "
        f"{SAMPLE_RATE // 2} Hz",
        cause="a model that was trained on other audio than it will get",
        next="compare it with a model for 16 kHz (`--baseline`)",
    )


def _without_others(settings: Settings | None, named: Sequence[str]) -> Settings | None:
    """The settings without other registered models, whose aliases may be at fault themselves."""
    if settings is None:
        return None
    wanted = {split_name(each)[1] for each in named}
    models = {
        name: model
        for name, model in settings.models.items()
        if name in wanted or model.model is None
    }
    return msgspec.structs.replace(settings, models=models)


def _single(system: System) -> ModelSystem:
    if isinstance(system, ModelSystem):
        return system
    raise ValueError(f"{system.name} is no single model; examine the models that it uses")

"""The section `models`: what each model is, where it runs, and how it transcribes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from schemas.model_card import MODEL_FILE
from schemas.model_reference import Reference
from schemas.settings.types import (
    Fault,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    Strict,
    under,
)
from schemas.settings.values import read_by
from schemas.shares import share_of

#: Stands before the name of a pretrained model where a file could be named as well.
PRETRAINED = "pretrained:"
#: Engines that are built in, besides NeMo's; their models are folders.
FOLDER_ENGINES = ("transformers", "faster-whisper")
#: The engines that are part of Chorus.
BUILT_IN = frozenset({"nemo", *FOLDER_ENGINES})
#: Most phrases of a model. NeMo takes minutes to build a tree of more, and each helps less.
MAX_MODEL_PHRASES = 5_000


class Autoscaling(Strict):
    """Replicas by load: see docs/scaling.md.

    What waits in Kafka for the model counts (`stream.catch_up_s`), and other calls in progress.

    Attributes:
        min_replicas: fewest replicas; 0 stops the model while nobody uses it.
        max_replicas: most replicas.
        target_ongoing_requests: calls in progress per replica to aim at; those of streams count
            by what waits instead.
        upscale_delay_s: seconds that the load must stay high before replicas are added.
        downscale_delay_s: seconds that the load must stay low before replicas are removed.
    """

    min_replicas: Annotated[int, msgspec.Meta(ge=0)] = 1
    max_replicas: PositiveInt = 4
    target_ongoing_requests: PositiveFloat = 2.0
    upscale_delay_s: NonNegativeFloat = 10.0
    downscale_delay_s: NonNegativeFloat = 300.0


class ModelSettings(Strict):
    """One domain model.

    Attributes:
        engine: "nemo"; "transformers" for Whisper, wav2vec 2.0 and Parakeet in the format of
            Hugging Face Transformers; "faster-whisper" for Whisper models in CTranslate2's format;
            or "package.module:Class" for an engine of your own (docs/engines.md), found on the
            Python path and in the folder that the command is run in.
        required: whether `chorus serve` needs it: otherwise, where it does not load, the others
            start without it, plans use their fallbacks, and records that nothing else can
            transcribe fail with `model_missing`.
        path: local model file (`.nemo`), the folder of a version that `chorus finetune` made, or,
            for "transformers" and "faster-whisper", the folder of the model; relative to the
            settings file.
        pretrained: name of a pretrained NeMo model, fetched from its hub. Instead of `path`.
        model: name of a version in the registry: `NAME@ALIAS`, `NAME:VERSION`, or `NAME` for its
            alias `production`. Instead of `path`. Where an alias moves, replicas load the version
            that it names then, and go on serving meanwhile.
        swap: how they change to another version: "beside" loads it while the old one goes on
            serving, which takes the memory of two; "drain" stops the old one first, so that clips
            wait for as long as the new one loads.
        sha256: expected SHA-256 digest of the file at `path`, or of the list of the files in its
            folder, as in its card; loading refuses another one.
        gpu_fraction: share of a GPU per replica; ignored on a machine without a GPU.
        num_cpus: CPU cores per replica.
        replicas: fixed number of replicas, unless `autoscaling` is given.
        autoscaling: number of replicas by load, instead of `replicas`.
        batch_seconds: most seconds of padded audio (clips times the longest clip) in one batch.
        interactive_share: share of the model's time that HTTP requests may take while records
            of the stream wait; within it they go first.
        split_seconds: longer audio is split at silences into pieces of at most this many
            seconds.
        dtype: number format that the model computes in; "auto" is float32 on a CPU and bfloat16
            on a GPU.
        head: which head of a hybrid model decodes; "auto" is the model's default (RNNT/TDT, and
            AED, the only one, of a multitask model).
        threads: CPU threads of the model; 0 takes `num_cpus`, at least one.
        confidence: whether word and utterance confidences are computed.
        words: whether every result contains its words with their times.
        text_rules: name of the entry of `text_rules` that the model's texts are written by.
        phrases: words and phrases that the model favours (names, drugs, terms), spelled as the
            model spells them; "nemo" only.
        phrase_weight: how strongly `phrases` are favoured; too high a weight hears them where
            nobody said them.
        options: those of the engine "transformers" (docs/transformers.md), of "faster-whisper", or
            of a NeMo model that is told the language (docs/models.md); passed unchanged to an
            engine of your own.
    """

    engine: str = "nemo"
    required: bool = True
    path: str | None = None
    pretrained: str | None = None
    model: Reference | None = None
    swap: Literal["beside", "drain"] = "beside"
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")] | None = None
    gpu_fraction: Annotated[float, read_by(share_of, gt=0, le=8)] = 0.2
    num_cpus: NonNegativeFloat = 1.0
    replicas: PositiveInt = 1
    autoscaling: Autoscaling | None = None
    batch_seconds: PositiveFloat = 120.0
    interactive_share: Probability = 0.75
    split_seconds: Annotated[float, msgspec.Meta(ge=2)] = 40.0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    head: Literal["auto", "ctc", "rnnt", "aed"] = "auto"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    confidence: bool = True
    words: bool = False
    text_rules: str | None = None
    phrases: Annotated[list[str], msgspec.Meta(max_length=MAX_MODEL_PHRASES)] = []
    phrase_weight: Annotated[float, msgspec.Meta(gt=0, le=5)] = 0.5
    options: dict[str, Any] = {}

    @property
    def source(self) -> str:
        """Where the model comes from, as the settings say it."""
        return self.path or self.pretrained or self.model or self.engine

    @property
    def may_sleep(self) -> bool:
        """Whether it has no replica while nobody uses it."""
        return self.autoscaling is not None and self.autoscaling.min_replicas == 0


def model_faults(
    models: Mapping[str, ModelSettings], text_rules: Collection[str], base: Path | None
) -> Iterator[Fault]:
    """What contradicts itself in the section, or names what does not exist.

    Args:
        models: the section.
        text_rules: names of the text rules that the settings define.
        base: folder that relative paths are relative to; None if files are not looked for.
    """
    for name, model in models.items():
        faults = chain(
            _source_faults(model, base),
            _text_rules_faults(model, text_rules),
            _autoscaling_faults(model.autoscaling),
        )
        yield from under(f"models.{name}", faults)


def _source_faults(model: ModelSettings, base: Path | None) -> Iterator[Fault]:
    if model.engine == "nemo":
        if [model.path, model.pretrained, model.model].count(None) != 2:
            yield (
                "",
                "give one of `path` (a .nemo file), `pretrained` and `model` (registered)",
            )
        elif base is not None and model.path and not model_file(base / model.path).is_file():
            yield ".path", _no_model(base, model.path)
    elif model.engine in FOLDER_ENGINES:
        yield from _folder_faults(model, base)
    elif not re.fullmatch(r"[\w.]+:\w+", model.engine):
        known = ", ".join(f"`{each}`" for each in ("nemo", *FOLDER_ENGINES))
        yield ".engine", f"`{model.engine}` is neither {known} nor `package.module:Class`"


def _folder_faults(model: ModelSettings, base: Path | None) -> Iterator[Fault]:
    if model.pretrained is not None:
        yield ".pretrained", "names a NeMo model; give the folder of a downloaded one as `path`"
    elif (model.path is None) == (model.model is None):
        yield "", "give one of `path` (the folder of a model) and `model` (registered)"
    elif base is not None and model.path and not (base / model.path).is_dir():
        yield ".path", f"no such folder: {model.path}"
    elif base is not None and model.path and not (base / model.path / "config.json").is_file():
        yield ".path", f"the folder {model.path} has no config.json of a model for {model.engine}"
    if model.phrases:
        yield ".phrases", f"the engine `{model.engine}` cannot favour phrases; remove them"
    if model.head != "auto":
        yield ".head", f"the engine `{model.engine}` has models of one head; leave it out"


def model_file(path: Path) -> Path:
    """The model file that `path` names: itself, or the model of a version's folder."""
    return path / MODEL_FILE if path.is_dir() else path


def _no_model(base: Path, path: str) -> str:
    folder = base / path
    if not folder.is_dir():
        return f"no such file: {path}"
    versions = sorted(each.parent.name for each in folder.glob(f"*/{MODEL_FILE}"))
    within = f"; it has the versions {', '.join(versions)}: name one" if versions else ""
    return f"the folder {path} has no {MODEL_FILE}{within}"


def _text_rules_faults(model: ModelSettings, defined: Collection[str]) -> Iterator[Fault]:
    if model.text_rules is not None and model.text_rules not in defined:
        known = ", ".join(defined) or "none"
        yield ".text_rules", f"no rules `{model.text_rules}`; defined are: {known}"


def _autoscaling_faults(scaling: Autoscaling | None) -> Iterator[Fault]:
    if scaling is not None and scaling.min_replicas > scaling.max_replicas:
        yield ".autoscaling", "`min_replicas` is greater than `max_replicas`"

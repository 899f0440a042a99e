"""A recipe: what to train, on what, for how long and how. The one definition of every option.

A recipe is a YAML or JSON file, the options of `chorus finetune`, or both; its keys are the names
of the options. This module imports little, since the command's help shows what is described here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from schemas.decoding import reason_and_key, with_known

#: The configuration that the base `small` stands for: a FastConformer CTC model of 1.7 M parameters
#: that learns on a CPU.
SMALL = Path(__file__).with_name("small.yaml")
#: Tokens of the vocabulary of a new model, unless `new_vocabulary` says otherwise.
DEFAULT_PIECES = 128

Count = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]

#: Exactly one of these keys is given.
BUDGET = ("steps", "epochs", "minutes")


class RecipeError(ValueError):
    """A recipe is wrong or incomplete; the message names the file and the key."""


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An unknown key is an error: a typo must not become a default."""


class Mix(_Options, frozen=True, kw_only=True):
    """Further training data."""

    manifest: Annotated[Path, Meta(description="NeMo manifest.")]
    share: Annotated[
        float, Meta(gt=0, lt=1, description="Part of the utterances of a pass that are its own.")
    ]
    limit: Annotated[
        Count | None,
        Meta(description="Only this many utterances, from the start of the manifest."),
    ] = None


class Augmentation(_Options, frozen=True, kw_only=True):
    """What is changed at random each time a clip is used; each field has its description."""

    # it also moves pitch and formants: more speakers from few (Ko et al., 2015)
    speed: Annotated[
        float,
        Meta(ge=0, lt=1, description="Play clips up to this much faster or slower (0.1 is 10%)."),
    ] = 0.0
    tempo: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Make speech up to this much faster or slower, without changing the voice.",
        ),
    ] = 0.0
    rooms: Annotated[
        float, Meta(ge=0, le=1, description="Share of the clips that get reverberation.")
    ] = 0.0
    equaliser: Annotated[
        float,
        Meta(
            ge=0,
            description="Simulate another microphone for each clip: standard deviation of its "
            "frequency response, in dB.",
        ),
    ] = 0.0
    # less where what is to be transcribed is cut tightly
    silence: Annotated[
        float, Meta(ge=0, description="Most seconds of silence added at either end of a clip.")
    ] = 0.2
    # less than all where clean recordings have a narrow band: noise fills what will be empty
    noise: Annotated[
        float, Meta(ge=0, le=1, description="Share of the clips that get added noise.")
    ] = 1.0
    lowest_snr: Annotated[
        float, Meta(description="Lowest signal-to-noise ratio of the added noise, in dB.")
    ] = 25.0
    coloured: Annotated[
        bool, Meta(description="Whether the added noise may be pink or brown too, not only white.")
    ] = False


class Recipe(Augmentation, frozen=True, kw_only=True):
    """What to train, on what, for how long and how; each field has its description.

    Raises:
        ValueError: not exactly one of `epochs`, `minutes` and `steps` is given, or `name` cannot
            be the name of a model.
    """

    base: Annotated[
        Path,
        Meta(
            description="Model to start from: a .nemo file, the folder of a fine-tuned version, or "
            "pretrained:NAME; or `small`, or a model configuration as .yaml, to train from scratch."
        ),
    ]
    train: Annotated[list[Path], Meta(description="NeMo manifest to train on; repeatable.")]
    validation: Annotated[
        Path, Meta(description="NeMo manifest whose WER decides which weights are kept.")
    ]
    domain: Annotated[str, Meta(description="What the model is for: medical, legal, ...")]
    output: Annotated[Path, Meta(description="Folder of models.")] = Path("models")
    name: Annotated[
        str, Meta(description="Name of the model; if left out, that of the domain.")
    ] = ""
    mix: Annotated[
        list[Mix],
        Meta(
            description="Further training data and its share, against forgetting, such as "
            "general.jsonl=0.1; repeatable."
        ),
    ] = []
    test: Annotated[
        list[Path],
        Meta(description="NeMo manifest to measure before and after training; repeatable."),
    ] = []

    epochs: Annotated[
        Positive | None, Meta(description="Train for this many passes through the data.")
    ] = None
    minutes: Annotated[Positive | None, Meta(description="Train for this many minutes.")] = None
    steps: Annotated[Count | None, Meta(description="Train for this many optimizer steps.")] = None

    learning_rate: Annotated[float, Meta(gt=0, description="Highest learning rate.")] = 1e-3
    warm_up: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Part of the budget in which the learning rate rises to its peak.",
        ),
    ] = 0.06
    weight_decay: Annotated[float, Meta(ge=0, description="Weight decay of AdamW.")] = 1e-3
    gradient_clip: Annotated[float, Meta(ge=0, description="Largest norm of the gradient.")] = 5.0
    batch_seconds: Annotated[
        float, Meta(gt=0, description="Padded seconds in a batch, for each process.")
    ] = 48.0
    check_every: Annotated[
        int, Meta(ge=1, description="Steps between checks, each a checkpoint and a WER.")
    ] = 250
    patience: Annotated[
        Count | None, Meta(description="Stop after this many checks without a better WER.")
    ] = None
    short_first: Annotated[
        int,
        Meta(
            ge=0,
            description="First steps that use short clips only, for a model trained from scratch.",
        ),
    ] = 0
    max_seconds: Annotated[
        float, Meta(gt=0, description="Longest utterance to train on, in seconds.")
    ] = 30.0
    seed: Annotated[int, Meta(description="Seed of data order and augmentation.")] = 1

    new_vocabulary: Annotated[
        Count | None,
        Meta(
            description="Replace the model's tokens by this many new ones, made from the training "
            "texts.",
        ),
    ] = None
    vocabulary: Annotated[
        list[Path],
        Meta(
            description="Manifests whose texts the new tokens are made from, instead of the "
            "training texts."
        ),
    ] = []
    plain_texts: Annotated[
        bool, Meta(description="Train on texts in lower case, without punctuation.")
    ] = False
    preprocessor: Annotated[
        dict[str, Any],
        Meta(
            description="Another setting of NeMo's preprocessor than the base model has, such as "
            "normalize=all_features for clips of one word; repeatable."
        ),
    ] = {}

    devices: Annotated[int, Meta(ge=1, description="Number of GPUs, or of processes on a CPU.")] = 1
    accelerator: Annotated[str, Meta(description="What to train on: auto, cpu or gpu.")] = "auto"
    precision: Annotated[
        str,
        Meta(
            description="Number format of the training: auto (bfloat16 on a GPU), 32-true, "
            "bf16-mixed or 16-mixed."
        ),
    ] = "auto"
    half_precision: Annotated[
        bool, Meta(description="Store the weights in 16 bits: half the size.")
    ] = False

    def __post_init__(self) -> None:
        from schemas.settings import NAME_PATTERN
        from serve_app.registry.registry import RESERVED

        if sum(getattr(self, key) is not None for key in BUDGET) != 1:
            raise ValueError("give one of --epochs, --minutes and --steps")
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.domain)
        if not re.fullmatch(NAME_PATTERN, self.name):
            raise ValueError(f"a model cannot be called {self.name!r}: use a-z, 0-9, _ . -")
        if self.name in RESERVED:
            raise ValueError(f"a model cannot be called {self.name!r}: the registry uses that name")


def check_base(base: Path) -> None:
    """Refuse a base that is neither a file nor a pretrained model, before anything is imported.

    Raises:
        RecipeError: it is neither.
    """
    from schemas.settings import PRETRAINED

    if not base.is_file() and not str(base).startswith(PRETRAINED):
        raise RecipeError(
            f"base: {base}: no such file; a pretrained model is named {PRETRAINED}NAME"
        )


def load_recipe(file: Path | None, options: Mapping[str, Any] | None = None) -> Recipe:
    """The recipe in a file, with `options` in place of what it says.

    Args:
        file: YAML, or JSON where it ends in `.json`; relative paths in it are relative to its
            folder. None for a recipe of options only.
        options: by field; each replaces the whole field of the file, and any budget its budget.

    Raises:
        RecipeError: the file cannot be read or is no mapping; a key is unknown, missing or has
            the wrong type; the recipe contradicts itself.
    """
    from schemas.settings import PRETRAINED

    given = dict(options or {})
    found, line_of = ({}, None) if file is None else _read(file)
    if not given.keys().isdisjoint(BUDGET):
        found = {key: value for key, value in found.items() if key not in BUDGET}
    merged = found | given
    from schemas.settings.models import model_file

    required = [each.name for each in msgspec.structs.fields(Recipe) if each.required]
    missing = [key for key in required if key not in merged]
    if missing:
        raise RecipeError(
            f"{', '.join(missing)}: missing; give it on the command line or in the recipe"
        )
    if str(merged["base"]) == "small":
        merged["base"] = SMALL
    folder = Path() if file is None else file.parent

    def to_path(kind: type, value: Any) -> Any:
        """Paths of the options are `Path`s already, those of the file are text."""
        if isinstance(value, str) and value.startswith(PRETRAINED):
            return Path(value)
        if kind is not Path or not isinstance(value, str | Path):
            raise TypeError(f"Expected a path, got `{type(value).__name__}`")
        return folder / value if isinstance(value, str) else value

    try:
        recipe = msgspec.convert(merged, Recipe, dec_hook=to_path)
        return msgspec.structs.replace(recipe, base=model_file(recipe.base))
    except msgspec.ValidationError as error:
        reason, key = with_known(*reason_and_key(error), Recipe)
        place = [] if file is None else [str(file)]
        if place and key and line_of is not None and re.split(r"[.\[]", key)[0] not in given:
            place = [f"{file}:{line_of(key)}"]
        raise RecipeError(": ".join([*place, *([key] if key else []), reason])) from None


def _read(file: Path) -> tuple[dict[str, Any], Callable[[str], int] | None]:
    """What a recipe file holds, undecoded, and a function from a key to its line, for YAML."""
    import yaml

    from schemas.settings.yaml_reading import YamlText

    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".json":
            found, line_of = msgspec.json.decode(text), None
        else:
            parsed = YamlText(text)
            found, line_of = parsed.value, parsed.line
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, msgspec.DecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{file}: neither YAML nor JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise RecipeError(f"{file}: is no mapping of keys to values")
    return found, line_of

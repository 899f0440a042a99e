"""`chorus init`: write a settings file to start from."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workers import exit_codes
from workers.cli.common import DEFAULT_SETTINGS, fail, fault_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serve_app.registry.folder import FoundModel


def init(
    models: Annotated[
        Path, typer.Argument(help="Folder of models: .nemo files, and versions of `finetune`.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Settings file to write.")
    ] = DEFAULT_SETTINGS,
    audio: Annotated[
        Path, typer.Option(help="Folder that audio may be read from, with all that is in it.")
    ] = Path(),
) -> None:
    """Write a settings file, with comments, for the models in a folder.

    Records go to the model of their domain, and to the model `general` where no rule holds. An
    existing file is not replaced.
    """
    from schemas.settings import load_settings
    from serve_app.registry.folder import find_models
    from serve_app.system.files import atomic_write

    for folder in (models, audio):
        if not folder.is_dir():
            fail(f"{folder}: there is no such folder", exit_codes.SETTINGS)
    found = find_models(models)
    if not found:
        fail(
            f"{models}: has no .nemo file; give the folder of your models, or name a pretrained "
            "one in the settings (docs/settings.md)",
            exit_codes.SETTINGS,
        )
    text = starter_settings(found, output.resolve().parent, audio)
    try:
        atomic_write(output, text, overwrite=False)
    except FileExistsError:
        fail(f"{output}: exists; remove it, or name another with --output", exit_codes.SETTINGS)
    except OSError as error:
        fail(fault_of(error), exit_codes.SETTINGS)
    load_settings(output)
    print(f"wrote {output} with {', '.join(each.name for each in found)}")
    print("next: `chorus check`, then `chorus transcribe`, or `chorus serve` and `chorus stream`")


def starter_settings(models: Sequence[FoundModel], base: Path, audio: Path) -> str:
    """A settings file as text.

    Args:
        models: at least one.
        base: folder of the file, which its paths are relative to.
        audio: folder of the speech.
    """
    default = next((each for each in models if _domain(each) == "general"), models[0])
    others = [each for each in models if each is not default]
    lines = [_HEAD, "models:"]
    for each in models:
        lines += [
            f"  {_quoted(each.name)}:{_about(each)}",
            f"    path: {_quoted(_relative(each.path, base))}",
        ]
    lines += [_MODEL_KEYS, f"  default: {_quoted(default.name)}"]
    if others:
        lines.append("  rules:")
    for each in others:
        lines += [
            f"    - name: {_quoted(each.name)}",
            f"      model: {_quoted(each.name)}",
            "      all:",
            f"        - {{field: domain, equals: {_quoted(_domain(each))}}}",
        ]
    names = [_quoted(each.name) for each in models]
    vote = f"[{', '.join(names[:3])}]" if others else "[one, another]"
    root = _quoted(_relative(audio, base))
    return "\n".join([*lines, _REST.format(root=root, vote=vote)])


def _domain(model: FoundModel) -> str:
    return model.card.domain if model.card is not None else model.name


def _about(model: FoundModel) -> str:
    card = model.card
    if card is None:
        return ""
    if card.validation is None or card.validation.after is None:
        return f"    # {card.domain}"
    return f"    # {card.domain}, WER {card.validation.after:.1f}% on its validation data"


def _relative(path: Path, base: Path) -> str:
    return os.path.relpath(path.resolve(), base)


def _quoted(text: str) -> str:
    """`text` as YAML reads it back; without quotes where that needs none."""
    plain = re.fullmatch(r"[A-Za-z./_][\w./-]*", text) is not None
    reserved = text.lower() in ("true", "false", "null", "yes", "no", "on", "off", "y", "n")
    return text if plain and not reserved else json.dumps(text)


_HEAD = """\
# Settings of Chorus, to start from. All keys with their meaning: docs/settings.md; after a change,
# `chorus check` finds what is wrong. Paths are relative to this file.
#
#   chorus transcribe FILE.jsonl --output OUT.jsonl    from file to file, without Kafka
#   chorus serve                                       the models, and the HTTP API if `http` is set
#   chorus stream                                      a worker between Kafka topics
"""

_MODEL_KEYS = """\
    # further keys of a model, with their defaults:
    # num_cpus: 1.0         # CPU cores per replica
    # gpu_fraction: 0.2     # share of a GPU per replica, where there is one
    # replicas: 1           # or `autoscaling`
    # batch_seconds: 120    # most seconds of padded audio in a batch

# Which model transcribes a record: that of the first rule that holds, else the default. Rules test
# keys of the record and measures of its audio; `chorus explain FILE.jsonl` shows what they decide.
routing:"""

_REST = """
# Several models for one record: a vote, a cheap model first, a fallback (docs/routing.md).
# plans:
#   vote: {{ensemble: {vote}}}

# Audio must lie in one of these folders.
audio:
  roots: [{root}]

# The OpenAI-compatible API of `chorus serve` at http://127.0.0.1:8000 (docs/http.md).
# http: {{port: 8000}}

# Where Kafka is. `chorus broker --port 9092` runs one on this machine, `chorus topics` makes the
# topics.
# kafka:
#   bootstrap_servers: [127.0.0.1:9092]
"""

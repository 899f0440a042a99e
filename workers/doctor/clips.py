"""The speech that a model is heard on: what is shipped, or the first lines of a manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from serve_app.engines.trial import TrialClip
from workers.evaluation.testset import MAX_SECONDS
from workers.manifests.speech import ManifestFaultsError, Utterance, check_manifest

#: The shipped clips: eleven seconds of synthetic English.
SHIPPED = Path(__file__).with_name("speech") / "clips.jsonl"
#: Lines of a manifest that are taken: an examination is to be short.
LINES = 50


def read_clips(
    manifest: Path | None, roots: Sequence[str] = (), *, skip_faults: bool = False
) -> list[Utterance]:
    """The utterances of the shipped clips, or of the first `LINES` lines of a manifest.

    Args:
        manifest: NeMo manifest; None for the shipped clips.
        roots: where relative audio paths are looked up after the manifest's folder.
        skip_faults: leave out invalid lines, instead of raising.

    Raises:
        ManifestFaultsError: lines of the manifest are at fault; it lists them.
        ManifestFileError: the file as a whole is no manifest, or has no records.
        OSError: it cannot be read.
    """
    utterances, faults = check_manifest(
        manifest or SHIPPED, MAX_SECONDS, LINES, needs_text=False, roots=roots
    )
    if faults and not (skip_faults and utterances):
        raise ManifestFaultsError(faults, nothing_left=not utterances)
    return utterances


def as_trial(utterances: Sequence[Utterance]) -> list[TrialClip]:
    """The utterances as a trial takes them."""
    return [
        TrialClip(
            each.path,
            each.offset,
            each.duration or None,
            each.channel,
            language=each.fields.get("lang"),
        )
        for each in utterances
    ]

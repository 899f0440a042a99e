"""A test set: a manifest, checked, its audio measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from serve_app.audio.measures import measure
from serve_app.digest import sha256_of
from workers.speech import SAMPLE_RATE, Fault, ManifestFaultsError, Utterance, check_manifest

#: Longest utterance, in seconds. The engines split what is longer than they can take.
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class TestSet:
    """Utterances to measure on.

    Attributes:
        name: of the set, as it is shown.
        utterances: in the order of the manifest, with `measures` of their audio.
        sha256: of the manifest file.
        left_out: lines that were not fit to be used, where that was asked for.
    """

    __test__ = False  # it is no class of tests, whatever pytest thinks

    name: str
    utterances: Sequence[Utterance]
    sha256: str
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """Of audio, in all."""
        return sum(each.duration for each in self.utterances)

    @property
    def speakers(self) -> list[str]:
        """Of each utterance; empty where unknown."""
        return [each.speaker for each in self.utterances]

    @property
    def scored(self) -> list[bool]:
        """Which utterances have a reference."""
        return [each.has_text for each in self.utterances]


def read_test_set(
    manifest: str | Path, name: str | None = None, *, skip_faults: bool = False
) -> TestSet:
    """Read a NeMo manifest and all its audio; blocks for about a millisecond a second of audio.

    A line may lack `text`: it is transcribed and not scored. An empty `text` says that nothing is
    spoken.

    Args:
        manifest: JSON lines of `audio_filepath`, `text`, and what else there is; relative paths
            are relative to the manifest.
        name: the file's name without its ending, unless given.
        skip_faults: leave out the lines that are not right, instead of refusing them all.

    Raises:
        ManifestFaultsError: lines cannot be used, or two have the same id; it lists them all.
        OSError: the manifest cannot be read.
    """
    path = Path(manifest)
    utterances, faults = check_manifest(
        path,
        MAX_SECONDS,
        needs_text=False,
        measure=lambda clip: measure(clip, SAMPLE_RATE),
    )
    first: dict[str, Utterance] = {}
    for each in utterances:
        if each.id in first:
            reason = f"has the id of line {first[each.id].line}; results are told apart by it"
            faults.append(Fault(path.name, each.line, reason))
        else:
            first[each.id] = each
    if faults and not (skip_faults and first):
        raise ManifestFaultsError(faults)
    return TestSet(name or path.stem, list(first.values()), sha256_of(path), len(faults))

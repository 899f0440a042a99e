"""Test sets: manifests that have been checked, with measures of their audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from serve_app.audio.clip import SAMPLE_RATE
from serve_app.audio.measures import measure
from workers.manifests.files import manifest_sha256
from workers.manifests.source import name_of
from workers.manifests.speech import Fault, ManifestFaultsError, Utterance, check_manifest

#: Longest utterance, in seconds. Engines split clips that are longer than they can process.
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class TestSet:
    """Utterances on which systems are measured.

    Attributes:
        name: display name of the set.
        utterances: in the order of the manifest, with `measures` of their audio.
        sha256: digest of the manifest, as it is stored or was sent.
        left_out: number of invalid lines that were left out (`skip_faults`).
    """

    __test__ = False  # keeps pytest from collecting it as a class of tests

    name: str
    utterances: Sequence[Utterance]
    sha256: str
    left_out: int = 0

    @property
    def seconds(self) -> float:
        """Total duration of the utterances, in seconds."""
        return sum(each.duration for each in self.utterances)

    @property
    def identity(self) -> list[str]:
        """What is recognised: the digests of the manifest and of the paths of its recordings.

        Intermediate results are only reused for a set with the same identity: manifests with the
        same lines in two folders are of different recordings.
        """
        paths = "\0".join(each.path for each in self.utterances)
        return [self.sha256, sha256(paths.encode(errors="surrogateescape")).hexdigest()]

    @property
    def speakers(self) -> list[str]:
        """The speaker of each utterance; empty where unknown."""
        return [each.speaker for each in self.utterances]

    @property
    def scored(self) -> list[bool]:
        """Whether each utterance has a reference."""
        return [each.has_text for each in self.utterances]


def read_test_set(
    manifest: str | Path,
    name: str | None = None,
    *,
    skip_faults: bool = False,
    roots: Sequence[str] = (),
) -> TestSet:
    """Read a NeMo manifest and all its audio; takes about a millisecond per second of audio.

    A line without `text` is transcribed but not scored. An empty `text` means that nothing is
    spoken.

    Args:
        manifest: JSON lines with `audio_filepath`, `text`, and any other keys; ``-`` for standard
            input. Relative audio paths are relative to its folder.
        name: display name of the set; the file's name without its suffix, unless given.
        skip_faults: leave out invalid lines, instead of raising.
        roots: where relative audio paths are looked up after the manifest's folder.

    Raises:
        ManifestFaultsError: lines are invalid, or two have the same id; it lists them all.
        ManifestFileError: the file as a whole is no manifest, or has no records.
        OSError: the manifest cannot be read.
    """
    path = Path(manifest)
    utterances, faults = check_manifest(
        path,
        MAX_SECONDS,
        needs_text=False,
        measure=lambda clip: measure(clip, SAMPLE_RATE),
        roots=roots,
    )
    first: dict[str, Utterance] = {}
    for each in utterances:
        if each.id in first:
            reason = f"has the same id as line {first[each.id].line}; ids must be unique"
            faults.append(Fault(each.manifest, each.line, reason))
        else:
            first[each.id] = each
    if faults and not (skip_faults and first):
        raise ManifestFaultsError(faults, nothing_left=not first)
    return TestSet(
        name or Path(name_of(path)).stem, list(first.values()), manifest_sha256(path), len(faults)
    )

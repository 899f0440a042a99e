from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.channels import OneChannel
from workers.manifests.leakage import shared_faults
from workers.manifests.speech import Utterance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).touch()
    (tmp_path / "deep").mkdir()
    return tmp_path


def utterance(path: Path | str, offset: float, duration: float) -> Utterance:
    return Utterance(str(path), offset, duration, "text", manifest="validation.jsonl", line=7)


@pytest.mark.parametrize(
    ("offset", "duration", "shared"),
    [
        (2.0, 3.0, "3.00 of its 3.00"),  # the same segment
        (0.0, 9.0, "5.00 of its 9.00"),  # more than all training segments
        (3.0, 0.3, "0.30 of its 0.30"),  # inside one
        (1.0, 1.5, "0.50 of its 1.50"),  # before
        (4.5, 2.0, "1.50 of its 2.00"),  # over the gap, which is shorter
        (5.3, 0.3, None),  # a third of a short one
        (1.0, 1.2, None),  # shares a fifth of a second
        (5.0, 0.5, None),  # in the gap
        (7.5, 4.0, None),
    ],
)
def test_time_in_the_training_data_is_a_fault(
    folder: Path, offset: float, duration: float, shared: str | None
) -> None:
    audio = folder / "a.wav"
    training = [utterance(audio, 2.0, 3.0), utterance(audio, 5.5, 2.0), utterance(audio, 2.5, 1.0)]
    measured = [utterance(audio, offset, duration), utterance(folder / "b.wav", 2.0, 3.0)]
    faults = list(shared_faults(measured, training))
    if shared is None:
        assert faults == []
    else:
        assert [str(fault).split(" s are")[0] for fault in faults] == [
            f"validation.jsonl:7: {shared}"
        ]


def test_a_recording_is_the_same_by_any_path_to_it(folder: Path) -> None:
    os.symlink(folder / "a.wav", folder / "link.wav")
    os.link(folder / "a.wav", folder / "hard.wav")
    training = [utterance(folder / "a.wav", 0.0, 2.0)]
    for path in (folder / "deep" / ".." / "a.wav", folder / "link.wav", folder / "hard.wav"):
        assert len(list(shared_faults([utterance(path, 0.5, 1.0)], training))) == 1
    other = utterance(folder / "b.wav", 0.5, 1.0)
    assert list(shared_faults([other], training)) == []


@pytest.mark.parametrize(
    ("trained", "measured", "shared"),
    [(0, 0, 1), (0, 1, 0), (0, None, 1), (None, 1, 1), ("mean", 1, 1), (1, "mean", 1)],
)
def test_channels_of_a_recording(
    folder: Path, trained: OneChannel | None, measured: OneChannel | None, shared: int
) -> None:
    one, other = (
        replace(utterance(folder / "a.wav", 0.0, 2.0), channel=channel)
        for channel in (trained, measured)
    )
    assert len(list(shared_faults([other], [one]))) == shared


def test_recordings_of_other_sources_are_compared_by_their_names() -> None:
    training = [utterance("s3://bucket/a.wav", 0.0, 2.0)]
    measured = [utterance(f"s3://bucket/{name}.wav", 0.0, 2.0) for name in "ab"]
    assert len(list(shared_faults(measured, training))) == 1
